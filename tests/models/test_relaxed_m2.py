import copy
import math
from itertools import pairwise

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch.nn import functional as F

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.errors import ConfigError
from pyro_ssl.models import M2, GumbelSoftmaxM2, LogisticNormalM2
from tests import oracle
from tests.elbos.test_sampled import deviations, make, pixels
from tests.models.test_logistic_normal_m2 import exact_log_probit

RELAXED = [GumbelSoftmaxM2, LogisticNormalM2]
BATCHES = [[-1] * 6, [0, 2, 1, 1, 3, 0], [1, 3, -1, -1, -1, -1], [-1, 2, -1, -1, 0, 3]]
TEMPERATURE = 0.7


def relaxed(cls, straight_through=False, **options):
    model = make(cls, straight_through=straight_through, **options).train()
    # What counts is the buffer, which may be annealed.
    model.annealed_temperature.fill_(TEMPERATURE)
    return model


def log_q_of(model, xs):
    scores = model.classifier(xs.flatten(1))
    if isinstance(model, LogisticNormalM2):
        return exact_log_probit(scores)
    return scores.log_softmax(-1)


def by_hand(model, xs, ys, trace, soft):
    """The loss, from the sites of its run and those of its like without straight-through."""
    total, corners = 0.0, torch.eye(model.num_classes).double()
    for prefix, mask in oracle.parts(xs, ys):
        rows, zs, log_q = xs[mask], trace.nodes[prefix + "z"]["value"], log_q_of(model, xs[mask])
        if ys[mask][0] >= 0:
            bound = oracle.labelled_bound(
                model, rows, ys[mask], oracle.noise(model, rows, ys[mask], zs)
            )
            total = total - (bound + 2.0 * (log_q * corners[ys[mask]]).sum(-1)).sum()
            continue
        point = soft.nodes[prefix + "y"]["value"]
        scores = model.classifier(rows.flatten(1))
        noise = (TEMPERATURE * point.log() - scores).detach()
        h = ((scores + noise) / TEMPERATURE).softmax(-1)
        if model.straight_through:
            h = corners[h.argmax(-1)] + (h - h.detach())
        torch.testing.assert_close(trace.nodes[prefix + "y"]["value"], h)
        log_py = -math.log(4)
        bound = oracle.labelled_bound(model, rows, h, oracle.noise(model, rows, h, zs)) - log_py
        kl = (log_q.exp() * (log_q - oracle.log_p_y(model))).sum(-1)
        total = total - (bound - kl).sum()
    return total


@pytest.mark.parametrize("elbo", [StaticEnum_ELBO, Trace_ELBO])
@pytest.mark.parametrize("ys", BATCHES)
@pytest.mark.parametrize("straight_through", [False, True])
@pytest.mark.parametrize("cls", RELAXED)
def test_objective_at_its_draws_is_the_formula(cls, straight_through, ys, elbo):
    model, xs, ys = relaxed(cls, straight_through), pixels(6), torch.tensor(ys)
    twin = copy.deepcopy(model)
    twin.straight_through = False
    torch.manual_seed(5)
    _, soft = oracle.run(twin, StaticEnum_ELBO(), xs, ys)
    torch.manual_seed(5)
    loss, trace = oracle.run(model, elbo(max_plate_nesting=1), xs, ys)
    wanted = by_hand(model, xs, ys, trace, soft)
    torch.testing.assert_close(loss, wanted, atol=1e-6, rtol=1e-6)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("straight_through", [False, True])
@pytest.mark.parametrize("cls", RELAXED)
def test_pyros_enumerating_elbo_has_the_same_value(cls, straight_through, dtype):
    model, xs = relaxed(cls, straight_through).to(dtype), pixels(6).to(dtype)
    losses = []
    for elbo in (model.make_elbo(), TraceEnum_ELBO(max_plate_nesting=1)):
        torch.manual_seed(5)
        loss = elbo.differentiable_loss(model.model, model.guide, xs, torch.tensor(BATCHES[2]))
        losses.append((loss.detach(), oracle.gradients(loss, model)))
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("cls", RELAXED)
def test_gradient_is_the_slope_of_the_loss(cls):
    model, xs = relaxed(cls), pixels(6)

    def loss():
        torch.manual_seed(5)
        return model.make_elbo().differentiable_loss(model.model, model.guide, xs)

    # Biases of all networks' outputs, moved together.
    moved = [p for n, p in model.named_parameters() if n.endswith("1.bias")]
    steps = [torch.randn_like(p) for p in moved]
    found = torch.autograd.grad(loss(), moved)
    values = []
    for sign in (1, -1):
        for p, step in zip(moved, steps, strict=True):
            p.data.add_(sign * 1e-5 * step)
        values.append(loss().detach())
        for p, step in zip(moved, steps, strict=True):
            p.data.sub_(sign * 1e-5 * step)
    slope = (values[0] - values[1]) / 2e-5
    wanted = sum((g * s).sum() for g, s in zip(found, steps, strict=True))
    torch.testing.assert_close(slope, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cls", RELAXED)
@pytest.mark.parametrize("ys", BATCHES)
def test_evaluation_mode_sums_the_label_out(cls, ys):
    model, xs, ys = relaxed(cls).eval(), pixels(6), torch.tensor(ys)
    torch.manual_seed(5)
    loss, trace = oracle.run(model, model.make_elbo(), xs, ys)
    wanted = 0.0
    for prefix, mask in oracle.parts(xs, ys):
        rows, zs, log_q = xs[mask], trace.nodes[prefix + "z"]["value"], log_q_of(model, xs[mask])
        known = ys[mask]
        if known[0] >= 0:
            eps = oracle.noise(model, rows, known, zs)
            of_labels = 2.0 * F.nll_loss(log_q, known, reduction="sum")
            wanted = wanted + of_labels - oracle.labelled_bound(model, rows, known, eps).sum()
        else:
            each = [torch.full((len(rows),), k) for k in range(4)]
            eps = torch.stack([oracle.noise(model, rows, each[k], zs[k]) for k in range(4)])
            wanted = wanted - oracle.unlabelled_bound(model, rows, eps, log_q).sum()
    torch.testing.assert_close(loss, wanted, atol=1e-6, rtol=1e-6)
    if cls is GumbelSoftmaxM2:
        exact = make(M2)
        torch.manual_seed(5)
        theirs = exact.make_elbo().differentiable_loss(exact.model, exact.guide, xs, ys)
        assert torch.equal(loss, theirs)


def estimates(model, calls=60, repeats=400, seed=0):
    """Mean and error of the loss of two rows and of its gradient by the classifier's biases."""
    xs, elbo, drawn = pixels(2).repeat(repeats, 1, 1, 1), model.make_elbo(), []
    bias = model.classifier.layers[-1].bias
    torch.manual_seed(seed)
    with pyro.validation_enabled(False):
        for _ in range(calls):
            loss = elbo.differentiable_loss(model.model, model.guide, xs) / repeats
            drawn.append(torch.cat([loss.detach()[None], torch.autograd.grad(loss, bias)[0]]))
    drawn = torch.stack(drawn)
    return drawn.mean(0), drawn.std(0) / calls**0.5


@pytest.mark.parametrize("cls", RELAXED)
def test_bias_falls_with_the_temperature(cls):
    exact = estimates(relaxed(cls).eval(), seed=1)
    biases, errors = [], []
    for temperature in (1.0, 0.5, 0.2, 0.1):
        model = relaxed(cls)
        model.annealed_temperature.fill_(temperature)
        # The same draws at all temperatures.
        mean, error = estimates(model)
        biases.append(mean - exact[0])
        errors.append((error**2 + exact[1] ** 2).sqrt())
    values = [(bias[0].abs(), error[0]) for bias, error in zip(biases, errors, strict=True)]
    gradients = [(b[1:].norm(), e[1:].norm()) for b, e in zip(biases, errors, strict=True)]
    for sizes in (values, gradients):
        assert sizes[0][0] > 20 * sizes[0][1]
        for (larger, error), (smaller, other) in pairwise(sizes[:-1]):
            assert larger - smaller > 3 * (error**2 + other**2).sqrt()
            assert smaller < 0.65 * larger
        # Of the last one there is little to see but noise.
        assert sizes[3][0] < 0.25 * sizes[0][0]
    assert values[3][0] < values[2][0]


@pytest.mark.parametrize("cls", RELAXED)
def test_straight_through_labels_are_corners_and_their_value_unbiased(cls):
    exact = estimates(relaxed(cls).eval(), seed=1)
    for temperature in (0.3, 2.0):
        model = relaxed(cls, straight_through=True)
        model.annealed_temperature.fill_(temperature)
        far = deviations(estimates(model), exact)
        assert far[0] < 3
        # Not so the gradient, at any temperature.
        assert far[1:].max() > 10
    model.straight_through = False
    assert deviations(estimates(model), exact)[0] > 10


@pytest.mark.parametrize("cls", RELAXED)
@pytest.mark.parametrize("straight_through", [False, True])
def test_largest_coordinate_is_a_draw_from_the_guides_q(cls, straight_through):
    model, xs = relaxed(cls, straight_through), pixels(2).repeat(10_000, 1, 1, 1)
    _, trace = oracle.run(model, model.make_elbo(), xs)
    ys = trace.nodes["y"]["value"]
    torch.testing.assert_close(ys.sum(-1), torch.ones(20_000).double())
    assert (ys.amax(-1) == 1).all() == straight_through
    frequency = F.one_hot(ys.argmax(-1), 4).double().view(10_000, 2, 4).mean(0)
    q = model.predict_proba(xs[:2])
    torch.testing.assert_close(q, log_q_of(model, xs[:2]).exp(), atol=1e-6, rtol=1e-6)
    # Within three and a half standard errors, of eight frequencies.
    assert ((frequency - q).abs() < 3.5 * (q * (1 - q) / 10_000).sqrt()).all()


@pytest.mark.parametrize("cls", RELAXED)
@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"class_chunk": 2}])
def test_options_that_cannot_work_are_named(cls, options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))} is "):
        make(cls, **options)

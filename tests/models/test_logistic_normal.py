import math
from itertools import pairwise

import pyro
import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.elbos import objective_terms
from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.errors import ConfigError
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import LogisticNormal
from tests import oracle
from tests.elbos.test_sampled import make, pixels
from tests.models.test_m2 import YS_OF_EACH_KIND

TEMPERATURE = 0.6


def make_model(**options) -> LogisticNormal:
    model = make(LogisticNormal, **options)
    if model.posterior_shift:
        for parameter in (model.shift, model.log_rescale):
            parameter.data = 0.5 * torch.randn_like(parameter)
    # Wide enough that the mean of softmax is not the softmax of the mean.
    model.classifier.layers[-1].bias.data[4:] += 1.5
    # What counts is the buffer, which may be annealed.
    model.annealed_temperature.fill_(TEMPERATURE)
    return model


def posterior(model, xs):
    """Location and scale of q(a|x)."""
    scores = model.classifier(xs.flatten(1))
    return scores[:, :4], F.softplus(scores[:, 4:]) + 1e-3


def by_hand(model, xs, ys, trace, closed_form=True):
    total = 0.0
    for prefix, mask in oracle.parts(xs, ys):
        rows, zs, here = xs[mask], trace.nodes[prefix + "z"]["value"], torch.arange(mask.sum())
        (loc, scale), extra = posterior(model, rows), 0.0
        known = None if ys is None or ys[mask][0] < 0 else ys[mask]
        if known is not None:
            each = [((loc + scale * p) / TEMPERATURE).softmax(-1) for p in model.points]
            extra = 2.0 * (sum(each) / len(each)).log()[here, known]
            if model.posterior_shift:
                loc, scale = loc + model.shift[known], scale * model.log_rescale[known].exp()
        a = trace.nodes[prefix + "a"]["value"]
        a = loc + scale * ((a - loc) / scale).detach()
        pi = (a / TEMPERATURE).softmax(-1)
        if known is not None:
            extra = extra + pi.log()[here, known]
        eps = oracle.noise(model, rows, pi, zs)
        bound = oracle.soft_bound(model, rows, pi, eps) - oracle.normal_kl(loc, scale)
        if not closed_form:
            bound = oracle.labelled_bound(model, rows, pi, eps) + math.log(4)
            bound = bound + oracle.normal_log_prob(a, 0.0, 1.0)
            bound = bound - oracle.normal_log_prob(a, loc, scale)
        total = total - (bound + extra).sum()
    return total


@pytest.mark.parametrize("closed_form", [True, False])
@pytest.mark.parametrize("posterior_shift", [True, False])
@pytest.mark.parametrize("ys", YS_OF_EACH_KIND)
def test_objective_at_its_draws_is_the_formula(ys, posterior_shift, closed_form):
    model, xs = make_model(posterior_shift=posterior_shift), pixels(5)
    ys = None if ys is None else torch.tensor(ys)
    elbo = model.make_elbo() if closed_form else StaticEnum_ELBO()
    loss, trace = oracle.run(model, elbo, xs, ys)
    wanted = by_hand(model, xs, ys, trace, closed_form)
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    ours = oracle.gradients(loss, model)
    oracle.assert_same(ours, oracle.gradients(wanted, model))
    if posterior_shift:
        # Shift and rescaling are learnt from the classes seen, and from nothing else.
        seen = set() if ys is None else set(ys[ys >= 0].tolist())
        for name in ("shift", "log_rescale"):
            moving = {k for k in range(4) if ours[name][k].abs().max() > 1e-4}
            assert moving == seen


def test_terms_are_those_of_the_formula():
    model, xs = make_model(), pixels(5)
    elbo = model.make_elbo()
    with oracle.recorded_traces(elbo) as traces:
        loss = elbo.differentiable_loss(model.model, model.guide, xs)
    terms = objective_terms(*traces[-1])
    kl = oracle.normal_kl(*posterior(model, xs)).mean()
    torch.testing.assert_close(terms["kl_a"], kl.detach())
    torch.testing.assert_close(terms["elbo"], -loss.detach() / 5)


def test_class_probabilities_are_the_mean_over_the_posterior():
    model = make_model()
    xs, draws = pixels(8).unique(dim=0), 100_000
    for temperature, tolerance in ((1.0, 0.02), (1 / 3, 0.05)):
        model.annealed_temperature.fill_(temperature)
        with torch.no_grad():
            loc, scale = posterior(model, xs)
            a = loc + scale * torch.randn(draws, *loc.shape).double()
            exact = (a / temperature).softmax(-1).mean(0)
            centre = (loc / temperature).softmax(-1)
        found = model.predict_proba(xs)
        torch.testing.assert_close(found.sum(-1), torch.ones(len(xs)).double())
        torch.testing.assert_close(found, model.class_logits(xs).exp())
        # 32 points; the location alone is off by far more.
        assert (found - exact).abs().max() < tolerance
        assert (centre - exact).abs().max() > 4 * tolerance


def means(model, xs, elbo, calls=50):
    with pyro.validation_enabled(False), torch.no_grad():
        drawn = [elbo.differentiable_loss(model.model, model.guide, *xs) for _ in range(calls)]
    drawn = torch.stack(drawn)
    return drawn.mean(), drawn.std() / calls**0.5


def test_sampled_divergence_agrees_with_the_closed_form():
    model, xs = make_model(), pixels(4).repeat(200, 1, 1, 1)
    call = xs, torch.tensor([0, 2, -1, -1]).repeat(200)
    (exact, error), (sampled, other) = (
        means(model, call, elbo) for elbo in (model.make_elbo(), StaticEnum_ELBO())
    )
    combined = (error**2 + other**2).sqrt()
    assert abs(exact - sampled) < 3 * combined
    # Sharp enough to miss a tenth of the divergence.
    assert combined < 0.033 * oracle.normal_kl(*posterior(model, xs)).sum()


def test_draws_with_a_label_are_the_priors_given_the_label(monkeypatch):
    model, seen = make_model(), []
    monkeypatch.setattr(model, "decode", lambda zs, pi, _: seen.append((zs, pi)) or pi)
    ys = torch.tensor([0, 1, 2, 3]).repeat(50)
    for _ in range(100):
        model.sample(ys)
    zs, pi = (torch.stack(each) for each in zip(*seen, strict=True))
    of_label = pi[:, torch.arange(200), ys].view(100, 50, 4)
    # p(a|y) is p(a) pi_y K; draws of one call come from one pool.
    wide = (torch.randn(200_000, 4).double() / TEMPERATURE).softmax(-1)
    for moment in (1, 2):
        found = (of_label**moment).mean((1, 2))
        weighted = 4 * wide ** (moment + 1)
        exact, error = weighted.mean(), (weighted.mean(-1).var() / 200_000).sqrt()
        combined = (found.var() / 100 + error**2).sqrt()
        assert abs(found.mean() - exact) < 3 * combined
        assert combined < 0.01 * exact
    others = (1 - of_label).mean() / 3
    assert others < 0.6 * of_label.mean()
    assert zs.mean().abs() < 4 / zs.numel() ** 0.5
    assert abs(zs.var() - 1) < 4 * (2 / zs.numel()) ** 0.5


def test_bound_grows_with_its_samples():
    model, xs = make_model(), pixels(3).repeat(200, 1, 1, 1)
    bounds = [importance_weighted_bound(model, xs, k).view(200, 3).sum(1) for k in (1, 5, 40)]
    for less, more in pairwise(bounds):
        error = ((less.var() + more.var()) / 200).sqrt()
        assert more.mean() - less.mean() > 3 * error
    exact, other = means(model, (xs,), StaticEnum_ELBO(), calls=10)
    first = bounds[0]
    error = (first.var() / 200 + (other / 200) ** 2).sqrt()
    assert abs(first.mean() + exact / 200) < 3 * error


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf")])
def test_temperatures_that_cannot_work_are_named(temperature):
    with pytest.raises(ConfigError, match="temperature is "):
        make(LogisticNormal, temperature=temperature)


def test_everything_is_made_on_the_device_of_the_context():
    with torch.device("meta"):
        model = LogisticNormal(input_shape=(1, 2, 3), num_classes=4, latent_dim=2, hidden_dims=(5,))
    tensors = [*model.parameters(), *model.buffers()]
    assert {t.device.type for t in tensors} == {"meta"}

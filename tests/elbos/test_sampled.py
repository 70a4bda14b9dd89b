import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, TraceGraph_ELBO

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.elbos.sampled import LeaveOneOut_ELBO, RaoBlackwell_ELBO, ScoreFunction_ELBO
from pyro_ssl.errors import ConfigError
from pyro_ssl.models import M2, ApproxM2, LeaveOneOutM2, RaoBlackwellM2
from tests import oracle
from tests.elbos.test_enumerated import mean_loss, mixture, mixture_guide

CLASSES = 4
NETWORKS = ("classifier", "encoder", "decoder")
ESTIMATORS = {
    "one draw, learnt baseline": (ApproxM2, {"baseline_dims": (5,)}),
    "two draws": (LeaveOneOutM2, {"num_samples": 2}),
    "four draws": (LeaveOneOutM2, {"num_samples": 4}),
    "the likeliest and one other": (RaoBlackwellM2, {"num_summed": 1}),
}


def make(cls=M2, **options) -> M2:
    """A model of the class with the weights that all have in common."""
    sizes = {"input_shape": (1, 2, 3), "num_classes": CLASSES, "latent_dim": 2}
    sizes |= oracle.PLAIN | {"hidden_dims": (5,), "alpha": 2.0, "activation": "relu"}
    torch.manual_seed(1)
    shared = M2(**{name: options.get(name, value) for name, value in sizes.items()})
    # Away from its initial values every density is far from flat.
    for parameter in shared.parameters():
        parameter.data.mul_(2.0)
    # The label is to say more of the pixels than the latent does, whose noise hides the label's.
    shared.decoder.layers[0].linear.weight.data.mul_(0.3)
    shared.decoder.layers[0].embedding.weight.data.mul_(4.0)
    model = cls(**sizes | options)
    own, common = model.state_dict(), shared.state_dict()
    fitting = {n: t for n, t in common.items() if own[n].shape == t.shape}
    model.load_state_dict(fitting, strict=False)
    return model.double()


def pixels(rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(rows, 1, 2, 3, generator=generator).bernoulli(generator=generator).double()


def figures(loss, model):
    """The loss, its gradient by each output bias of the classifier, and along fixed directions.

    There are three directions for each network, unit vectors among all its parameters.
    """
    found, generator = oracle.gradients(loss, model), torch.Generator().manual_seed(0)
    values = [loss.detach()[None], found["classifier.layers.1.bias"]]
    for network in NETWORKS:
        flat = torch.cat([g.flatten() for n, g in found.items() if n.startswith(network)])
        directions = torch.randn(3, len(flat), generator=generator, dtype=flat.dtype)
        values.append((directions / directions.norm(dim=1, keepdim=True)) @ flat)
    return torch.cat(values)


def estimates(elbo, model, calls=100, repeats=200):
    """Mean and standard error of `figures` for three rows; each call averages `repeats` draws."""
    xs = pixels(3).repeat(repeats, 1, 1, 1)
    drawn = []
    with pyro.validation_enabled(False):
        for _ in range(calls):
            loss = elbo.differentiable_loss(model.model, model.guide, xs) / repeats
            drawn.append(figures(loss, model))
    drawn = torch.stack(drawn)
    return drawn.mean(0), drawn.std(0) / calls**0.5


def deviations(ours, exact):
    """Distances of means in their standard errors."""
    return ((ours[0] - exact[0]) / (ours[1] ** 2 + exact[1] ** 2).sqrt()).abs()


@pytest.fixture(scope="module")
def enumerated():
    model = make()
    torch.manual_seed(0)
    return estimates(StaticEnum_ELBO(), model)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_value_and_gradient_are_those_of_the_sum_on_average(name, enumerated):
    cls, options = ESTIMATORS[name]
    model = make(cls, **options)
    found = estimates(model.make_elbo(), model)
    assert deviations(found, enumerated).max() < 3
    # So sharp that a tenth of the gradient would be missed.
    biases = slice(1, 1 + CLASSES)
    assert found[1][biases].max() < 0.03 * enumerated[0][biases].abs().max()


class Pathwise(ScoreFunction_ELBO):
    """What is left of the gradient where nobody takes that of the draws."""

    def differentiable_loss(self, model, guide, *args):
        return -self._loss_and_surrogate_loss(model, guide, args, {})[0]


def test_a_gradient_without_the_score_is_far_outside(enumerated):
    model = make(ApproxM2, baseline_dims=(5,))
    far = deviations(estimates(Pathwise(max_plate_nesting=1), model, calls=40), enumerated)
    assert far[0] < 3
    assert far[1 : 1 + CLASSES].max() > 5
    assert far[1 + CLASSES : 4 + CLASSES].max() > 5
    # Encoder and decoder have all of theirs.
    assert far[4 + CLASSES :].max() < 3.5


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("labelled", [0, 3])
def test_leave_one_out_at_its_draws_is_the_formula(samples, labelled):
    model, xs = make(LeaveOneOutM2, num_samples=samples), pixels(7)
    ys = torch.cat([torch.arange(labelled), torch.full((7 - labelled,), -1)])
    loss, trace = oracle.run(model, model.make_elbo(), xs, ys)
    value = surrogate = 0.0
    for prefix, mask in oracle.parts(xs, ys):
        rows, zs = xs[mask], trace.nodes[prefix + "z"]["value"]
        if ys[mask][0] >= 0:
            eps = oracle.noise(model, rows, ys[mask], zs)
            part = 2.0 * oracle.classification(model, rows, ys[mask])
            part = part - oracle.labelled_bound(model, rows, ys[mask], eps)
            value, surrogate = value + part.sum(), surrogate + part.sum()
            continue
        labels = trace.nodes[prefix + "y"]["value"]
        assert labels.shape == (samples, len(rows))
        drawn = [oracle.drawn_label(model, rows, y, z) for y, z in zip(labels, zs, strict=True)]
        for s, (bound, log_q, cost) in enumerate(drawn):
            others = sum(drawn[t][2] for t in range(samples) if t != s) / (samples - 1)
            value = value - cost.sum() / samples
            surrogate = surrogate - (bound + (cost - others) * log_q).sum() / samples
    torch.testing.assert_close(loss, value, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(surrogate, model))


@pytest.mark.parametrize("max_plate_nesting", [1, 2])
def test_leave_one_out_serves_programs_of_others(max_plate_nesting):
    xs = torch.tensor([-1.2, 0.1, 0.7, 2.5]).double()
    elbo = LeaveOneOut_ELBO(3, max_plate_nesting)
    with oracle.recorded_traces(elbo) as traces:
        loss = elbo.loss_and_grads(mixture, mixture_guide, xs)
    nodes = traces[-1][0].nodes
    labels, u = nodes["component"]["value"].reshape(3, 4), nodes["u"]["value"]
    locs = torch.tensor([-1.0, 0.5, 2.0]).double().requires_grad_()
    slope = torch.tensor([-1.0, 0.1, 1.0]).double().requires_grad_()
    log_q_all = (xs[:, None] * slope).log_softmax(-1)
    log_px = torch.stack([dist.Normal(locs[y] + 0.3 * u, 0.7).log_prob(xs) for y in labels])
    log_q = torch.stack([log_q_all[torch.arange(4), y] for y in labels])
    costs = log_px - torch.tensor(3.0).log() - log_q
    of_u = dist.Normal(0.0, 1.0).log_prob(u) - dist.Normal(0.1 * xs, 1.0).log_prob(u)
    assert loss == pytest.approx(-(costs.sum() / 3 + of_u.sum()).item(), abs=1e-6)
    others = torch.stack([(costs[1] + costs[2]), (costs[0] + costs[2]), (costs[0] + costs[1])]) / 2
    surrogate = -(log_px + (costs - others).detach() * log_q).sum() / 3
    wanted = torch.autograd.grad(surrogate, (locs, slope))
    store = pyro.get_param_store()
    torch.testing.assert_close((store["locs"].grad, store["slope"].grad), wanted)


def test_leave_one_out_trains_programs_of_others():
    xs = torch.tensor([-1.2, 0.1, 0.7, 2.5]).double()
    svi = SVI(mixture, mixture_guide, pyro.optim.Adam({"lr": 0.05}), LeaveOneOut_ELBO(2))
    before = mean_loss(xs)
    for _ in range(150):
        svi.step(xs)
    assert mean_loss(xs) < before - 1.0


@pytest.mark.parametrize("elbo", [LeaveOneOut_ELBO(2), RaoBlackwell_ELBO(1)])
def test_labels_that_are_vectors_are_drawn_too(elbo):
    logits = torch.tensor([[0.5, -1.0, 0.3, 0.0], [1.0, 1.0, -2.0, 0.2]]).double()
    logits = logits.repeat(250, 1).requires_grad_()
    points = torch.arange(4.0).double()

    def model():
        with pyro.plate("rows", 500):
            y = pyro.sample("y", dist.OneHotCategorical(logits=torch.zeros(4).double()))
            pyro.sample("x", dist.Normal(y @ points, 1.0), obs=logits.detach()[:, 0])

    def guide():
        with pyro.plate("rows", 500):
            q = dist.OneHotCategorical(logits=logits)
            pyro.sample("y", q, infer={"enumerate": "parallel"})

    def found(elbo):
        loss = elbo.differentiable_loss(model, guide)
        gradient = torch.autograd.grad(loss, logits)[0].view(250, 2, 4).mean(0)
        return torch.cat([loss.detach()[None] / 250, gradient.flatten()])

    exact = found(StaticEnum_ELBO())
    drawn = torch.stack([found(elbo) for _ in range(60)])
    error = drawn.std(0) / 60**0.5
    assert ((drawn.mean(0) - exact) / error).abs().max() < 3
    assert error.max() < 0.02


def test_too_few_draws_are_refused():
    with pytest.raises(ConfigError, match="num_samples is 1, expected at least 2"):
        LeaveOneOut_ELBO(1)
    with pytest.raises(ConfigError, match="num_samples is 1, expected at least 2"):
        make(LeaveOneOutM2, num_samples=1)


@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("labelled", [0, 3])
def test_score_function_loss_has_value_and_gradient_of_pyros(particles, labelled):
    model, xs = make(ApproxM2, baseline_dims=(5,)), pixels(7)
    ys = torch.cat([torch.arange(labelled), torch.full((7 - labelled,), -1)])
    options = {"num_particles": particles, "max_plate_nesting": 1}
    torch.manual_seed(7)
    elbo = ScoreFunction_ELBO(**options)
    loss = elbo.differentiable_loss(model.model, model.guide, xs, ys)
    ours = oracle.gradients(loss, model)
    torch.manual_seed(7)
    theirs = TraceGraph_ELBO(**options).loss_and_grads(model.model, model.guide, xs, ys)
    assert loss.item() == pytest.approx(theirs, abs=1e-9)
    oracle.assert_same(ours, {n: p.grad for n, p in model.named_parameters()})
    assert all(ours[n].abs().max() > 1e-3 for n in ours if n.endswith("1.bias"))

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoNormal
from torch.distributions import kl_divergence
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_ssl.elbos import Antithetic_ELBO, LabelWeighted_ELBO, ScoreFunction_ELBO
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import LeaveOneOut_ELBO, Objective, RaoBlackwell_ELBO, StaticEnum_ELBO
from pyro_ssl.models import M2, VAE
from pyro_ssl.models.rows import Batch
from tests import oracle

CLASSES = 5


def make_m2(**options) -> M2:
    torch.manual_seed(1)
    sizes = oracle.PLAIN | {"latent_dim": 2, "hidden_dims": (6,), "alpha": 2.0}
    model = M2((1, 2, 3), CLASSES, **sizes | options)
    for parameter in model.parameters():
        parameter.data.mul_(2.0)
    return model.double()


def rows(labelled: int = 0, unlabelled: int = 3):
    xs = torch.rand(labelled + unlabelled, 1, 2, 3).bernoulli().double()
    ys = torch.cat([torch.arange(labelled) % CLASSES, torch.full((unlabelled,), -1)])
    return Batch(xs, ys, labelled)


def gradient(elbo, model, batch, seed=None):
    """Return the loss and all gradients, as one vector."""
    if seed is not None:
        torch.manual_seed(seed)
    loss = elbo.differentiable_loss(model.model, model.guide, batch)
    return loss.detach(), flat(oracle.gradients(loss, model))


def flat(gradients):
    return torch.cat([g.flatten() for g in gradients.values()])


@pytest.mark.parametrize("batch", [(0, 5), (4, 0), (3, 4)])
def test_equals_pyros_enumerated_elbo(batch):
    model, batch = make_m2(), rows(*batch)
    ours = gradient(StaticEnum_ELBO(), model, batch, seed=7)
    theirs = gradient(TraceEnum_ELBO(max_plate_nesting=1), model, batch, seed=7)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("closed_form", [False, True])
def test_several_draws_are_pyros_and_their_mean(closed_form):
    model, batch = make_m2(), rows(3, 4)
    several = StaticEnum_ELBO(closed_form_kl=closed_form, num_particles=3)
    ours = gradient(several, model, batch, seed=7)
    if closed_form:
        vae, xs = make_vae(), Batch(rows(0, 5).xs)
        ours = gradient(several, vae, xs, seed=7)
        theirs = gradient(TraceMeanField_ELBO(3, 1, vectorize_particles=True), vae, xs, seed=7)
    else:
        theirs = gradient(TraceEnum_ELBO(3, 1, vectorize_particles=True), model, batch, seed=7)
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)
    with pytest.raises(ConfigError, match="num_particles is 0"):
        RaoBlackwell_ELBO(num_particles=0)


def test_equals_pyros_for_weighted_rows_and_single_precision():
    model, batch = make_m2().float(), rows(3, 4)
    batch = replace(batch, xs=batch.xs.float())
    losses = []
    for elbo in (StaticEnum_ELBO(), TraceEnum_ELBO(max_plate_nesting=1)):
        objective = Objective(model, 10, 300)
        objective.elbo = elbo
        torch.manual_seed(7)
        loss, _ = objective(batch)
        losses.append((loss.detach(), flat(oracle.gradients(loss, model))))
    torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-5)


def mixture(xs):
    """A Gaussian mixture that knows nothing of this library, with a plate of its own."""
    locs = pyro.param("locs", torch.tensor([-1.0, 0.5, 2.0], dtype=xs.dtype))
    with pyro.plate("points", len(xs)):
        z = pyro.sample("component", dist.Categorical(torch.ones(3, dtype=xs.dtype) / 3))
        u = pyro.sample("u", dist.Normal(torch.zeros((), dtype=xs.dtype), 1.0))
        pyro.sample("x", dist.Normal(locs[z] + 0.3 * u, 0.7), obs=xs)


def mixture_guide(xs):
    slope = pyro.param("slope", torch.tensor([-1.0, 0.1, 1.0], dtype=xs.dtype))
    with pyro.plate("points", len(xs)):
        q = dist.Categorical(logits=xs.unsqueeze(-1) * slope)
        pyro.sample("component", q, infer={"enumerate": "parallel"})
        pyro.sample("u", dist.Normal(0.1 * xs, 1.0))


@pytest.mark.parametrize("max_plate_nesting", [1, 2])
def test_serves_programs_of_others(max_plate_nesting):
    xs, values = torch.tensor([-1.2, 0.1, 0.7, 2.5]).double(), []
    for elbo in (StaticEnum_ELBO(max_plate_nesting), TraceEnum_ELBO(max_plate_nesting=1)):
        pyro.clear_param_store()
        torch.manual_seed(3)
        loss = elbo.loss_and_grads(mixture, mixture_guide, xs)
        store = pyro.get_param_store()
        values.append((loss, store["locs"].grad, store["slope"].grad))
    torch.testing.assert_close(*values)
    svi = SVI(mixture, mixture_guide, pyro.optim.Adam({"lr": 0.05}), RaoBlackwell_ELBO())
    before = mean_loss(xs)
    for _ in range(300):
        svi.step(xs)
    assert mean_loss(xs) < before - 1.0


def mean_loss(xs):
    return sum(StaticEnum_ELBO().loss(mixture, mixture_guide, xs) for _ in range(100)) / 100


def estimates(elbo, model, batch, calls=300, repeats=20):
    """Return mean and standard error over calls of (loss, gradient), as one vector.

    Each call is the mean of `repeats` draws.
    """
    samples = []
    ys = None if batch.ys is None else torch.cat([batch.ys] * repeats)
    many = replace(batch, xs=torch.cat([batch.xs] * repeats), ys=ys)
    for _ in range(calls):
        loss, grads = gradient(elbo, model, many)
        samples.append(torch.cat([loss[None], grads]) / repeats)
    samples = torch.stack(samples)
    return samples.mean(0), samples.std(0) / calls**0.5


@pytest.mark.parametrize("num_summed", [1, 3])
@pytest.mark.parametrize("noise", [False, True])
def test_rao_blackwell_value_and_gradient_are_unbiased(num_summed, noise, monkeypatch):
    model, batch = make_m2(), rows(0, 2)
    if not noise:
        # Without the latent's noise the enumerated gradient is exact, and every bit of the
        # other's spread the label's.
        monkeypatch.setattr(
            "torch.distributions.normal._standard_normal",
            lambda shape, dtype, device: torch.zeros(shape, dtype=dtype, device=device),
        )
    exact, exact_error = estimates(StaticEnum_ELBO(), model, batch, calls=300 if noise else 2)
    mean, error = estimates(RaoBlackwell_ELBO(num_summed), model, batch)
    error = (error**2 + exact_error**2).sqrt()
    moving = error > 1e-9
    # Weights of pixels that are zero and of dead units never move.
    assert moving.sum() > 100
    torch.testing.assert_close(mean[~moving], exact[~moving])
    z = ((mean - exact) / error)[moving].abs()
    # Three standard errors; of some hundred correlated figures chance puts a few beyond.
    assert z[0] < 3
    assert (z < 3).double().mean() > 0.98
    assert z.max() < 4


def test_rao_blackwell_visits_the_likeliest_classes_and_one_other():
    model, xs = make_m2(), rows(0, 4).xs
    elbo = RaoBlackwell_ELBO(num_summed=2)
    probs = model.predict_proba(xs)
    drawn = set()
    for _ in range(50):
        _, guide_trace = elbo._get_trace(model.model, model.guide, (xs,), {})
        site = guide_trace.nodes["y"]
        assert site["value"].shape == (3, 4)
        chosen = site["value"]
        assert torch.equal(chosen[:2], probs.T.topk(2, dim=0).indices)
        torch.testing.assert_close(site["infer"]["_class_weights"].sum(0), torch.ones(4).double())
        torch.testing.assert_close(
            site["infer"]["_class_weights"][:2], probs.T.topk(2, dim=0).values
        )
        assert ((chosen[2] != chosen[:2]).all(0)).all()
        drawn.update(chosen[2, 0:1].tolist())
    assert len(drawn) > 1


def test_rao_blackwell_over_all_classes_is_the_full_sum():
    model, batch = make_m2(), rows(3, 4)
    summed = gradient(RaoBlackwell_ELBO(CLASSES - 1), model, batch, seed=7)
    torch.testing.assert_close(summed, gradient(StaticEnum_ELBO(), model, batch, seed=7))


def test_rao_blackwell_serves_labels_that_are_vectors():
    def guide(xs):
        with pyro.plate("rows", len(xs)):
            q = dist.OneHotCategorical(logits=xs)
            pyro.sample("y", q, infer={"enumerate": "parallel"})

    def model(xs):
        with pyro.plate("rows", len(xs)):
            y = pyro.sample("y", dist.OneHotCategorical(logits=torch.zeros(4)))
            pyro.sample("x", dist.Normal(y @ torch.arange(4.0), 1.0), obs=xs[:, 0])

    xs = torch.randn(3, 4, requires_grad=True)
    exact = StaticEnum_ELBO().loss(model, guide, xs)
    elbo = RaoBlackwell_ELBO(2)
    losses = torch.tensor([elbo.loss(model, guide, xs) for _ in range(2000)])
    assert abs(losses.mean() - exact) < 3 * losses.std() / 2000**0.5


def test_impossible_classes_count_for_nothing():
    xs = torch.tensor([-1.2, 0.1, 0.7]).double()
    # Of 4 classes one has probability 0 for the first row, three for the second.
    logits = torch.zeros(3, 4).double()
    logits[0, 2] = logits[1, 1:] = -torch.inf
    means = torch.tensor([-1.0, 0.5, 2.0, 1.0], requires_grad=True).double()

    def model(xs):
        with pyro.plate("rows", 3):
            y = pyro.sample("y", dist.Categorical(torch.ones(4).double()))
            pyro.sample("x", dist.Normal(means[y], 1.0), obs=xs)

    def guide(xs):
        with pyro.plate("rows", 3):
            q = dist.Categorical(logits=weights)
            pyro.sample("y", q, infer={"enumerate": "parallel"})

    found = []
    for elbo in (TraceEnum_ELBO(max_plate_nesting=1), StaticEnum_ELBO(), RaoBlackwell_ELBO(2)):
        weights = logits.clone().requires_grad_()
        with pyro.validation_enabled(False):
            loss = elbo.differentiable_loss(model, guide, xs)
        found.append((loss.detach(), *torch.autograd.grad(loss, (weights, means))))
    torch.testing.assert_close(found[1], found[0])
    assert all(torch.isfinite(part).all() for part in found[2])


def make_vae(**options) -> VAE:
    torch.manual_seed(1)
    model = VAE((1, 2, 3), latent_dim=2, hidden_dims=(6,), **options)
    for parameter in model.parameters():
        parameter.data.mul_(2.0)
    return model.double()


@pytest.mark.parametrize("batch", [(0, 5), (4, 0), (3, 4)])
def test_closed_form_kl_of_each_class_equals_the_formula(batch):
    model, batch = make_m2(), rows(*batch)
    xs, ys, n = oracle.unpacked(batch)
    elbo = StaticEnum_ELBO(closed_form_kl=True)
    loss, trace = oracle.run(model, elbo, batch)

    def bound(xs, ys, zs):
        eps = oracle.noise(model, xs, ys, zs)
        loc, scale = oracle.posterior(model, xs, ys)
        zs = loc + scale * eps
        sampled = oracle.normal_log_prob(zs, loc, scale) - oracle.normal_log_prob(zs, 0.0, 1.0)
        kl = -0.5 * (1 + (scale**2).log() - loc**2 - scale**2).sum(-1)
        assert (sampled - kl).abs().max() > 1e-2
        return oracle.labelled_bound(model, xs, ys, eps) + sampled - kl

    by_hand = 0.0
    if n:
        by_hand = -bound(xs[:n], ys[:n], trace.nodes["labelled/z"]["value"]).sum()
        by_hand = by_hand + 2.0 * oracle.classification(model, xs[:n], ys[:n]).sum()
    if n < len(xs):
        log_q = model.classifier(xs[n:].flatten(1)).log_softmax(-1)
        for k, zs in enumerate(trace.nodes["unlabelled/z"]["value"]):
            each = bound(xs[n:], torch.full((len(xs) - n,), k), zs)
            by_hand = by_hand - (log_q[:, k].exp() * (each - log_q[:, k])).sum()
    torch.testing.assert_close(loss, by_hand, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(by_hand, model))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_closed_form_kl_equals_pyros(likelihood):
    model, xs = make_vae(likelihood=likelihood), rows(0, 5).xs
    ours = gradient(StaticEnum_ELBO(closed_form_kl=True), model, Batch(xs), seed=7)
    theirs = gradient(TraceMeanField_ELBO(), model, Batch(xs), seed=7)
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


def test_closed_form_kl_changes_no_mean_and_spares_the_gradient_noise():
    model, batch = make_vae(), Batch(rows(0, 4).xs)
    exact, noisy = (
        estimates(StaticEnum_ELBO(closed_form_kl=closed), model, batch) for closed in (True, False)
    )
    error = (exact[1] ** 2 + noisy[1] ** 2).sqrt()
    moving = error > 1e-9
    assert moving.sum() > 60
    torch.testing.assert_close(exact[0][~moving], noisy[0][~moving])
    z = ((exact[0] - noisy[0]) / error)[moving].abs()
    # Three standard errors; of some hundred correlated figures chance puts a few beyond.
    assert z[0] < 3
    assert (z < 3).double().mean() > 0.98
    assert z.max() < 4
    # The pull of p(z) on a draw is -z, on average -loc, which the closed form has at once. Only
    # the gradient is promised to gain: where q is close to the posterior, the noise of the two
    # halves of a sampled bound cancels. The figures for the loss come first and are left out.
    assert exact[1][1:].square().sum() < 0.5 * noisy[1][1:].square().sum()


def test_latents_without_a_closed_form_are_sampled():
    xs = torch.tensor([-1.2, 0.1, 0.7]).double()
    slope = torch.tensor([0.3, 0.1]).double().requires_grad_()

    def model(xs):
        with pyro.plate("rows", 3):
            a = pyro.sample("a", dist.Normal(torch.zeros(()).double(), 1.0))
            b = pyro.sample("b", dist.Gamma(torch.tensor(2.0).double(), 1.0))
            pyro.sample("x", dist.Normal(a + b, 0.5), obs=xs)

    def guide(xs):
        with pyro.plate("rows", 3):
            pyro.sample("a", dist.Normal(slope[0] * xs, 0.8))
            pyro.sample("b", dist.LogNormal(slope[1] * xs, 0.4))

    with pytest.raises(NotImplementedError):
        kl_divergence(dist.LogNormal(0.0, 1.0), dist.Gamma(2.0, 1.0))
    elbo = StaticEnum_ELBO(closed_form_kl=True)
    loss, trace = oracle.run(SimpleNamespace(model=model, guide=guide), elbo, xs)
    with torch.no_grad():
        noise_a = (trace.nodes["a"]["value"] - slope[0] * xs) / 0.8
        noise_b = (trace.nodes["b"]["value"].log() - slope[1] * xs) / 0.4
    a, log_b = slope[0] * xs + 0.8 * noise_a, slope[1] * xs + 0.4 * noise_b

    def each(value, loc, scale):
        return oracle.normal_log_prob(value[:, None], loc[:, None], scale)

    kl_a = -0.5 * (1 + math.log(0.64) - (slope[0] * xs) ** 2 - 0.64)
    log_q_b, log_p_b = each(log_b, slope[1] * xs, 0.4) - log_b, log_b - log_b.exp()
    by_hand = (kl_a + log_q_b - log_p_b - each(xs, a + log_b.exp(), 0.5)).sum()
    torch.testing.assert_close(loss, by_hand, atol=1e-9, rtol=1e-9)
    theirs = torch.autograd.grad(by_hand, slope)
    torch.testing.assert_close(torch.autograd.grad(loss, slope), theirs)


def test_closed_form_kl_across_orders_is_refused():
    def model():
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        a = pyro.sample("a", dist.Normal(b, 1.0))
        pyro.sample("x", dist.Normal(a, 1.0), obs=torch.tensor(1.0))

    def guide():
        a = pyro.sample("a", dist.Normal(0.5, 1.0))
        pyro.sample("b", dist.Normal(a, 1.0))

    StaticEnum_ELBO(max_plate_nesting=0).loss(model, guide)
    elbo = StaticEnum_ELBO(max_plate_nesting=0, closed_form_kl=True)
    with pytest.raises(ConfigError, match="in the order a, b, the model in the order b, a: use"):
        elbo.loss(model, guide)


class NoLooks(TorchDispatchMode):
    """Fails on the operations by which Python looks at a tensor's values."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in {
            "_local_scalar_dense",
            "is_nonzero",
            "nonzero",
            "equal",
        }, f"{func} makes the host wait"
        return func(*args, **kwargs or {})


@pytest.mark.parametrize(
    "elbo", [StaticEnum_ELBO(), StaticEnum_ELBO(closed_form_kl=True), RaoBlackwell_ELBO(1)]
)
def test_no_value_is_looked_at(elbo):
    model, batch = make_m2(batch_norm=True, input_dropout=0.2).train(), rows(3, 4)
    with pyro.validation_enabled(False), NoLooks():
        gradient(elbo, model, batch)
    with pytest.raises(AssertionError, match="makes the host wait"), NoLooks():
        gradient(TraceEnum_ELBO(max_plate_nesting=1), model, batch)


def unmarked_guide(xs):
    with pyro.plate("points", len(xs)):
        pyro.sample("component", dist.Categorical(torch.ones(3) / 3))
        pyro.sample("u", dist.Normal(0.1 * xs, 1.0))


def test_programs_that_cannot_be_summed_are_named():
    xs = torch.randn(4)
    with pytest.raises(ConfigError, match="site 'component' of the guide is neither"):
        StaticEnum_ELBO().loss(mixture, unmarked_guide, xs)
    guide = AutoNormal(pyro.poutine.block(mixture, hide=["component"]))
    with pytest.raises(ConfigError, match="site 'component' of the model is not in the guide"):
        StaticEnum_ELBO().loss(mixture, guide, xs)
    with pytest.raises(ConfigError, match="num_summed is 0"):
        RaoBlackwell_ELBO(0)


def test_draws_and_factors_that_would_give_wrong_gradients_are_named():
    xs = torch.randn(4)

    def draws(xs):
        with pyro.plate("points", len(xs)):
            infer = {"enumerate": "parallel", "num_samples": 5}
            pyro.sample("component", dist.Categorical(torch.ones(3) / 3), infer=infer)
            pyro.sample("u", dist.Normal(0.1 * xs, 1.0))

    def factor(xs):
        mixture_guide(xs)
        pyro.factor("extra", xs.sum(), has_rsample=False)

    with pytest.raises(ConfigError, match="'component' of the guide asks for num_samples"):
        StaticEnum_ELBO().loss(mixture, draws, xs)
    pyro.clear_param_store()
    with pytest.raises(ConfigError, match="site 'extra' of the guide is neither"):
        StaticEnum_ELBO().loss(mixture, factor, xs.double())


def test_a_term_of_two_enumerated_sites_is_refused():
    def guide():
        for name in "ab":
            pyro.sample(name, dist.Bernoulli(0.3), infer={"enumerate": "parallel"})

    def model():
        a, b = (pyro.sample(name, dist.Bernoulli(0.5)) for name in "ab")
        pyro.sample("x", dist.Normal(a + b, 1.0), obs=torch.tensor(1.0))

    with pytest.raises(ConfigError, match="enumerated sites a and b"):
        StaticEnum_ELBO(max_plate_nesting=0).loss(model, guide)


HEADS, SEEN = torch.tensor([0.2, 0.6, 0.7]), torch.tensor(4.0)


def coins_guide(x=None):
    with pyro.plate("rows", 3):
        pyro.sample("y", dist.Bernoulli(HEADS), infer={"enumerate": "parallel"})


def coin_guide(x):
    pyro.sample("y", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})


def sum_outside(x):
    with pyro.plate("rows", 3):
        y = pyro.sample("y", dist.Bernoulli(0.4))
    pyro.sample("x", dist.Normal(y.sum(-1, keepdim=True), 1.0), obs=x)


def sum_without_a_plate(x):
    with pyro.plate("rows", 3):
        y = pyro.sample("y", dist.Bernoulli(0.4))
    pyro.sample("x", dist.Normal(y.sum(-1), 1.0), obs=x)


def latent_outside(x):
    with pyro.plate("rows", 3):
        y = pyro.sample("y", dist.Bernoulli(0.4))
    pyro.sample("z", dist.Normal(y.sum(-1, keepdim=True), 1.0))
    pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)


def in_a_plate_of_equal_size(x):
    with pyro.plate("rows", 3):
        y = pyro.sample("y", dist.Bernoulli(0.4))
    with pyro.plate("others", 3):
        pyro.sample("x", dist.Normal(y.sum(-1, keepdim=True), 1.0), obs=x)


def label_outside(x):
    y = pyro.sample("y", dist.Bernoulli(0.4))
    with pyro.plate("rows", 3):
        pyro.sample("x", dist.Normal(y, 1.0), obs=x)


def latent_guide(x):
    coins_guide()
    pyro.sample("z", dist.Normal(0.5, 1.0))


ENUMERATING = [
    StaticEnum_ELBO(),
    StaticEnum_ELBO(closed_form_kl=True),
    RaoBlackwell_ELBO(1),
    LeaveOneOut_ELBO(2),
    LabelWeighted_ELBO(),
]


def sum_over_combinations():
    """The negative ELBO of `sum_outside` and `coins_guide`, over all 8 labels of 3 rows."""
    total = 0.0
    for ys in itertools.product((0.0, 1.0), repeat=3):
        ys = torch.tensor(ys)
        log_q = dist.Bernoulli(HEADS).log_prob(ys).sum()
        log_p = dist.Bernoulli(0.4).log_prob(ys).sum() + dist.Normal(ys.sum(), 1.0).log_prob(SEEN)
        total = total + log_q.exp() * (log_q - log_p)
    return total.item()


@pytest.mark.parametrize("validates", [True, False])
@pytest.mark.parametrize("elbo", ENUMERATING, ids=lambda elbo: type(elbo).__name__)
def test_a_label_of_a_plate_is_refused_in_terms_outside_of_it(elbo, validates):
    # Each label summed on its own gives 21.9; Pyro's gives 14.7.
    truth = sum_over_combinations()
    assert truth == pytest.approx(4.705, abs=1e-3)
    outside = "site '[xz]' of the model depends on the enumerated site 'y', but is outside of its"
    with pyro.validation_enabled(validates):
        for model, guide in (
            (sum_outside, coins_guide),
            (in_a_plate_of_equal_size, coins_guide),
            (latent_outside, latent_guide),
        ):
            with pytest.raises(ConfigError, match=f"{outside} plate 'rows'.*TraceGraph_ELBO"):
                elbo.loss(model, guide, SEEN)
        if not validates:
            # Pyro itself refuses these while it validates.
            with pytest.raises(ConfigError, match=r"the model cannot be summed.*invalid log_prob"):
                elbo.loss(sum_without_a_plate, coins_guide, SEEN)
            with pytest.raises(ConfigError, match=r"sizes {-1: 3} in the model, but {} in the"):
                elbo.loss(sum_outside, coin_guide, SEEN)


def test_an_antithetic_pair_is_refused_outside_of_its_plate_too():
    def guide(x):
        with pyro.plate("rows", 3):
            code = dist.Bernoulli(logits=torch.zeros(3, 2)).to_event(1)
            pyro.sample("y", code, infer={"enumerate": "parallel"})

    def model(x):
        with pyro.plate("rows", 3):
            y = pyro.sample("y", dist.Bernoulli(torch.full((2,), 0.4)).to_event(1))
        pyro.sample("x", dist.Normal(y.sum((-1, -2)).unsqueeze(-1), 1.0), obs=x)

    with pytest.raises(ConfigError, match="outside of its plate 'rows'"):
        Antithetic_ELBO().loss(model, guide, SEEN)


def test_the_elbo_that_the_refusal_names_has_the_true_value():
    def draws(x):
        with pyro.plate("rows", 3):
            pyro.sample("y", dist.Bernoulli(HEADS))

    torch.manual_seed(0)
    losses = torch.tensor([ScoreFunction_ELBO().loss(sum_outside, draws, SEEN) for _ in range(300)])
    error = losses.std() / 300**0.5
    assert abs(losses.mean() - sum_over_combinations()) < 4 * error < 1.0


def test_terms_in_more_plates_than_their_label_and_plates_of_other_names_are_summed():
    """A label of all rows, and rows whose plate model and guide call by different names."""

    def rows_guide(xs):
        with pyro.plate("rows of the guide", 3):
            pyro.sample("y", dist.Bernoulli(HEADS), infer={"enumerate": "parallel"})

    def rows_model(xs):
        with pyro.plate("rows", 3):
            y = pyro.sample("y", dist.Bernoulli(0.4))
            pyro.sample("x", dist.Normal(y, 1.0), obs=xs)

    xs = torch.tensor([4.0, -1.0, 0.5])
    for model, guide, heads in (
        (label_outside, coin_guide, torch.tensor(0.3)),
        (rows_model, rows_guide, HEADS),
    ):
        by_hand = 0.0
        for y in (0.0, 1.0):
            q = dist.Bernoulli(heads).log_prob(torch.tensor(y)).exp()
            log_p = dist.Bernoulli(0.4).log_prob(torch.tensor(y))
            log_x = dist.Normal(y, 1.0).log_prob(xs)
            log_x = log_x.sum() if model is label_outside else log_x
            by_hand = by_hand + (q * (q.log() - log_p - log_x)).sum().item()
        assert StaticEnum_ELBO().loss(model, guide, xs) == pytest.approx(by_hand, rel=1e-5)

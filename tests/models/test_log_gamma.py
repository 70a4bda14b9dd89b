from itertools import pairwise

import pyro
import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.elbos import objective_terms
from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.errors import ConfigError
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import LogGamma
from tests import oracle
from tests.elbos.test_sampled import make, pixels
from tests.models.test_logistic_normal import means
from tests.models.test_m2 import YS_OF_EACH_KIND

PRIOR = 0.4


def make_model(**options) -> LogGamma:
    model = make(LogGamma, **options)
    # What counts is the buffer, which may be annealed.
    model.annealed_prior_concentration.fill_(PRIOR)
    return model


def concentration(model, xs, ys=None):
    """b(x), and one more for the label."""
    found = 0.05 + F.softplus(model.classifier(xs.flatten(1)))
    return found if ys is None else found + F.one_hot(ys, found.shape[1])


def prior(model):
    return torch.full((model.num_classes,), PRIOR, dtype=torch.float64)


def by_hand(model, xs, ys, trace):
    """The loss; draws are made anew from the generator in the order of the guide."""
    total = 0.0
    for prefix, mask in oracle.parts(xs, ys):
        rows, zs = xs[mask], trace.nodes[prefix + "z"]["value"]
        here, extra = torch.arange(len(rows)), 0.0
        known = None if ys is None or ys[mask][0] < 0 else ys[mask]
        b = concentration(model, rows, known)
        # torch's own way through the draw: shape parameters in, a point of the simplex out.
        pi = torch.distributions.Dirichlet(b).rsample()
        torch.testing.assert_close(pi, trace.nodes[prefix + "pi"]["value"])
        eps = torch.normal(torch.zeros_like(zs), torch.ones_like(zs))
        torch.testing.assert_close(eps, oracle.noise(model, rows, pi, zs))
        if known is not None:
            plain = concentration(model, rows)
            q_y = plain[here, known] / plain.sum(-1)
            extra = pi.log()[here, known] + 2.0 * q_y.log()
        bound = oracle.soft_bound(model, rows, pi, eps) - oracle.dirichlet_kl(b, prior(model))
        total = total - (bound + extra).sum()
    return total


@pytest.mark.parametrize("ys", YS_OF_EACH_KIND)
def test_objective_at_its_draws_is_the_formula(ys):
    model, xs = make_model(), pixels(5)
    ys = None if ys is None else torch.tensor(ys)
    torch.manual_seed(5)
    loss, trace = oracle.run(model, model.make_elbo(), xs, ys)
    torch.manual_seed(5)
    wanted = by_hand(model, xs, ys, trace)
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


def quadrature(model, xs, ys, points=2401, reach=240.0):
    """The bound of each row with two classes and without noise in z, an integral over pi_0."""
    b = concentration(model, xs, ys)
    u = torch.linspace(-reach, reach, points, dtype=torch.float64)
    # pi_0 = sigmoid(u): the density of u has no poles. Points along the first dimension.
    pi = torch.stack([u.sigmoid(), (-u).sigmoid()], -1).unsqueeze(1)
    log_pi = torch.stack([F.logsigmoid(u), F.logsigmoid(-u)], -1).unsqueeze(1)
    log_normaliser = torch.lgamma(b.sum(-1)) - torch.lgamma(b).sum(-1)
    density = (log_normaliser + (b * log_pi).sum(-1)).exp() * (u[1] - u[0])
    inner = oracle.soft_bound(model, xs, pi, torch.zeros(points, len(xs), 2).double())
    extra = -oracle.dirichlet_kl(b, prior(model))
    if ys is not None:
        inner = inner + log_pi[:, 0, ys]
        plain = concentration(model, xs)
        extra = extra + 2.0 * (plain[torch.arange(len(xs)), ys] / plain.sum(-1)).log()
    return (density * inner).sum(0) + extra


@pytest.mark.parametrize("labelled", [False, True])
def test_mean_value_and_gradient_are_the_integrals(labelled, monkeypatch):
    # Without kinks the trapezoidal rule is as good as exact.
    model = make_model(num_classes=2, activation="tanh")
    monkeypatch.setattr(
        "torch.distributions.normal._standard_normal",
        lambda shape, dtype, device: torch.zeros(shape, dtype=dtype, device=device),
    )
    rows, ys = pixels(2), torch.tensor([0, 1]) if labelled else None
    bias = model.classifier.layers[-1].bias, model.decoder.layers[0].embedding.weight

    def figures(value):
        gradients = torch.autograd.grad(value, bias)
        return torch.cat([value.detach()[None], *(g.flatten() for g in gradients)])

    exact = figures(-quadrature(model, rows, ys).sum())
    finer = figures(-quadrature(model, rows, ys, points=3601).sum())
    torch.testing.assert_close(exact, finer, atol=1e-7, rtol=1e-7)
    xs, ys = rows.repeat(300, 1, 1, 1), None if ys is None else ys.repeat(300)
    elbo, drawn = model.make_elbo(), []
    with pyro.validation_enabled(False):
        for _ in range(60):
            loss = elbo.differentiable_loss(model.model, model.guide, xs, ys)
            drawn.append(figures(loss / 300))
    drawn = torch.stack(drawn)
    error = drawn.std(0) / 60**0.5
    assert ((drawn.mean(0) - exact) / error).abs().max() < 3
    assert error[0] < 0.005 * exact[0]
    assert error[1:3].max() < 0.05 * exact[1:3].abs().max()


def test_class_probabilities_are_the_mean_of_the_dirichlet():
    model, xs = make_model(), pixels(4)
    b = concentration(model, xs).detach()
    torch.testing.assert_close(model.predict_proba(xs), b / b.sum(-1, keepdim=True))
    drawn = torch.distributions.Dirichlet(b).sample((20_000,))
    error = drawn.std(0) / 20_000**0.5
    assert ((drawn.mean(0) - model.predict_proba(xs)) / error).abs().max() < 3.5


def test_terms_are_those_of_the_formula():
    model, xs = make_model(), pixels(5)
    elbo = model.make_elbo()
    with oracle.recorded_traces(elbo) as traces:
        loss = elbo.differentiable_loss(model.model, model.guide, xs)
    terms = objective_terms(*traces[-1])
    kl = oracle.dirichlet_kl(concentration(model, xs), prior(model)).mean()
    torch.testing.assert_close(terms["kl_pi"], kl.detach())
    torch.testing.assert_close(terms["elbo"], -loss.detach() / 5)


def test_sampled_divergence_agrees_with_the_closed_form():
    model, xs = make_model(), pixels(4).repeat(200, 1, 1, 1)
    ys = torch.tensor([0, 2, -1, -1]).repeat(200)
    (exact, error), (sampled, other) = (
        means(model, (xs, ys), elbo) for elbo in (model.make_elbo(), StaticEnum_ELBO())
    )
    combined = (error**2 + other**2).sqrt()
    assert abs(exact - sampled) < 3 * combined
    # Sharp enough to miss a tenth of the divergence.
    kl = oracle.dirichlet_kl(concentration(model, xs), prior(model)).sum()
    assert combined < 0.03 * kl


def test_draws_with_a_label_are_the_priors_given_the_label(monkeypatch):
    model, seen = make_model(), []
    monkeypatch.setattr(model, "decode", lambda zs, pi, _: seen.append((zs, pi)) or pi)
    ys = torch.tensor([2, 0]).repeat(10_000)
    model.sample(ys)
    ((zs, pi),) = seen
    total = 4 * PRIOR + 1
    for y in (0, 2):
        alpha = prior(model)
        alpha[y] += 1
        mean = alpha / total
        variance = mean * (1 - mean) / (total + 1)
        drawn = pi[ys == y]
        assert ((drawn.mean(0) - mean).abs() < 3.5 * (variance / 10_000).sqrt()).all()
        torch.testing.assert_close(drawn.var(0), variance, atol=0, rtol=0.06)
    assert zs.mean().abs() < 4 / zs.numel() ** 0.5
    assert abs(zs.var() - 1) < 4 * (2 / zs.numel()) ** 0.5


def test_bound_grows_with_its_samples():
    model, xs = make_model(), pixels(3).repeat(200, 1, 1, 1)
    bounds = [importance_weighted_bound(model, xs, k).view(200, 3).sum(1) for k in (1, 5, 40)]
    for less, more in pairwise(bounds):
        error = ((less.var() + more.var()) / 200).sqrt()
        assert more.mean() - less.mean() > 3 * error
    exact, other = means(model, (xs,), StaticEnum_ELBO(), calls=10)
    error = (bounds[0].var() / 200 + (other / 200) ** 2).sqrt()
    assert abs(bounds[0].mean() + exact / 200) < 3 * error


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf")])
def test_prior_concentrations_that_cannot_work_are_named(value):
    with pytest.raises(ConfigError, match="prior_concentration is "):
        make(LogGamma, prior_concentration=value)

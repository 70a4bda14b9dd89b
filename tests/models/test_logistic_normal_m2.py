import math

import pytest
import torch
from scipy import integrate, special

from pyro_ssl.models.logistic_normal_m2 import log_probit


def exact_log_probit(scores):
    """log P(m_y + e_y is the largest), e ~ Normal(0, I), on a fine grid; differentiable."""
    points = torch.linspace(-14.0, 14.0, 2801, dtype=scores.dtype)
    points = points + scores.detach().mean(-1)[..., None]
    found = []
    for y in range(scores.shape[-1]):
        gap = points - scores[..., y, None]
        density = torch.exp(-0.5 * gap**2) / math.sqrt(2 * math.pi)
        for j in range(scores.shape[-1]):
            if j != y:
                density = density * torch.special.ndtr(points - scores[..., j, None])
        found.append(torch.trapezoid(density, points).log())
    return torch.stack(found, -1)


@pytest.mark.parametrize("gap", [0.0, 1.0, 4.0, 8.0])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_log_probit_is_its_integral(classes, gap):
    scores = torch.zeros(classes).double()
    scores[0], scores[1] = gap, 0.3 if classes > 2 else 0.0

    def density(t, y):
        found = math.exp(-0.5 * (t - scores[y]) ** 2) / math.sqrt(2 * math.pi)
        for j in range(classes):
            if j != y:
                found *= special.ndtr(t - scores[j].item())
        return found

    for y in (0, 1, classes - 1):
        middle = 0.5 * (scores[y].item() + gap)
        exact = integrate.quad(
            density, -40, 40, args=(y,), points=[middle], epsabs=0, epsrel=1e-10, limit=400
        )[0]
        # The rarest has a probability of 1e-8 here.
        assert log_probit(scores)[y].item() == pytest.approx(math.log(exact), abs=2e-5)
        assert exact_log_probit(scores)[y].item() == pytest.approx(math.log(exact), abs=1e-8)


def test_two_classes_are_the_normal_distribution_function():
    gaps = torch.linspace(-8, 8, 33).double()
    found = log_probit(torch.stack([gaps, torch.zeros_like(gaps)], -1))[:, 0]
    torch.testing.assert_close(found, special_log_ndtr(gaps), atol=1e-5, rtol=0)


def special_log_ndtr(gaps):
    return torch.from_numpy(special.log_ndtr(gaps.numpy() / math.sqrt(2)))


def test_log_probit_in_single_precision_is_that_in_double():
    scores = 3 * torch.randn(200, 10)
    found = log_probit(scores)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), log_probit(scores.double()), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(200), atol=1e-5, rtol=0)


def test_slope_of_log_probit_is_the_integrals():
    scores = (2 * torch.randn(5, 4)).double().requires_grad_()
    weights = torch.randn(5, 4).double()
    (ours,) = torch.autograd.grad((weights * log_probit(scores)).sum(), scores)
    (exact,) = torch.autograd.grad((weights * exact_log_probit(scores)).sum(), scores)
    torch.testing.assert_close(ours, exact, atol=1e-5, rtol=1e-5)


def test_log_probit_knows_differences_of_scores_only():
    scores = (2 * torch.randn(5, 4)).double()
    shifted = log_probit(scores + 1000.0)
    torch.testing.assert_close(shifted, log_probit(scores), atol=1e-9, rtol=1e-9)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(log_probit(scores[:, order]), log_probit(scores)[:, order])


def test_extreme_scores_have_finite_slopes():
    scores = torch.tensor([[50.0, -50.0, 0.0], [50.0, 50.0, -50.0], [0.0, 0.0, -50.0]])
    scores.requires_grad_()
    found = log_probit(scores)
    assert torch.isfinite(found).all()
    halves = torch.tensor([0.5, 0.5]).log()
    torch.testing.assert_close(found[1, :2], halves, atol=1e-5, rtol=0)
    for y in range(3):
        (slope,) = torch.autograd.grad(found[:, y].sum(), scores, retain_graph=True)
        assert torch.isfinite(slope).all()
        # An unlikely class is to be had by raising its own score.
        assert slope[:, y].min() >= 0
    # Of the divergence too, in which the probabilities themselves are factors.
    (slope,) = torch.autograd.grad((found.exp() * found).sum(), scores)
    assert torch.isfinite(slope).all()

"""Moments of gradients against formulas, and what the estimators are known to be."""

import math

import pandas as pd
import pytest
import torch

from benchmarks import estimators
from benchmarks.gradients import MeanDifference, score_gradients
from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.models import M2

ARGUMENTS = "--draws 1000 --rows 20 --epochs 12 --baseline-steps 100 --temperatures 1 0.1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("estimators")
    estimators.main([*ARGUMENTS.split(), "--device", "cpu", "--results-root", str(root)])
    return root


@pytest.fixture(scope="module")
def table(folder):
    return pd.read_csv(folder / "estimators.csv").set_index("estimator")


def test_tables_are_written(folder, table):
    assert "python -m benchmarks.estimators" in (folder / "estimators.md").read_text()
    assert (table["commit"].str.len() >= 40).all()
    # Three sums over classes, one Rao-Blackwellised, two leave-one-out, two scores; two families.
    assert len(table) == 3 + 1 + 2 + 2 + 2 * 2 * 2
    assert table["mean_max_q"].between(0.15, 0.95).all()


def test_estimators_without_relaxation_are_unbiased(table):
    unbiased = table[table["temperature"].isna()]
    assert len(unbiased) == 8
    assert (unbiased["bias_z"].abs() < 3).all()
    # One draw is too noisy for it, but elsewhere a bias would have shown.
    assert (unbiased.loc[unbiased["labels"] > 1, "bias_high"] < 0.1).all()
    # There are at most 200 errors in each of 8 rows; one in 100,000 passes 4.4 by chance.
    assert (unbiased["largest_z"] < 4.4).all()


@pytest.mark.parametrize("name", ["GumbelSoftmaxM2", "LogisticNormalM2"])
@pytest.mark.parametrize("straight_through", [False, True])
def test_bias_falls_and_variance_grows_as_the_temperature_falls(table, name, straight_through):
    relaxed = table.loc[[name]]
    relaxed = relaxed[relaxed["straight_through"] == straight_through].set_index("temperature")
    assert relaxed.loc[1.0, "bias_z"] > 3
    assert relaxed.loc[0.1, "bias_high"] < relaxed.loc[1.0, "bias_low"]
    assert relaxed.loc[0.1, "variance"] > relaxed.loc[1.0, "variance"]


def test_variance_falls_with_a_baseline_and_with_draws(table):
    variance = table["variance"]
    assert variance["ApproxM2"] < variance["ApproxM2 without its baseline"]
    two, four = (variance[f"LeaveOneOutM2, {s} draws"] for s in (2, 4))
    assert four < two < variance["ApproxM2 without its baseline"]
    softmax_sum = table[table["q_y"] == "softmax"].loc["sum over classes", "variance"]
    assert softmax_sum < variance["RaoBlackwellM2"]


def test_the_exact_gradient_is_that_of_the_sum_by_hand():
    torch.manual_seed(0)
    m2 = M2((1, 3, 4), num_classes=4, latent_dim=3, hidden_dims=(7,)).double().eval()
    # The decoder looks at the label alone, so that no term depends on z's noise.
    m2.decoder.layers[0].linear.weight.data.zero_()
    xs = torch.rand(5, 1, 3, 4).bernoulli().double()
    elbo = StaticEnum_ELBO(closed_form_kl=True)
    moments = score_gradients(m2, elbo, xs, draws=3, labels=4)

    ys = torch.arange(4).unsqueeze(1).expand(4, 5)
    means = m2.decode(torch.zeros(4, 5, 3).double(), ys)
    log_p_x = torch.where(xs > 0, means, 1 - means).log().sum((-1, -2, -3))
    loc, scale = m2.encode(xs, ys)
    kl = (0.5 * (loc**2 + scale**2 - 1) - scale.log()).sum(-1)
    q = m2.predict_proba(xs)
    bounds = (log_p_x - kl - math.log(4)).T - q.log()
    by_hand = -q * (bounds - (q * bounds).sum(-1, keepdim=True))
    torch.testing.assert_close(moments.mean, by_hand)
    torch.testing.assert_close(moments.covariance, torch.zeros(5, 4, 4).double())
    assert moments.squared_norm == pytest.approx((by_hand**2).sum().item())
    assert moments.difference(moments).squared_norm()[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("size", "excess"), [(0.0, 0.35), (3.0, 0.05)])
def test_squared_norm_of_a_noisy_difference_is_unbiased_and_its_error_true(size, excess):
    torch.manual_seed(0)
    rows, classes, trials = 6, 4, 2000
    factors = torch.randn(rows, classes, classes).double() / 2
    covariance = factors @ factors.mT
    truth = torch.full((rows, classes), size).double()
    noise = torch.einsum("rkl,trl->trk", factors, torch.randn(trials, rows, classes).double())
    found = [MeanDifference(truth + e, covariance).squared_norm() for e in noise]
    squares, errors = torch.tensor(found).double().unbind(-1)
    spread = squares.std()
    assert (squares.mean() - (truth**2).sum()).abs() < 3 * spread / math.sqrt(trials)
    assert 0.95 * spread < errors.square().mean().sqrt() < (1 + excess) * spread


def test_the_largest_error_leaves_out_what_does_not_count():
    covariance = torch.diag_embed(torch.tensor([[4.0, 1.0, 1.0]]))
    difference = MeanDifference(torch.tensor([[-6.0, 2.0, 9.0]]), covariance)
    assert difference.largest_z(torch.tensor([[True, True, False]])) == 3

import numpy as np
import pytest
from scipy.optimize import minimize

from pyro_ssl.estimator.regression.stacking import calibrated, moments, stack


def said(mean, deviation=1.0):
    return np.stack([mean, np.full(len(mean), deviation)], 1)


@pytest.fixture
def ys():
    return np.random.default_rng(0).standard_normal(30)


def test_weights_minimise_the_stated_sum(ys):
    rng = np.random.default_rng(1)
    held_out = {
        name: said(0.5 * ys + s * rng.standard_normal(30))
        for name, s in (("a", 0.3), ("b", 0.8), ("c", 1.5))
    }
    preference = {"a": 0.5, "b": 2.0, "c": 1.0}
    rows = rng.random(30) + 0.5
    found = stack(held_out, ys, rows, preference)
    assert found.weights.sum() == pytest.approx(1)
    prior = np.array([0.5, 2.0, 1.0])
    means, scaled = np.stack([v[:, 0] for v in held_out.values()]), rows * 30 / rows.sum()
    square = np.average((ys - prior / prior.sum() @ means) ** 2, weights=rows) + 1e-6

    def loss(w):
        return scaled @ (ys - w @ means) ** 2 / (2 * square) - prior @ np.log(w)

    bounds, whole = [(1e-6, 1)] * 3, {"type": "eq", "fun": lambda w: w.sum() - 1}
    best = minimize(loss, np.full(3, 1 / 3), bounds=bounds, constraints=whole, tol=1e-12)
    assert loss(found.weights) < best.fun + 1e-6
    np.testing.assert_allclose(found.weights, best.x, atol=2e-3)


def test_a_good_candidate_wins_and_preference_decides_without_rows(ys):
    both = {"good": said(0.9 * ys), "bad": said(-ys)}
    even = {"good": 1.0, "bad": 1.0}
    assert stack(both, ys, np.ones(30), even).weights[0] > 0.9
    unknown = {name: np.full((30, 2), np.nan) for name in both}
    none = stack(unknown, ys, np.ones(30), {"good": 1.0, "bad": 3.0})
    np.testing.assert_allclose(none.weights, [0.25, 0.75])
    assert none.table["held_out_rows"].tolist() == [0, 0]
    assert none.table["rmse"].isna().all()
    mean, deviation = none.mix({"good": said(np.ones(2)), "bad": said(np.zeros(2))})
    np.testing.assert_allclose(mean, 0.25)
    np.testing.assert_allclose(deviation, np.sqrt(1 + 0.25 * 0.75))


def test_deviations_are_those_of_the_mixture_and_fit_held_out_errors(ys):
    means = np.stack([said(np.zeros(4), 2.0), said(np.full(4, 3.0), 1.0)])
    mean, deviation = moments(means, np.array([0.5, 2.0]), np.array([0.75, 0.25]))
    draws = np.random.default_rng(0).standard_normal(200_000)
    mixed = np.where(np.arange(200_000) % 4 > 0, draws, 3 + 2 * draws)
    assert mean[0] == pytest.approx(mixed.mean(), abs=0.02)
    assert deviation[0] == pytest.approx(mixed.std(), abs=0.02)
    # Two rows in advance are as far off as was said.
    errors, says = np.array([2.0, -4.0, 3.0]), np.array([1.0, 2.0, 1.0])
    found = calibrated(errors, says, np.ones(3))
    assert found == pytest.approx(np.sqrt((4 + 4 + 9 + 2) / 5))
    rng = np.random.default_rng(2)
    wide = {"a": said(ys + 0.2 * rng.standard_normal(30), 50.0)}
    stacked = stack(wide, ys, np.ones(30), {"a": 1.0}, unit=7.0)
    assert stacked.table["scale"][0] * 50 < 20
    mean, deviation = stacked.mix(wide)
    assert np.std((ys - mean) / deviation) < 1.3
    square = np.mean((ys - wide["a"][:, 0]) ** 2)
    assert stacked.table["rmse"][0] == pytest.approx(7 * np.sqrt(square))
    scale = stacked.table["scale"][0] * 50 * 7
    nats = 0.5 * 49 * square / scale**2 + np.log(scale) + 0.5 * np.log(2 * np.pi)
    assert stacked.table["log_loss"][0] == pytest.approx(nats)

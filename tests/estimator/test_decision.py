import numpy as np
import pytest
from scipy.optimize import minimize

from pyro_ssl.estimator.decision import Calibration, decide, labelled_shares
from pyro_ssl.estimator.probabilities import (
    class_balanced,
    estimated_shares,
    floored,
    log_loss,
    mixture_weights,
    normalised,
    reweighed,
    shares_of,
    temperature,
)

CODES = np.repeat([0, 1, 2], [60, 30, 10])


def said(codes, sharpness, seed=0):
    """Probabilities from scores whose softmax is right, with the scores multiplied."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(len(codes), 3))
    scores[np.arange(len(codes)), codes] += 1.5
    return normalised(scores * 1.5 * sharpness)


def test_shares_of_classes_are_taken_out_and_put_in_by_bayes_rule():
    likelihood = np.array([[0.2, 0.5, 0.9], [0.7, 0.1, 0.4]])
    old, new = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.2, 0.6])
    posterior = {name: likelihood * s for name, s in (("old", old), ("new", new))}
    posterior = {k: p / p.sum(1, keepdims=True) for k, p in posterior.items()}
    np.testing.assert_allclose(reweighed(posterior["old"], old, new), posterior["new"])


def test_balanced_weights_give_classes_equal_sums():
    weights = class_balanced(CODES, 3)
    np.testing.assert_allclose(np.bincount(CODES, weights), 100 / 3)


def test_shares_of_labelled_rows_count_their_weights():
    np.testing.assert_allclose(shares_of(CODES, 3), np.array([61, 31, 11]) / 103)
    weights = np.where(CODES == 2, 6.0, 1.0)
    scaled = np.array([60, 30, 60]) * 100 / 150 + 1
    np.testing.assert_allclose(labelled_shares(CODES, 3, weights), scaled / 103)


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_the_temperature_is_that_of_least_penalised_loss(sharpness):
    probabilities, weights = said(CODES, sharpness), class_balanced(CODES, 3)

    def loss(log_t):
        scaled = normalised(np.log(probabilities) / np.exp(log_t[0]))
        return log_loss(scaled, CODES, weights) * len(CODES) + 1.5 * (log_t[0] - 0.5) ** 2

    best = minimize(loss, [0.0], method="Nelder-Mead").x[0]
    # The grid's step is 0.05.
    assert abs(np.log(temperature(probabilities, CODES, weights, 0.5)) - best) < 0.03


@pytest.mark.parametrize("expected", [0.0, 1.0])
def test_without_rows_the_temperature_is_the_expected_one(expected):
    found = temperature(np.empty((0, 3)), CODES[:0], np.empty(0), expected)
    assert np.log(found) == pytest.approx(expected, abs=0.03)


def test_the_weights_are_those_of_the_largest_posterior():
    each = np.stack([said(CODES, 1.0), said(CODES, 1.0, seed=1), said(CODES[::-1], 1.0)])
    weights, prior = class_balanced(CODES, 3), np.array([3.0, 1.0, 2.0])
    found = mixture_weights(each, CODES, weights, prior)

    def loss(logs):
        shares = normalised(logs)
        mixed = np.tensordot(shares, each, 1)[np.arange(len(CODES)), CODES]
        return -(weights * np.log(mixed)).sum() - (prior * np.log(shares)).sum()

    best = normalised(minimize(loss, np.zeros(3), method="BFGS").x)
    np.testing.assert_allclose(found, best, atol=1e-3)
    assert found[2] < 0.1


def test_without_rows_the_weights_are_the_preference():
    none = np.empty((2, 0, 3))
    np.testing.assert_allclose(mixture_weights(none, CODES[:0], np.empty(0), [3, 1]), [0.75, 0.25])


def test_calibration_takes_out_shares_before_it_cools():
    shares = np.array([0.5, 0.3, 0.2])
    probabilities = np.array([[0.5, 0.3, 0.2], [0.8, 0.1, 0.1]])
    even = floored(probabilities) / shares
    expected = (even / even.sum(1, keepdims=True)) ** 0.5
    found = Calibration(shares, 2.0)(probabilities)
    np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True))
    np.testing.assert_allclose(found[0], 1 / 3, atol=2e-3)


def test_a_decision_prefers_who_knows_and_cools_who_boasts():
    uniform = np.full(3, 1 / 3)
    right, boasting = said(CODES, 1.0), said(CODES, 8.0, seed=1)
    guessing = np.full((100, 3), 1 / 3)
    candidates = {"right": right, "boasting": boasting, "guessing": guessing}
    shares = {"right": uniform, "boasting": uniform, "guessing": uniform}
    found = decide(candidates, CODES, shares, dict.fromkeys(candidates, 3.0))
    table = found.table.set_index("candidate")
    assert table.loc["boasting", "temperature"] > 4
    warm = decide(candidates, CODES, shares, dict.fromkeys(candidates, 3.0), {"right": 2.0})
    warmer = warm.table["temperature"] - found.table["temperature"]
    assert warmer[0] > 0.05
    assert (warmer[1:] == 0).all()
    assert table["weight"].idxmax() in ("right", "boasting")
    assert table.loc["guessing", "weight"] < 0.15
    assert table["weight"].sum() == pytest.approx(1)
    assert (table["held_out_rows"] == 100).all()
    calibrated = [c(candidates[n]) for n, c in zip(found.names, found.calibrations, strict=True)]
    expected = np.tensordot(found.weights, np.stack(calibrated), 1)
    np.testing.assert_allclose(found.mix(candidates), expected)


def test_rows_that_were_held_out_nowhere_do_not_count():
    probabilities = said(CODES, 1.0)
    holes = probabilities.copy()
    holes[::2] = np.nan
    shares, preference = {"a": np.full(3, 1 / 3)}, {"a": 3.0}
    found = decide({"a": holes}, CODES, shares, preference).table
    expected = decide({"a": probabilities[1::2]}, CODES[1::2], shares, preference).table
    assert found.equals(expected)
    nothing = decide({"a": np.full((100, 3), np.nan)}, CODES, shares, preference)
    assert nothing.weights == [1.0]
    assert nothing.table["held_out_rows"].item() == 0


def test_estimated_shares_are_those_of_the_largest_posterior():
    rng = np.random.default_rng(0)
    true = np.array([0.7, 0.2, 0.1])
    codes = rng.choice(3, 4000, p=true)
    probabilities = normalised(rng.normal(size=(4000, 3)) + 3 * np.eye(3)[codes])
    # The scores' log-odds: softmax of x / 1 with unit noise and a shift of 3 is p ** 3.
    probabilities = normalised(3 * np.log(probabilities))
    weights = np.ones(4000)
    found = estimated_shares(probabilities, weights)

    def loss(logs):
        shares = normalised(logs)
        likelihood = np.log(probabilities @ shares).mean()
        return -likelihood - 0.05 / 3 * np.log(shares).sum()

    best = normalised(minimize(loss, np.zeros(3), method="BFGS").x)
    np.testing.assert_allclose(found, best, atol=1e-3)
    # Four standard errors, and the prior's share.
    np.testing.assert_allclose(found, (true + 0.05 / 3) / 1.05, atol=0.03)
    heavy = np.where(codes == 2, 9.0, 1.0)
    expected = np.bincount(codes, heavy) / heavy.sum()
    np.testing.assert_allclose(estimated_shares(probabilities, heavy), expected, atol=0.04)

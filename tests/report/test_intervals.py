import numpy as np
import pytest
from scipy.stats import binomtest

from pyro_ssl.report.intervals import accuracy, balanced_accuracy, calibration_error, wilson


@pytest.mark.parametrize("right", [0, 3, 8, 10])
def test_accuracy_has_wilsons_interval(right):
    codes = np.zeros(10, dtype=np.int64)
    found = accuracy(codes, np.arange(10) // max(right, 1) if right else codes + 1)
    expected = binomtest(right, 10).proportion_ci(method="wilson")
    assert found == pytest.approx((right / 10, expected.low, expected.high), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_balanced_accuracy_is_the_mean_of_the_classes_present():
    codes = np.array([0, 0, 0, 0, 2, 2])
    guesses = np.array([0, 0, 0, 1, 2, 1])
    found = balanced_accuracy(codes, guesses)
    assert found.value == pytest.approx((0.75 + 0.5) / 2)
    assert 0 <= found.low < found.value < found.high <= 1


def test_of_one_class_both_are_the_same():
    codes, guesses = np.zeros(7, dtype=np.int64), np.array([0, 0, 0, 0, 0, 1, 1])
    assert balanced_accuracy(codes, guesses) == pytest.approx(accuracy(codes, guesses))


@pytest.mark.parametrize("sizes", [(6, 60), (20, 20, 20), (15, 4, 4, 4), (3,) * 20])
def test_intervals_cover_the_true_balanced_accuracy(sizes):
    rng = np.random.default_rng(0)
    recalls = np.resize([0.95, 0.6, 0.8, 0.7], len(sizes))
    codes = np.repeat(np.arange(len(sizes)), sizes)
    covered = []
    for _ in range(400):
        right = rng.random(len(codes)) < recalls[codes]
        found = balanced_accuracy(codes, np.where(right, codes, -1))
        covered.append(found.low <= recalls.mean() <= found.high)
    # 95 %, less three standard errors of 400 draws.
    assert np.mean(covered) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)


def test_rows_of_a_large_class_do_not_make_up_for_a_small_one():
    def width(large):
        codes = np.repeat([0, 1], [large, 5])
        found = balanced_accuracy(codes, np.r_[np.zeros(large, dtype=np.int64), 0, 1, 1, 1, 1])
        return found.high - found.low

    # Five rows and many are worth at most 2^2 / (1 / 5) = 20.
    assert width(100_000) > wilson(0.9, 21).high - wilson(0.9, 21).low


def drawn(rows, sharpen):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(rows, 3)) * 1.5
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    codes = (rng.random((rows, 1)) > true.cumsum(1)).sum(1).clip(max=2)
    said = true**sharpen
    return said / said.sum(1, keepdims=True), codes


def test_what_chance_does_is_told_from_miscalibration():
    calibrated = calibration_error(*drawn(300, 1.0))
    assert calibrated.value <= calibrated.most_by_chance
    too_sure = calibration_error(*drawn(300, 3.0))
    assert too_sure.value > 2 * too_sure.most_by_chance
    # Few rows show an error where there is none.
    assert calibration_error(*drawn(20, 1.0)).by_chance > 2 * calibrated.by_chance

"""A sample of many rows: uniform, the same in parts and at once, and what a fit makes of it."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats

from pyro_ssl import SemiSupervisedVAEClassifier
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator.sampling import RowSample

BRIEF = {"max_steps": 20, "min_steps": 10, "members": 2, "random_state": 0}


def rows_and_labels(count=300, seed=0):
    rng = np.random.default_rng(seed)
    ys = rng.integers(2, size=count)
    frame = pd.DataFrame(
        {"a": rng.normal(size=count) + 3 * ys, "kind": np.where(rng.random(count) < 0.5, "u", "v")}
    )
    frame.loc[rng.random(count) < 0.1, "a"] = np.nan
    labels = np.array(["no", "yes"], dtype=object)[ys]
    labels[rng.random(count) < 0.8] = None
    return frame, labels


def parted(xs, y, sizes):
    first = 0
    for size in sizes:
        yield xs[first : first + size], y[first : first + size]
        first += size


@pytest.mark.parametrize("sizes", [[300], [1, 299], [100, 100, 100], [7] * 43])
@pytest.mark.parametrize("most", [1, 20, 200, None])
def test_parts_make_no_difference(sizes, most):
    xs, y = rows_and_labels()
    sample = RowSample(most)
    for part in parted(xs, y, sizes):
        sample.add(*part)
    found = sample.rows()
    known = pd.notna(y)
    expected = RowSample(most)
    expected.add(xs, y)
    np.testing.assert_array_equal(found.places, expected.rows().places)
    pd.testing.assert_frame_equal(
        found.X.reset_index(drop=True), xs.iloc[found.places].reset_index(drop=True)
    )
    assert list(found.y) == list(y[found.places])
    counts = (~known).sum(), known.sum()
    kept = [min(n, most or n) for n in counts]
    np.testing.assert_allclose(found.shares, np.divide(kept, counts))
    assert len(found.places) == sum(kept)


def test_few_rows_are_given_back_as_they_are():
    xs, y = rows_and_labels()
    sample = RowSample(300)
    sample.add(xs, y)
    found = sample.rows()
    assert found.X is xs
    assert found.y is y


@pytest.mark.parametrize("kind", ["array", "sparse", "images", "polars"])
def test_rows_of_all_kinds_are_joined(kind):
    values = np.random.default_rng(0).normal(size=(40, 4))
    make = {
        "array": lambda v: v,
        "sparse": sp.csr_matrix,
        "images": lambda v: v.reshape(-1, 1, 2, 2),
        "polars": lambda v: pytest.importorskip("polars").DataFrame(v),
    }[kind]
    sample = RowSample(6)
    for first in range(0, 40, 8):
        sample.add(make(values[first : first + 8]), np.arange(8) % 2 * 2 - 1)
    found = sample.rows()
    plain = found.X.toarray() if kind == "sparse" else np.asarray(found.X)
    np.testing.assert_array_equal(plain.reshape(12, 4), values[found.places])
    assert sorted(found.y) == [-1] * 6 + [1] * 6


def test_labels_of_parts_of_several_dtypes_are_kept():
    sample = RowSample(None)
    sample.add(np.zeros((2, 1)), np.array(["a", "b"]))
    sample.add(np.zeros((2, 1)), np.array([-1, -1]))
    assert list(sample.rows().y) == ["a", "b", -1, -1]


def test_every_row_is_as_likely_to_be_kept():
    counts = np.zeros(10)
    sample = RowSample(2000)
    for _ in range(20):
        sample.add(np.zeros((1000, 1)), np.full(1000, -1))
    places = sample.rows().places
    counts = np.bincount(places // 2000, minlength=10)
    assert stats.chisquare(counts).pvalue > 1e-3
    # Neighbours are kept as often as chance has it: a tenth of those kept.
    assert 140 < (np.diff(places) == 1).sum() < 260


def test_memory_is_that_of_the_rows_kept():
    def fed(parts):
        sample = RowSample(500)
        for _ in range(parts):
            sample.add(np.ones((1000, 50)), np.full(1000, -1))
        return sample.rows()

    fed(3)
    tracemalloc.start()
    try:
        fed(300)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All rows would be 120 MB; four times those kept and a few parts are 3 MB.
    assert peak < 6e6


def test_no_parts_are_refused():
    with pytest.raises(DataError, match="no rows"):
        SemiSupervisedVAEClassifier(**BRIEF).fit_parts([])


def test_a_fit_in_parts_is_that_of_all_rows():
    xs, y = rows_and_labels()
    for most in (40, None):
        options = {**BRIEF, "max_rows": most}
        whole = SemiSupervisedVAEClassifier(**options).fit(xs, y)
        parts = SemiSupervisedVAEClassifier(**options).fit_parts(parted(xs, y, [50, 0 + 120, 130]))
        np.testing.assert_array_equal(whole.predict_proba(xs), parts.predict_proba(xs))
        np.testing.assert_array_equal(whole.class_shares_, parts.class_shares_)
        np.testing.assert_array_equal(whole.novelty(xs), parts.novelty(xs))
        pd.testing.assert_frame_equal(whole.columns_, parts.columns_)
        assert list(parts.feature_names_in_) == ["a", "kind"]


def test_parts_may_have_no_known_label_but_not_other_columns():
    xs, y = rows_and_labels()
    parts = [(xs[:100], y[:100]), (xs[100:150], np.full(50, None)), (xs[150:], y[150:])]
    SemiSupervisedVAEClassifier(**BRIEF).fit_parts(parts)
    with pytest.raises(ValueError, match="feature names"):
        SemiSupervisedVAEClassifier(**BRIEF).fit_parts([parts[0], (xs[["a"]], y)])


def test_weights_are_those_of_the_rows_kept():
    xs, y = rows_and_labels()
    options = {**BRIEF, "max_rows": 40}
    sample = RowSample(40)
    sample.add(xs, y)
    places = sample.rows().places
    weights = np.random.default_rng(1).uniform(0.5, 2, size=300)
    found = SemiSupervisedVAEClassifier(**options).fit(xs, y, weights)
    kept = xs.iloc[places].reset_index(drop=True)
    expected = SemiSupervisedVAEClassifier(**BRIEF).fit(kept, y[places], weights[places])
    np.testing.assert_array_equal(found.predict_proba(xs), expected.predict_proba(xs))


def test_class_shares_are_those_of_all_rows():
    rng = np.random.default_rng(0)
    codes = (rng.random(4000) < 0.9).astype(int)
    xs = rng.normal(size=(4000, 3)) + 6 * codes[:, None]
    # All labels known are of class 0, but for a few.
    y = np.where((codes == 0) | (rng.random(4000) < 0.005), codes, -1)
    options = {"max_steps": 200, "min_steps": 100, "members": 2, "random_state": 0}
    found = SemiSupervisedVAEClassifier(**options, max_rows=300).fit(xs, y)
    # Of the rows kept half are of class 0; of all rows a tenth.
    assert found.class_shares_[0] == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize("most", [0, True, 1.5])
def test_max_rows_is_checked(most):
    xs, y = rows_and_labels()
    with pytest.raises(ConfigError, match="max_rows"):
        SemiSupervisedVAEClassifier(max_rows=most).fit(xs, y)

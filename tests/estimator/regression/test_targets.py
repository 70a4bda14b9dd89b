import numpy as np
import pandas as pd
import pytest

from pyro_ssl.errors import DataError
from pyro_ssl.estimator.regression.targets import Scaling, real_labels, training_targets


@pytest.mark.parametrize(
    "y",
    [
        [1, None, 2.5],
        np.array([1, np.nan, 2.5]),
        np.array([1, None, 2.5], dtype=object),
        pd.Series([1, pd.NA, 2.5], dtype="Float64", index=[5, 6, 7]),
        pd.DataFrame({"y": [1.0, np.nan, 2.5]}),
    ],
)
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_labels_of_every_kind_are_floats_nan_where_unknown(y):
    np.testing.assert_array_equal(real_labels(y), [1.0, np.nan, 2.5])


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (None, "y is None"),
        ([1.0, np.inf], "infinity"),
        (["1.5", "2"], "holds '1.5', expected numbers"),
        ([1.0, "a"], "expected numbers"),
        ([1j, 2j], "Complex data not supported"),
        (np.zeros((2, 3)), r"y has shape \(2, 3\)"),
    ],
)
def test_labels_that_are_no_numbers_are_refused(y, says):
    with pytest.raises(DataError, match=says):
        real_labels(y)


def test_scaling_is_of_known_labels_by_weight():
    ys, weights = np.array([1.0, np.nan, 4.0]), np.array([2.0, 50.0, 1.0])
    scaling = Scaling.fit(ys, weights)
    assert scaling.mean == pytest.approx(2.0)
    assert scaling.deviation == pytest.approx(np.std([1, 1, 4]))
    np.testing.assert_allclose(scaling.back(scaling(ys)), ys)
    assert Scaling.fit(np.full(5, 0.1), np.ones(5)).deviation == 1.0


def test_rows_have_an_order_of_their_own_and_weights_are_repeats():
    xs, ys = np.arange(8.0).reshape(4, 2), np.array([1.0, np.nan, 3.0, 2.0])
    one = training_targets(xs, ys, None)
    order = [2, 0, 3, 1]
    other = training_targets(xs[order], ys[order], None)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    weighted = training_targets(xs, ys, [2, 1, 0, 1])
    repeated = training_targets(np.r_[xs[:1], xs[:1], xs[1::2]], np.r_[1.0, 1.0, ys[1::2]], None)
    for a, b in zip(weighted, repeated, strict=True):
        np.testing.assert_array_equal(a, b)
    # Rows without a label that are equal are copies of each other, too.
    labels = np.array([1.0, 1.0, np.nan, np.nan])
    copies = training_targets(np.zeros((4, 2)), labels, [1, 1, 1.5, 1])
    assert len(set(copies.groups)) == 2


def test_two_labels_are_needed():
    with pytest.raises(DataError, match="n_samples = 1 known labels"):
        training_targets(np.zeros((3, 1)), np.array([1.0, 2.0, np.nan]), [1, 0, 1])

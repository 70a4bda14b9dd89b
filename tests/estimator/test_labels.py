"""Which labels are unknown, and the classes of the others."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning

from pyro_ssl.estimator.labels import LabelCodes

OBJECTS = np.array(["b", None, "a", "b", np.nan, pd.NA], dtype=object)

KNOWN = {
    "ints": ([5, -1, 3, 5], None, [1, -1, 0, 1], [3, 5]),
    "whole floats": ([5.0, np.nan, 3.0, -1.0], None, [1, -1, 0, -1], [3.0, 5.0]),
    "truth values": ([True, False, True], None, [1, 0, 1], [False, True]),
    "truth values and None": ([True, None, False], None, [1, -1, 0], [False, True]),
    "int objects": ([2, None, 7, -1, pd.NA], None, [0, -1, 1, -1, -1], [2, 7]),
    "strings": (np.array(["b", "a", "b"]), None, [1, 0, 1], ["a", "b"]),
    "objects": (OBJECTS, None, [1, -1, 0, 1, -1, -1], ["a", "b"]),
    "a list of strings": (["b", None, "a", np.nan], None, [1, -1, 0, -1], ["a", "b"]),
    "-1 among objects": (np.array(["b", -1, "a"], object), None, [1, -1, 0], ["a", "b"]),
    "a marker": (["b", "?", "a", None], "?", [1, -1, 0, -1], ["a", "b"]),
    "an empty marker": (np.array(["b", "", "a"]), "", [1, -1, 0], ["a", "b"]),
    "the marker '-1'": (np.array(["b", "-1", "a"]), "-1", [1, -1, 0], ["a", "b"]),
    "-1 as a class": ([1, -1, 99], 99, [1, 0, -1], [-1, 1]),
    "-1 as a class of objects": (np.array([1, -1, None], object), "?", [1, 0, -1], [-1, 1]),
    "-1 as a class, all known": ([1, -1, 1], "Unknown", [1, 0, 1], [-1, 1]),
    "the marker 0": ([1, 0, 2], np.int64(0), [0, -1, 1], [1, 2]),
    "series": (pd.Series(["b", None, "a"]), None, [1, -1, 0], ["a", "b"]),
    "categories": (pd.Series(["b", None, "a"], dtype="category"), None, [1, -1, 0], ["a", "b"]),
    "int categories": (pd.Series([3, -1, 1], dtype="category"), None, [1, -1, 0], [1, 3]),
    "nullable ints": (pd.Series([3, None, -1, 1], dtype="Int64"), None, [1, -1, -1, 0], [1, 3]),
    "nullable strings": (pd.Series(["b", None, "a"], dtype="string"), None, [1, -1, 0], ["a", "b"]),
    "nullable truth": (pd.Series([True, None, False], dtype="boolean"), None, [1, -1, 0], [0, 1]),
    "strings that are numbers": (["10", "9", None], None, [0, 1, -1], ["10", "9"]),
}


@pytest.mark.parametrize("case", KNOWN)
def test_codes_and_classes(case):
    y, unlabelled, codes, classes = KNOWN[case]
    found = LabelCodes.fit(y, unlabelled)
    assert found.codes.dtype == np.int64
    np.testing.assert_array_equal(found.codes, codes)
    np.testing.assert_array_equal(found.classes_, classes)
    if isinstance(y, np.ndarray):
        assert found.classes_.dtype == y.dtype or y.dtype == object


REFUSED = {
    "string -1": (np.array(["a", "-1", "b"]), None, "y has dtype string and the label '-1'"),
    "object '-1'": (np.array(["a", "-1", "b"], object), None, "unlabelled='-1' if it is unknown"),
    "written NaN": (np.array(["a", "b", np.nan]), None, "the label 'nan'"),
    "continuous": ([0.5, 1.5, -1, 2.5], None, "Unknown label type: continuous"),
    "infinity": ([0.0, np.inf, 1.0], None, "infinity"),
    "all known -1/+1": ([1, -1, 1], None, "only one class: .*1.*if -1 is a class, relabel it"),
    "one class": (np.ones(10), None, "needs samples of at least 2 classes in the data, but .* one"),
    "unknown": ([-1, -1], None, "no known label among 2"),
    "all NaN": (np.full(3, np.nan), None, "no known label among 3"),
    "none": ([], None, "no known label among 0"),
    "None": (None, None, "requires y to be passed, but the target y is None"),
    "two columns": (np.zeros((4, 2)), None, r"y has shape \(4, 2\).*y should be a 1d array"),
    "several kinds": (np.array(["a", 1], object), None, "Unknown label type: .*several kinds"),
    "dates": (pd.Series(pd.date_range("2020", periods=3)), None, "Unknown label type"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    y, unlabelled, text = REFUSED[case]
    with pytest.raises(ValueError, match=text):
        LabelCodes.fit(y, unlabelled)


def test_only_one_class_without_unknown_labels_has_no_hint():
    with pytest.raises(ValueError, match="only one class: ") as caught:
        LabelCodes.fit(["a", "a"])
    assert "-1" not in str(caught.value)


@pytest.mark.parametrize("kind", [np.array, pd.DataFrame])
def test_a_column_vector_is_taken_with_scikit_learns_warning(kind):
    y = kind([[3], [-1], [1]])
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        found = LabelCodes.fit(y)
    assert found.codes.tolist() == [1, -1, 0]


def test_series_of_polars():
    pl = pytest.importorskip("polars")
    codes, classes = LabelCodes.fit(pl.Series([3, None, 1]))
    assert (codes.tolist(), classes.tolist()) == ([1, -1, 0], [1, 3])
    codes, classes = LabelCodes.fit(pl.Series(["b", None, "a"], dtype=pl.Categorical))
    assert (codes.tolist(), classes.tolist()) == ([1, -1, 0], ["a", "b"])


@pytest.mark.parametrize("marker", ["Unknown", "?", " ", "n/a"])
def test_a_class_that_looks_unknown_is_named_in_a_warning(marker):
    labels = ["a", "b", marker]
    with pytest.warns(UserWarning, match=f"state unlabelled='{re.escape(marker)}'"):
        assert len(LabelCodes.fit(labels).classes_) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert LabelCodes.fit(labels, unlabelled=marker).classes_.tolist() == ["a", "b"]
        LabelCodes.fit(["a", "b", None])

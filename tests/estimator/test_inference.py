"""What columns are inferred to hold, row by row of a table, and with which constants."""

from datetime import date, datetime, time, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator import Columns
from pyro_ssl.estimator.inference import infer_column

RNG = np.random.default_rng(0)
ZONED = datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=2)))
NORMAL = RNG.normal(size=400)
LEVELS = pd.CategoricalDtype(["low", "mid", "high"], ordered=True)
WORDS = ["b", "a", None, "c"] * 5

CASES = {
    "bool": ([True, False, True], "binary", (False, True)),
    "nullable bool": (pd.array([True, None, False], "boolean"), "binary", (False, True)),
    "bool objects": (np.array([True, None, False], dtype=object), "binary", (False, True)),
    "two strings": (["yes", "no", "yes", None], "binary", ("no", "yes")),
    "strings": (WORDS, "categorical", ("a", "b", "c")),
    "nullable strings": (pd.array(WORDS, "string"), "categorical", ("a", "b", "c")),
    "categories": (pd.Categorical(WORDS, list("zcba")), "categorical", ("c", "b", "a")),
    "two categories": (pd.Categorical(["x", "y"], list("yx")), "binary", ("y", "x")),
    "ordered": (pd.Categorical(["mid", "low"], dtype=LEVELS), "ordinal", ("low", "mid", "high")),
    "mixed objects": (np.array([1, "b", 2.5, "a"], object), "categorical", (1, 2.5, "a", "b")),
    "padded numbers": (["01", "02", "11"] * 9, "categorical", ("01", "02", "11")),
    "two ints": ([3, 1, 3, 3], "binary", (1, 3)),
    "two floats": ([0.5, np.nan, 1.5, 0.5], "binary", (0.5, 1.5)),
    "two strings that are numbers": (["1", "2", "1"], "binary", (1, 2)),
    "few whole numbers": (np.arange(30) % 10, "real", ()),
    "counts": (np.arange(30) % 11, "count", ()),
    "counts as floats": ((np.arange(30) % 11).astype(float), "count", ()),
    "nullable counts": (pd.array([*range(20), None], "Int64"), "count", ()),
    "counts as strings": ([*map(str, range(40)), " "], "count", ()),
    "ages": (RNG.normal(40, 13, 400) // 1, "real", ()),
    "hardly scattered": (4 + 2 * np.arange(400) % 11, "count", ()),
    "times of day": (np.array([time(1), time(2), None]), "binary", ("01:00:00", "02:00:00")),
    "bytes": (np.array([b"b", b"a", b"c"], object), "categorical", ("a", "b", "c")),
    "dates of zones": (np.array([ZONED, ZONED + timedelta(1), None]), "real", ()),
    "a year": (1990 + np.arange(30), "real", ()),
    "whole numbers below 0": (np.arange(30) - 5, "real", ()),
    "large whole numbers": (10 ** np.linspace(3, 9, 200) // 1, "positive", ()),
    "positive": (np.exp(2 * NORMAL), "positive", ()),
    "positive within a decade": (np.exp(0.1 * NORMAL), "real", ()),
    "positive, not skewed": (np.linspace(0.01, 1, 100), "real", ()),
    "normal": (NORMAL, "real", ()),
    "numbers as strings": ([*map(str, NORMAL[:95].tolist()), *["?"] * 5], "real", ()),
    "too few numbers": ([*map(str, NORMAL[:94]), *["?"] * 6], "binary", ("?", "other")),
    "dates": (pd.date_range("2020", periods=9), "real", ()),
    "dates with zones": (pd.date_range("2020", periods=9, tz="Europe/Rome"), "real", ()),
    "date objects": (np.array([date(2020, 1, d) for d in (1, 2, 5)], object), "real", ()),
    "durations": (pd.to_timedelta([1, 2, None], unit="s"), "real", ()),
    "one number": ([5, 5], "constant", ()),
    "one string": (["a", "a", None], "constant", ("a",)),
    "all missing": ([np.nan, np.nan], "constant", ()),
    "all None": (np.array([None, None]), "constant", ()),
    "all distinct": ([f"name {n}" for n in range(60)], "constant", ("other",)),
}


@pytest.mark.parametrize("case", CASES)
def test_families_and_categories(case):
    entries, family, categories = CASES[case]
    column = infer_column("x", pd.Series(entries))
    assert column.family == family
    if categories is not None:
        assert column.categories == categories
        assert [type(c) for c in column.categories] == [type(c) for c in categories]


def test_transforms_and_their_constants():
    column = infer_column("x", pd.Series([*NORMAL, np.nan]))
    assert column.transform == "none"
    assert column.shift == pytest.approx(NORMAL.mean())
    assert column.scale == pytest.approx(NORMAL.std())
    assert column.missing == pytest.approx(1 / 401)
    column = infer_column("x", pd.Series(np.exp(2 * NORMAL)))
    assert (column.transform, column.shift) == ("log", pytest.approx(2 * NORMAL.mean()))
    column = infer_column("x", pd.Series(np.sinh(4 * NORMAL)))
    assert column.transform == "asinh"
    raw = np.sinh(4 * NORMAL)
    assert column.centre == pytest.approx(np.median(raw))
    low, high = np.quantile(raw, (0.25, 0.75))
    assert column.spread == pytest.approx((high - low) / 1.349)
    assert column.scale == pytest.approx(np.arcsinh((raw - column.centre) / column.spread).std())


def test_one_outlier_takes_an_asinh_and_half_of_zeros_have_a_spread():
    column = infer_column("x", pd.Series([*NORMAL[:50], 1e6]))
    assert column.transform == "asinh"
    column = infer_column("x", pd.Series([0.0] * 300 + [-2.5] * 5 + [1e4, 2.0, 2.0]))
    assert (column.centre, column.spread) == (0, 2.5)
    assert np.isfinite(infer_column("x", pd.Series([-1e150, 1.0, 1e150])).scale)


def test_the_rare_of_many_categories_are_one():
    often = [f"c{n:02}" for n in range(49) for _ in range(2)]
    entries = pd.Series([*often, *[f"once {n}" for n in range(5)], *["other"] * 9, None])
    column = infer_column("x", entries)
    assert column.categories == (*(f"c{n:02}" for n in range(49)), "other")
    codes, refused = column.encode(pd.Series(["c03", "once 1", "never", None, "other"]))
    np.testing.assert_array_equal(codes, [3, 49, 49, np.nan, 49])
    assert not refused
    fifty_one = pd.Series([n for n in range(51) for _ in range(n + 2)]).map("n{}".format)
    kept = infer_column("x", fifty_one).categories
    assert "n0" not in kept
    assert len(kept) == 51


FORCED = {
    "real": ([3, 1, 3, 3], ()),
    "positive": ([3, 1, 3, 3], ()),
    "count": (["3", "1", "7"], ()),
    "binary": ([1.0, 2.0, 1.0], (1.0, 2.0)),
    "categorical": ([4, 2, 9], (2, 4, 9)),
    "ordinal": (["10", "9", "11"], (9, 10, 11)),
}


@pytest.mark.parametrize("family", FORCED)
def test_families_can_be_given(family):
    entries, categories = FORCED[family]
    column = infer_column("x", pd.Series(entries), family)
    assert (column.family, column.categories) == (family, categories)


def test_strings_that_are_numbers_stay_strings_if_categories_are_asked_for():
    column = infer_column("x", pd.Series(["1", "2", "1", "?"] + ["2"] * 96), "categorical")
    assert column.categories == ("1", "2", "?")
    assert infer_column("x", pd.Series(["1", "1"]), "categorical").family == "constant"
    forced = infer_column("x", pd.Series([True, False, True]), "real")
    assert (forced.family, forced.dtype, forced.shift) == ("real", "int64", pytest.approx(2 / 3))


REFUSED = {
    "infinity": ([1.0, np.inf, 2.0], None, "column 'x' is inf in row 1"),
    "infinity among strings": (["1", "inf", "2", "3"], None, "column 'x' is inf in row 1"),
    "too large": ([1.0, 1e200, 2.0], None, "column 'x' is 1e[+]200 in row 1"),
    "complex objects": (np.array([1j, 2], object), None, "Complex data not supported"),
    "complex": ([1j, 2j], None, "Complex data not supported"),
    "words": (["a", "b"], "real", "has 'a' in row 0: expected numbers"),
    "zero": ([0.0, 1.0, 2.0], "positive", "which has 0, expected numbers above 0"),
    "half": ([0.5, 1.0, 2.0], "count", "which has 0.5, expected whole numbers"),
    "three": ([1, 2, 3], "binary", "3 distinct entries, expected 2"),
    "no order": (["a", "b", "c"], "ordinal", "holds strings: make it a pandas categorical"),
    "times": (pd.date_range("2020", periods=3), "ordinal", "holds times: take 'real'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    entries, family, text = REFUSED[case]
    with pytest.raises(DataError, match=text.replace("(", r"\(")):
        infer_column("x", pd.Series(entries), family)


@pytest.mark.parametrize("entry", [{"a": 1}, [1]])
def test_entries_of_other_types_are_named(entry):
    with pytest.raises(
        TypeError, match=r"column 'x' has .* in row 1: .*argument must be a string.*number"
    ):
        infer_column("x", pd.Series(["b", entry, "a"], dtype=object))


def test_families_are_checked():
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [1, 2, 4]})
    assert Columns.infer(frame, {"b": "count", 0: "ordinal"}).columns[0].family == "ordinal"
    assert Columns.infer(frame, [None, "count"]).columns[1].family == "count"
    with pytest.raises(ConfigError, match="stated for the column 'c', expected one of 'a', 'b'"):
        Columns.infer(frame, {"c": "real"})
    with pytest.raises(ConfigError, match="'gauss' was stated for column 'a', expected"):
        Columns.infer(frame, {"a": "gauss"})
    with pytest.raises(ConfigError, match="one for each of 2 columns"):
        Columns.infer(frame, ["real"])


TABLES = {
    "no rows": (np.zeros((0, 3)), r"0 sample\(s\) \(shape=\(0, 3\)\)"),
    "no columns": (np.zeros((3, 0)), r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is"),
    "one dimension": (np.zeros(3), "Expected 2D array, got 1D array instead"),
    "one row": (np.zeros((1, 3)), "n_samples = 1"),
    "ragged": ([[1, 2], [1]], "expected rows of equal lengths"),
    "twice": (pd.DataFrame([[1, 2]], columns=["a", "a"]), "several columns 'a'"),
    "two levels": (pd.DataFrame({("a", "b"): [1]}), "a MultiIndex"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_are_checked(case):
    table, text = TABLES[case]
    with pytest.raises(DataError, match=text):
        Columns.infer(table)

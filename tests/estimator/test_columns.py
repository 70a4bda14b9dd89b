"""Tables to numbers and back, and the densities of raw tables."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from scipy import integrate

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator import Columns
from pyro_ssl.likelihoods import Categorical, Gaussian, NegativeBinomial, Ordinal

GAUSSIAN = Gaussian(scale=None, per="dimension", min_scale=0.1)


def mixed_frame(rows: int = 200, missing: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(5, rows))
    levels = pd.CategoricalDtype(["low", "mid", "high", "never"], ordered=True)
    colours = pd.CategoricalDtype(["red", "green", "blue", "unseen"])
    frame = pd.DataFrame(
        {
            "colour": pd.Series(rng.choice(["red", "green", "blue"], rows)).astype(colours),
            "real": normal[0] * 3 + 2,
            "heavy": np.sinh(4 * normal[1]),
            "flag": rng.random(rows) < 0.3,
            "level": pd.Series(rng.choice(["low", "mid", "high"], rows)).astype(levels),
            "income": np.exp(2 * normal[2]),
            "count": rng.poisson(normal[3] ** 2 * 9),
            "same": 7,
            "single": normal[4].astype(np.float32),
            "year": rng.integers(1950, 2020, rows).astype(np.int16),
            "word": rng.choice(list("abc"), rows),
            "when": pd.Timestamp("2020-03-01", tz="UTC")
            + pd.to_timedelta(rng.integers(0, 10**6, rows), unit="s"),
            "two": rng.choice([0.25, 4.0], rows),
            "nullable": pd.array(rng.integers(0, 90, rows), "Int64"),
            "none": np.nan,
        }
    )
    if missing:
        for place, name in enumerate(
            ["colour", "real", "heavy", "level", "income", "word", "when"]
        ):
            frame.loc[place * 3 : place * 3 + 9, name] = None
        frame.loc[5, "nullable"] = pd.NA
        frame.loc[5, "two"] = np.nan
    return frame


@pytest.mark.parametrize("missing", [False, True])
def test_decoding_is_the_inverse_of_encoding(missing):
    frame = mixed_frame(missing=missing)
    columns = Columns.infer(frame)
    restored = columns.decode(columns.encode(frame))
    assert_frame_equal(restored, frame, rtol=1e-9, atol=1e-9)
    assert restored.dtypes.tolist() == frame.dtypes.tolist()


def test_values_are_inside_the_likelihood_and_neighbours_share_a_family():
    frame = mixed_frame()
    columns = Columns.infer(frame, {"count": "count", "nullable": "count"})
    values = columns.encode(frame)
    assert columns.likelihood.columns == (
        *[GAUSSIAN] * 6,
        *[NegativeBinomial()] * 2,
        *[Categorical(2)] * 2,
        *[Categorical(3)] * 2,
        Ordinal(4),
    )
    columns.likelihood.check(torch.from_numpy(values))
    names = [columns.columns[n].name for n in columns.modelled]
    assert names[:6] == ["real", "heavy", "income", "single", "year", "when"]
    assert names[6:] == ["count", "nullable", "flag", "two", "colour", "word", "level"]
    np.testing.assert_allclose(np.nanmean(values[:, :6], 0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(values[:, :6], 0), 1, atol=1e-6)
    np.testing.assert_array_equal(values[:, 6], frame["count"])
    np.testing.assert_array_equal(values[:, 8], frame["flag"])
    assert np.isnan(values).sum() == frame.drop(columns=["same", "none"]).isna().sum().sum()


def test_the_jacobian_is_the_derivative():
    frame = mixed_frame()[["real", "heavy", "income", "count", "word"]]
    columns = Columns.infer(frame, {"count": "count"})
    values = columns.encode(frame)
    found = np.zeros(len(frame))
    for name in ("real", "heavy", "income"):
        step = 1e-6 * (1 + frame[name].abs())
        lower, upper = (frame.assign(**{name: frame[name] + s}) for s in (-step, step))
        rise = np.nansum(columns.encode(upper) - columns.encode(lower), 1)
        found += np.where(frame[name].isna(), 0, np.log(rise / (2 * step)))
    np.testing.assert_allclose(columns.log_jacobian(values), found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["real", "heavy", "income"])
def test_the_density_of_a_raw_column_integrates_to_1(name):
    frame = mixed_frame()[[name]]
    columns = Columns.infer(frame)
    # One location, and the number behind the scale.
    outputs, shared = torch.tensor([0.3]).double(), torch.tensor([-0.5]).double()
    p = columns.likelihood.distribution(outputs, (1,), shared)

    def density(raw: float) -> float:
        value = columns.encode(pd.DataFrame({name: [raw]}))
        log_p = p.log_prob(torch.from_numpy(value)).numpy() + columns.log_jacobian(value)
        return float(np.exp(log_p[0]))

    ends = columns.decode(np.array([[-7.0], [0.3], [7.0]]))[name].to_numpy()
    pieces = np.array(columns.decode(np.linspace(-7, 7, 29)[:, None])[name])
    assert ends[0] < frame[name].min()
    total = sum(integrate.quad(density, a, b, limit=20)[0] for a, b in pairwise(pieces))
    assert total == pytest.approx(1, abs=1e-6)


ARRAYS = {
    "float64": np.random.default_rng(0).normal(size=(30, 3)),
    "float32": np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32),
    "int64": np.arange(60).reshape(30, 2) ** 2,
    "uint8": (np.arange(60) * 4 % 256).reshape(30, 2).astype(np.uint8),
    "bool": np.arange(30).reshape(10, 3) % 2 == 0,
    "str": np.array([["a", "x y"], ["b", "z"], ["c", "z"]]),
    "object": np.array([["a", 1.5, True], ["b", 2.5, False], [np.nan, 9.0, True]], dtype=object),
}


@pytest.mark.parametrize("dtype", ARRAYS)
def test_arrays_return_as_arrays(dtype):
    array = ARRAYS[dtype]
    columns = Columns.infer(array)
    restored = columns.decode(columns.encode(array))
    assert restored.dtype == (object if dtype == "str" else array.dtype)
    equal = restored == array
    if restored.dtype.kind == "f":
        equal = np.isclose(restored, array)
    assert (equal | (pd.isna(restored) & pd.isna(array))).all()


def test_whole_numbers_with_missing_ones_are_floating():
    columns = Columns.infer(np.arange(60).reshape(30, 2) - 9)
    restored = columns.decode(np.array([[0.01, np.nan]]))
    assert restored.dtype == np.float64
    assert restored[0, 0] == np.rint(restored[0, 0])
    # Values of a model may lie beyond the dtype.
    columns = Columns.infer((np.arange(20)[:, None] % 10).astype(np.uint8))
    np.testing.assert_array_equal(columns.decode(np.array([[-90.0], [900.0]])), [[0], [255]])


def test_values_of_a_model_are_rounded_to_categories():
    frame = pd.DataFrame({"a": ["x", "y", "z"], "b": [True, False, True]})
    columns = Columns.infer(frame)
    found = columns.decode(np.array([[0.6, 1.6], [-3.0, 7.0]]))
    assert found.to_dict("list") == {"a": ["z", "z"], "b": [True, False]}


def test_numbers_among_strings():
    frame = pd.DataFrame(
        {"charge": [*map(str, range(40)), " "], "name": ["a", "b", "c"] * 13 + ["1"] * 2}
    )
    assert [c.family for c in Columns.infer(frame).columns] == ["count", "categorical"]
    columns = Columns.infer(frame, {"charge": "count"})
    values = columns.encode(frame)
    np.testing.assert_array_equal(values[:, 0], [*range(40), np.nan])
    # A table of one row is read as those of training.
    np.testing.assert_array_equal(columns.encode(frame.iloc[-1:]), [[np.nan, 0]])
    assert columns.decode(values)["charge"].tolist()[:3] == [0, 1, 2]


def test_what_training_did_not_have_is_missing_with_one_warning():
    frame = mixed_frame()
    columns = Columns.infer(frame)
    odd = frame[40:46].astype(object).reset_index(drop=True)
    odd.loc[0, "word"], odd.loc[1, "word"], odd.loc[0, "two"] = "q", "r", 3.0
    odd.loc[2, "income"], odd.loc[3, "count"], odd.loc[4, "real"] = -1.0, -2, "much"
    with pytest.warns(UserWarning, match="treated as missing") as caught:
        values = columns.encode(odd)
    assert len(caught) == 1
    text = str(caught[0].message)
    for part in (
        "'word': 'q', 'r'",
        "'two': 3.0",
        "'income': -1.0",
        "'count': -2",
        "'real': 'much'",
    ):
        assert part in text, text
    assert np.isnan(values).sum() == 6
    assert caught[0].filename == __file__


def test_columns_are_found_by_name():
    frame = mixed_frame()
    columns = Columns.infer(frame)
    expected = columns.encode(frame)
    np.testing.assert_array_equal(columns.encode(frame[frame.columns[::-1]]), expected)
    with pytest.raises(
        DataError, match=r"lacks the columns \['real'\] and has the unknown .*'reel'"
    ):
        columns.encode(frame.rename(columns={"real": "reel"}))
    with pytest.raises(DataError, match="X has 14 features, but Columns is expecting 15 features"):
        columns.encode(frame.to_numpy()[:, 1:])
    with pytest.raises(DataError, match="column 'real' is inf in row 3"):
        columns.encode(frame.assign(real=[0.0] * 3 + [np.inf] * 197))
    with pytest.raises(DataError, match=r"shape \(2, 3\), expected \(N, 13\)"):
        columns.decode(np.zeros((2, 3)))


def test_the_design_by_hand():
    frame = pd.DataFrame(
        {
            "real": [1.0, 3.0, np.nan, 5.0],
            "word": ["a", "c", None, "b"],
            "flag": [True, False, False, False],
            "same": [1.0, np.nan, 1.0, 1.0],
            "rank": [1, 2, 3, 2],
        }
    )
    columns = Columns.infer(frame, {"rank": "ordinal"})
    unit = 1.5**0.5
    expected = [
        [-unit, 0, 1, 0, 0, 0, 0.75, -(2**0.5)],
        [0, 0, 0, 0, 1, 0, -0.25, 0],
        [0, 1, 0, 0, 0, 1, -0.25, 2**0.5],
        [unit, 0, 0, 1, 0, 0, -0.25, 0],
    ]
    values = columns.encode(frame)
    np.testing.assert_allclose(columns.design(values), expected, atol=1e-12)
    # Filled in, an entry still counts as missing.
    fill = np.where(np.isnan(values), 1.0, np.nan)
    filled = columns.design(values, fill)
    expected[2][3] = 1
    expected[2][0] = 1.0
    np.testing.assert_allclose(filled, expected, atol=1e-12)
    far = frame[:1].assign(real=1e9, rank=2)
    np.testing.assert_allclose(columns.design(columns.encode(far))[0, 0], 10)


def test_counts_far_from_0_are_modelled_as_real_numbers_and_decoded_as_whole_ones():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"near": rng.poisson(20, 300), "skewed": rng.lognormal(6, 1, 300) // 1})
    columns = Columns.infer(frame)
    assert [c.family for c in columns.columns] == ["count", "count"]
    assert [c.transform for c in columns.columns] == ["linear", "log1p"]
    values = columns.encode(frame)
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(values.std(0), 1)
    pd.testing.assert_frame_equal(columns.decode(values), frame)
    assert (columns.decode(values - 0.013) % 1 == 0).all(axis=None)
    # The density stands for a probability: d log1p(x) / dx = 1 / (1 + x).
    scales = np.array([c.scale for c in columns.columns])
    expected = -np.log(scales).sum() - np.log1p(frame["skewed"])
    np.testing.assert_allclose(columns.log_jacobian(values), expected)


def test_counts_in_the_design_are_standardised_logarithms():
    counts = np.arange(30)[:, None] ** 2 // 9
    columns = Columns.infer(counts, ["count"])
    assert columns.columns[0].transform == "none"
    logs = np.log1p(counts)
    np.testing.assert_allclose(
        columns.design(columns.encode(counts)), (logs - logs.mean()) / logs.std()
    )


@pytest.mark.parametrize("table", ["frame", "array"])
def test_columns_are_plain_values(table):
    frame = mixed_frame()
    given = frame if table == "frame" else frame[["word", "real", "flag"]].to_numpy()
    columns = Columns.infer(given)
    again = Columns.from_dict(json.loads(json.dumps(columns.to_dict(), allow_nan=False)))
    assert again == columns
    assert hash(again) == hash(columns)
    types = [[type(c) for c in column.categories] for column in again.columns]
    assert types == [[type(c) for c in column.categories] for column in columns.columns]
    np.testing.assert_array_equal(again.encode(given), columns.encode(given))
    with pytest.raises(ConfigError, match="kind 'list'"):
        Columns.from_dict(columns.to_dict() | {"kind": "list"})
    with pytest.raises(ConfigError, match="a column's keys are"):
        Columns.from_dict({"kind": "array", "columns": [{"name": "a"}]})


def test_what_columns_hold_as_a_table():
    shown = Columns.infer(mixed_frame()).to_frame().set_index("column")
    assert shown.loc["heavy"].tolist() == ["real", 0.05, "asinh", ""]
    assert shown.loc["word"].tolist() == ["categorical", 0.05, "none", "a, b, c"]
    assert shown.loc["same", "family"] == "constant"


entries = st.one_of(
    st.lists(
        st.floats(allow_infinity=False, min_value=-1e9, max_value=1e9), min_size=6, max_size=6
    ),
    st.lists(st.integers(-(2**40), 2**40), min_size=6, max_size=6),
    st.lists(st.one_of(st.none(), st.text("abc ", max_size=2)), min_size=6, max_size=6),
    st.lists(st.booleans(), min_size=6, max_size=6),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(entries, min_size=1, max_size=4))
@example([[0.0, 0.0, 0.0, 0.0, 1.0, 2.2250738585e-313]])
@example([[0.0, 0.0, 0.0, 5e-324, 1e-323, 1.5e-323]])
@example([[1e-310, 2e-310, 3e-310, 4e-310, 5e-310, 6e-310]])
@example([[1e9, 1e9, 1e9, 1e9, 1e-150, 1e-149]])
def test_any_table_returns(lists):
    frame = pd.DataFrame({f"c{n}": column for n, column in enumerate(lists)})
    frame["told apart"] = range(6)
    columns = Columns.infer(frame)
    values = columns.encode(frame)
    columns.likelihood.check(torch.from_numpy(values))
    restored = columns.decode(values)
    assert np.isfinite(columns.log_jacobian(values)).all()
    assert np.isfinite(columns.design(columns.encode(frame))).all()
    for column in columns.columns:
        raw, found = frame[column.name], restored[column.name]
        known = raw.notna()
        if pd.api.types.is_float_dtype(raw.dtype):
            # What is nearer to 0 than 1e-150 counts as 0.
            raw = raw.mask(raw.abs() < 1e-150, 0.0)
        if column.family == "constant":
            assert known.sum() == 0 or (found[known] == raw[known]).all()
        elif pd.api.types.is_float_dtype(raw.dtype):
            unit = np.abs(raw).max()
            np.testing.assert_allclose(found / unit, raw / unit, rtol=1e-6, atol=1e-9)
        else:
            assert (found.isna() == ~known).all()
            assert (found[known] == raw[known]).all()

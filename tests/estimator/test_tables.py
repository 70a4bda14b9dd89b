"""Data frames of polars, where it is installed, and lists."""

import datetime as dt

import numpy as np
import pytest

from pyro_ssl.errors import DataError
from pyro_ssl.estimator import Columns


def test_frames_of_polars_return():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {
            "whole": [1, None, 3, 9],
            "real": [0.5, 1.5, None, -9.0],
            "word": ["x", None, "y", "z"],
            "flag": [True, False, None, True],
            "all known": [True, False, True, True],
            "day": [dt.date(2020, 1, day) for day in (1, 2, 3, 9)],
            "time": [dt.datetime(2020, 1, d, tzinfo=dt.timezone.utc) for d in (1, 2, 3, 9)],
            "span": [dt.timedelta(seconds=seconds) for seconds in (1, 2, 3, 9)],
            "level": pl.Series(["lo", "hi", None, "lo"], dtype=pl.Enum(["lo", "mid", "hi"])),
            "small": pl.Series([1, 2, 3, 4], dtype=pl.Int8),
        }
    )
    columns = Columns.infer(frame)
    restored = columns.decode(columns.encode(frame.select(frame.columns[::-1])))
    assert restored.schema == frame.schema
    np.testing.assert_allclose(restored["real"].to_numpy(), frame["real"].to_numpy())
    assert restored.drop("real").equals(frame.drop("real"))
    assert restored["real"].null_count() == 1


def test_lists_and_arrays_of_strings_are_arrays():
    columns = Columns.infer([[1.5, "a"], [2.5, "b"], [4.0, "nan"]])
    assert [c.categories for c in columns.columns] == [(), ("a", "b", "nan")]
    # NumPy makes strings of a whole row, "nan" of NaN.
    written = np.array([[1.5, "a"], [2.5, "b"], [np.nan, "c"], [3.5, "c"]])
    columns = Columns.infer(written)
    assert [c.family for c in columns.columns] == ["real", "categorical"]
    assert columns.columns[0].missing == 0.25
    assert columns.decode(columns.encode(written)).tolist()[1] == [pytest.approx(2.5), "b"]


def test_other_tables_are_refused():
    class Sparse:
        def toarray(self) -> None: ...

    with pytest.raises(TypeError, match="sparse"):
        Columns.infer(Sparse())
    with pytest.raises(DataError, match="got 0D array"):
        Columns.infer(3)

"""Data frames and arrays as columns, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pyro_ssl.errors import DataError

KINDS = ("pandas", "polars", "array")


@dataclass(frozen=True)
class Table:
    """The columns of a data frame or of an array.

    Attributes:
        kind: one of `KINDS`.
        names: names of the columns, or their numbers.
        columns: the columns, `[C]`, each with `num_rows` entries.
        num_rows: number of rows.
    """

    kind: str
    names: tuple[Any, ...]
    columns: list[pd.Series]
    num_rows: int


def read_table(X: Any) -> Table:  # noqa: N803
    """Return the columns of a pandas or polars data frame, or of a 2-D array.

    In an array of strings, "nan" is missing: this is how NumPy writes a missing entry.

    Raises:
        DataError: if `X` has another shape, no rows, no columns, or two columns of one name.
    """
    if type(X).__module__.startswith("polars") and hasattr(X, "get_columns"):
        names = tuple(X.columns)
        table = Table("polars", names, [_from_polars(s) for s in X.get_columns()], X.height)
    elif hasattr(X, "columns") or hasattr(X, "to_pandas"):
        table = _from_pandas(X if isinstance(X, pd.DataFrame) else X.to_pandas())
    else:
        table = _from_array(X)
    shape = f"(shape=({table.num_rows}, {len(table.names)}))"
    if not table.num_rows:
        raise DataError(f"X: found array with 0 sample(s) {shape} while a minimum of 1 is required")
    if not table.names:
        raise DataError(f"X: found 0 feature(s) {shape} while a minimum of 1 is required.")
    return table


def write_table(kind: str, names: Sequence[Any], columns: Sequence[pd.Series]) -> Any:
    """Return columns as a data frame or an array; the array is of objects if necessary."""
    if kind == "polars":
        import polars as pl

        series = [_to_polars(name, column) for name, column in zip(names, columns, strict=True)]
        return pl.DataFrame(series)
    if kind == "pandas":
        frame = pd.concat(list(columns), axis=1)
        frame.columns = pd.Index(list(names))
        return frame
    found = np.empty((len(columns[0]), len(columns)), dtype=_dtype_of([c.dtype for c in columns]))
    for place, column in enumerate(columns):
        found[:, place] = column.to_numpy(dtype=found.dtype)
    return found


def _dtype_of(dtypes: Sequence[Any]) -> np.dtype:
    """Return the dtype of an array that holds columns of the dtypes: object unless all are numbers.

    A mixture of truth values and numbers gives objects, too.
    """
    plain = [d for d in dtypes if isinstance(d, np.dtype) and d.kind in "biuf"]
    alike = len(plain) == len(dtypes) and len({d.kind == "b" for d in plain}) == 1
    return np.result_type(*plain) if alike else np.dtype(object)


def _from_pandas(frame: pd.DataFrame) -> Table:
    if isinstance(frame.columns, pd.MultiIndex):
        raise DataError("X has a MultiIndex of columns: give each column one name")
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"X has several columns {twice[0]!r}: give each a name of its own")
    columns = [frame.iloc[:, place] for place in range(frame.shape[1])]
    names = (n.item() if isinstance(n, np.generic) else n for n in frame.columns)
    return Table("pandas", tuple(names), columns, len(frame))


def _from_array(array: Any) -> Table:
    if hasattr(array, "toarray"):
        raise TypeError("X is a sparse matrix, expected a dense one: give X.toarray()")
    try:
        found = np.asarray(array)
        if found.dtype.kind in "US" and not isinstance(array, np.ndarray):
            # NumPy would turn the numbers in a list of mixed rows into strings.
            found = np.asarray(array, dtype=object)
    except ValueError as error:
        raise DataError(f"X is not a table, expected rows of equal lengths: {error}") from error
    if found.ndim != 2:
        raise DataError(
            f"Expected 2D array, got {found.ndim}D array instead: X has shape {found.shape}. "
            "Reshape your data: X.reshape(-1, 1) if it is one column, X.reshape(1, -1) if one row"
        )
    if found.dtype.kind in "US":
        text = found.astype(str)
        found = np.where(text == "nan", np.nan, text.astype(object))
    columns = [pd.Series(found[:, place]) for place in range(found.shape[1])]
    return Table("array", tuple(range(found.shape[1])), columns, len(found))


def _from_polars(series: Any) -> pd.Series:
    import polars as pl

    dtype = series.dtype
    if dtype.is_integer() and series.null_count():
        return pd.Series(series.to_list(), dtype="Int64")
    if dtype.is_decimal():
        series = series.cast(pl.Float64)
    if series.dtype.is_numeric() or dtype in (pl.Date, pl.Datetime, pl.Duration):
        found = pd.Series(series.to_numpy())
        zone = getattr(dtype, "time_zone", None)
        return found.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else found
    if dtype == pl.Enum:
        levels = dtype.categories.to_list()
        return pd.Series(pd.Categorical(series.cast(pl.String).to_list(), categories=levels))
    if dtype == pl.Boolean and not series.null_count():
        return pd.Series(series.to_numpy())
    if dtype == pl.Categorical:
        series = series.cast(pl.String)
    return pd.Series(series.to_list(), dtype=object)


def _to_polars(name: str, column: pd.Series) -> Any:
    import polars as pl

    if column.dtype == "datetime64[s]":
        # Dates of polars arrive in this form.
        return pl.Series(name, column.astype("datetime64[ms]").to_numpy()).cast(pl.Date)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufmM":
        return pl.Series(name, column.to_numpy(), nan_to_null=True)
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        times = pl.Series(name, column.dt.tz_convert(None).to_numpy())
        return times.dt.replace_time_zone("UTC").dt.convert_time_zone(str(column.dtype.tz))
    entries = [None if missing else v for v, missing in zip(column, column.isna(), strict=True)]
    if isinstance(column.dtype, pd.CategoricalDtype):
        return pl.Series(name, entries, dtype=pl.Enum(list(column.dtype.categories)))
    return pl.Series(name, entries, strict=False)

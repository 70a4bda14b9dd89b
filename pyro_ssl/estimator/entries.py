"""The entries of one column, as numbers or as distinct values."""

import math
import re
from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyro_ssl.errors import DataError

Category = str | int | float | bool
Floats = NDArray[np.float64]
# Units of time in a second.
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "empty")
_TIMES = ("datetime", "datetime64", "date", "timedelta", "timedelta64")
_PLAIN = (
    str,
    bytes,
    Number,
    np.generic,
    Decimal,
    date,
    time,
    timedelta,
    pd.Period,
    pd.Interval,
)
# The share of strings that must be numbers in a column of numbers.
_SHARE = 0.95
# Smaller numbers count as 0, so that squares and quotients of the others are finite.
_MOST, _LEAST = 1e150, 1e-150
# At the start of a line.
_PADDED = re.compile(r"^ *[+-]?0\d", re.MULTILINE)


def is_time(dtype: Any) -> bool:
    """Return whether a dtype, or its name, is one of dates or durations."""
    return str(dtype).startswith(("datetime64", "timedelta64"))


def is_labels(dtype: Any) -> bool:
    """Return whether a dtype is one of categories or truth values."""
    return isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype)


def as_numbers(series: pd.Series, name: Any) -> Floats | None:
    """Return a column of numbers as float64 `[N]`, NaN where missing; None for labels.

    Dates are seconds since 1970, durations are seconds. A column of strings is one of numbers if at
    least 95 % of them are numbers; the others are then missing. Strings like "007" are not numbers.

    Raises:
        DataError: if the column holds infinity or complex numbers.
        TypeError: if an entry is not a number, string, truth value or date.
    """
    if is_labels(series.dtype):
        return None
    if not (pd.api.types.is_numeric_dtype(series.dtype) or is_time(series.dtype)):
        kind = pd.api.types.infer_dtype(series, skipna=True)
        if kind not in (*_NUMBERS, *_TIMES):
            return _numbers_of_strings(series, kind, name)
    return to_numbers(series, name)


def to_numbers(series: pd.Series, name: Any) -> Floats:
    """Return the entries as float64 `[N]`, NaN for entries that are missing or not numbers.

    Numbers between -1e-150 and 1e-150 become 0.

    Raises:
        DataError: if the column holds infinity or complex numbers.
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    if series.dtype.kind not in "biufcmM":
        series = series.astype(object)
        series = series.where(series.notna(), np.nan)
        if pd.api.types.infer_dtype(series, skipna=True) in _TIMES[:3]:
            series = pd.to_datetime(series, utc=True)
        elif pd.api.types.infer_dtype(series, skipna=True) in _TIMES[3:]:
            series = pd.to_timedelta(series)
        else:
            series = pd.to_numeric(series, errors="coerce")
    if is_time(series.dtype):
        return _seconds(series)
    if pd.api.types.is_complex_dtype(series.dtype):
        raise DataError(f"Complex data not supported: column {name!r} holds some, expected reals")
    found = np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    check_finite(found, name)
    return without_least(found)


def without_least(numbers: Floats) -> Floats:
    """Return the numbers, with 0 in place of numbers between -1e-150 and 1e-150."""
    return np.where(np.abs(numbers) < _LEAST, 0.0, numbers)


def check_finite(found: Floats, name: Any) -> None:
    """Check that no number is infinite or has an infinite square.

    Raises:
        DataError: naming the column and the row.
    """
    infinite = np.abs(found) > _MOST
    if infinite.any():
        raise DataError(
            f"X contains infinity or a value too large: column {name!r} is "
            f"{found[infinite][0]:g} in row {int(infinite.argmax())}, expected finite numbers of "
            f"at most {_MOST:g}, or NaN where unknown"
        )


def distinct(series: pd.Series, name: Any) -> tuple[list[Category], NDArray[np.intp]]:
    """Return a column's distinct known entries, and the index of each row's entry among them.

    Returns:
        values: for a pandas categorical, all its categories in their order; otherwise the entries
            in order of appearance. An entry that is not a string, number or truth value becomes a
            string.
        codes: `[N]`, -1 where missing.

    Raises:
        TypeError: if an entry is not a number, string, truth value or date.
    """
    codes: Any
    if isinstance(series.dtype, pd.CategoricalDtype):
        codes, values = series.cat.codes, series.cat.categories
    else:
        try:
            codes, values = pd.factorize(series)
        except TypeError:
            check_entries(series, name)
            raise
    plain: list[Category] = [plain_entry(value) for value in values]
    return plain, np.asarray(codes, dtype=np.intp)


def plain_entry(value: Any) -> Category:
    """Return an entry as a Python string, number or truth value."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str | int | float) else str(value)


def check_entries(series: pd.Series, name: Any) -> None:
    """Check that each entry is missing, or a number, string, truth value or date.

    Raises:
        TypeError: naming the column and the row.
    """
    for row, value in enumerate(series):
        if not isinstance(value, _PLAIN) and value is not None and value is not pd.NA:
            raise TypeError(
                f"column {name!r} has {value!r} in row {row}: an entry as argument must be a "
                "string, a real number, a truth value or a date"
            )


def as_dtype(series: pd.Series, dtype: str) -> pd.Series:
    """Return a column converted to the dtype that has this name in pandas."""
    return series.astype(pd.api.types.pandas_dtype(dtype))


def as_float(value: Any) -> float:
    """Return an entry as a number, or NaN if it is not one."""
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def dtype_of_numbers(found: Floats) -> str:
    """Return the dtype's name for the numbers: int64 if all are known and whole, else float64."""
    return "int64" if is_whole(found) else "float64"


def is_whole(found: Floats) -> bool:
    """Return whether all numbers are known, whole, and small enough to be exact."""
    return bool((np.abs(found) < 2**53).all() and (found == np.rint(found)).all())


def _numbers_of_strings(series: pd.Series, kind: str, name: Any) -> Floats | None:
    text = series.astype(object)
    known = text.notna().to_numpy()
    if kind not in ("string", "boolean"):
        check_entries(text, name)
    if kind == "boolean" or (kind != "string" and any(isinstance(v, bool) for v in text)):
        return None
    # The first entries suffice to recognise most columns of words.
    some = text[known][:100]
    if np.isnan(to_numbers(some, name)).mean() > 0.5:
        return None
    found = to_numbers(text, name)
    if (~np.isnan(found[known])).mean() < _SHARE:
        return None
    return None if _PADDED.search("\n".join(map(str, text[known]))) else found


def _seconds(series: pd.Series) -> Floats:
    missing = series.isna().to_numpy()
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_convert(None)
    ticks = series.to_numpy()
    unit = np.datetime_data(ticks.dtype)[0]
    return np.where(missing, np.nan, ticks.astype(np.int64) / _TICKS[unit])

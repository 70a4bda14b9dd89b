"""Conversion of numbers and codes back to the dtype of their column."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pyro_ssl.estimator.entries import Category, Floats, as_dtype, is_time

# Limits of seconds in 64-bit nanoseconds, and of whole numbers in 64 bits after rounding.
_MOST_SECONDS = 9.2e9
_MOST_WHOLE = 2.0**62


def restore_numbers(found: Floats, dtype: str) -> pd.Series:
    """Return numbers as a column of the dtype: whole numbers rounded, dates to milliseconds.

    Whole numbers stay floating-point if some are missing, unless the dtype allows missing ones.
    """
    if is_time(dtype):
        return _times(found, dtype)
    target = pd.api.types.pandas_dtype(dtype)
    if pd.api.types.is_integer_dtype(target):
        info = np.iinfo(target.numpy_dtype if hasattr(target, "numpy_dtype") else target)
        least, most = max(info.min, -_MOST_WHOLE), min(info.max, _MOST_WHOLE)
        found = np.clip(np.rint(found), least, most)
        if isinstance(target, np.dtype) and np.isnan(found).any():
            return pd.Series(found)
    return pd.Series(found).astype(target)


def restore_labels(
    codes: Floats,
    categories: Sequence[Category],
    dtype: str,
    levels: Sequence[Category] = (),
    ordered: bool = False,
) -> pd.Series:
    """Return the categories of codes as a column of the dtype, or of objects if necessary.

    Args:
        codes: `[N]`, rounded to existing codes; NaN where missing.
        categories: the categories, in the order of their codes.
        dtype: pandas' name of the dtype.
        levels: for the dtype category, all its categories, in their order.
        ordered: for the dtype category, whether it is ordered.
    """
    missing = np.isnan(codes)
    places = np.clip(np.rint(np.where(missing, 0, codes)), 0, len(categories) - 1).astype(np.intp)
    if dtype == "category":
        extra = [c for c in categories if c not in levels]
        order = pd.CategoricalDtype([*levels, *extra], ordered)
        at = np.array([order.categories.get_loc(c) for c in categories])[places]
        return pd.Series(pd.Categorical.from_codes(np.where(missing, -1, at), dtype=order))
    if dtype in ("bool", "boolean"):
        truth = pd.Series(np.array(categories)[places], dtype="boolean").mask(missing)
        return as_dtype(truth, "boolean" if missing.any() else dtype)
    if not any(isinstance(c, str) for c in categories) and dtype != "object":
        return restore_numbers(
            np.where(missing, np.nan, np.array(categories, float)[places]), dtype
        )
    table = np.empty(len(categories) + 1, dtype=object)
    table[:] = [*categories, np.nan]
    found = pd.Series(table[np.where(missing, len(categories), places)], dtype=object)
    return as_dtype(found, dtype) if dtype.startswith("str") else found


def _times(found: Floats, dtype: str) -> pd.Series:
    if "[ns" in dtype:
        found = np.clip(found, -_MOST_SECONDS, _MOST_SECONDS)
    ticks = np.where(np.isnan(found), np.iinfo(np.int64).min, np.rint(found * 1000))
    if dtype.startswith("timedelta64"):
        return as_dtype(pd.Series(ticks.astype(np.int64).view("timedelta64[ms]")), dtype)
    times = pd.Series(ticks.astype(np.int64).view("datetime64[ms]"))
    return as_dtype(times.dt.tz_localize("UTC") if "," in dtype else times, dtype)

"""The content of a table's column, inferred from its entries."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyro_ssl.errors import DataError
from pyro_ssl.estimator.entries import (
    Category,
    Floats,
    as_dtype,
    as_numbers,
    distinct,
    dtype_of_numbers,
    is_time,
    to_numbers,
)
from pyro_ssl.estimator.kinds import CODED, OTHER, Column

# Whole numbers with at most this many distinct values are not counts.
_FEW = 10
# For larger counts, a float32 log-probability would be wrong by more than a tenth of a nat.
_MOST_COUNT = 1e5
_MOST_CATEGORIES = 50
_DECADE = 10.0
# Signs of heavy tails: kurtosis above that of a normal distribution; distance from the median in
# units of the quartiles' spread.
_KURTOSIS = 10.0
_FAR = 20.0


def infer_column(name: Any, series: pd.Series, family: str | None = None) -> Column:
    """Return the content of a column; the rules are those of `Columns`.

    Args:
        name: the column's name.
        series: the column's entries.
        family: the family, if it is known. A column of fewer than two distinct entries is constant
            in any case.

    Raises:
        DataError: if it holds infinity, or values outside the family's support.
        TypeError: if an entry is not a number, string, truth value or date.
    """
    if family == "covariate":
        return _covariate(name, series)
    numbers = as_numbers(series, name)
    if series.dtype.kind not in "iuf" and family in ("binary", "categorical"):
        # Strings that are numbers stay strings, including the others among them.
        numbers = None
    dtype = str(series.dtype)
    parsed = numbers is not None and series.dtype.kind not in "iufmM"
    if parsed and numbers is not None:
        dtype = _dtype_of_parsed(series, numbers)
    base = Column(name, "constant", dtype, parsed=parsed)
    if isinstance(series.dtype, pd.CategoricalDtype):
        base = replace(
            base, ordered=bool(series.cat.ordered), levels=tuple(distinct(series, name)[0])
        )
    if family == "ordinal" and numbers is not None and is_time(dtype):
        raise DataError(f"'ordinal' was stated for column {name!r}, which holds times: take 'real'")
    stated = family is not None
    if family is None:
        family = _family_of_numbers(numbers, base) if numbers is not None else None
    if family is None or family in CODED:
        return _coded(base, series, numbers, family)
    if numbers is None:
        numbers = _forced_numbers(series, name, family)
        base = replace(base, dtype=dtype_of_numbers(numbers), levels=(), parsed=True)
    base = replace(base, missing=float(np.isnan(numbers).mean()))
    return _numeric(base, numbers, family, stated)


def _covariate(name: Any, series: pd.Series) -> Column:
    """Return the content of a covariate; a few whole numbers are codes of a batch or a site."""
    numbers = as_numbers(series, name)
    family = None
    if numbers is not None and not is_time(str(series.dtype)):
        values = np.unique(numbers[~np.isnan(numbers)])
        few = 2 < len(values) <= _FEW and bool((values == np.rint(values)).all())
        family = "categorical" if few else None
    found = infer_column(name, series, family)
    return found if found.family == "constant" else replace(found, covariate=True)


def _dtype_of_parsed(series: pd.Series, numbers: Floats) -> str:
    kind = pd.api.types.infer_dtype(series, skipna=True)
    if kind.startswith(("date", "timedelta")):
        first = series[series.notna()].iloc[0]
        zone = ", UTC" if getattr(first, "tzinfo", None) is not None else ""
        return "timedelta64[us]" if kind.startswith("timedelta") else f"datetime64[us{zone}]"
    return dtype_of_numbers(numbers)


def _family_of_numbers(numbers: Floats, column: Column) -> str:
    known = numbers[~np.isnan(numbers)]
    values = np.unique(known)
    if len(values) < 2 or is_time(column.dtype):
        return "real"
    if len(values) == 2:
        return "binary"
    low, high = values[0], values[-1]
    whole = bool((values == np.rint(values)).all())
    if whole and low >= 0 and high <= _MOST_COUNT:
        # A year is a number far from 0, not a count.
        return "count" if len(values) > _FEW and low <= known.mean() / 2 else "real"
    if low > 0 and high / low > _DECADE and not (whole and len(values) <= _FEW):
        return "positive" if _skewness(np.log(known)) < _skewness(known) else "real"
    return "real"


def _forced_numbers(series: pd.Series, name: Any, family: str) -> Floats:
    numbers = to_numbers(series, name)
    odd = series.notna().to_numpy() & np.isnan(numbers)
    if odd.any():
        raise DataError(
            f"{family!r} was stated for column {name!r}, which has {series[odd].iloc[0]!r} in "
            f"row {int(odd.argmax())}: expected numbers; take 'categorical', or make it NaN"
        )
    return numbers


def _numeric(column: Column, numbers: Floats, family: str, stated: bool) -> Column:
    """Fit the transform and the scaling of a column of numbers, of an inferred or stated family."""
    known = numbers[~np.isnan(numbers)]
    if not len(known) or known.min() == known.max():
        return replace(column, constant=float(known[0]) if len(known) else None)
    column = replace(column, family=family)
    _check_support(column, known)
    if family == "count":
        column, known = _count(column, np.rint(known), stated)
    elif family == "positive":
        column, known = replace(column, transform="log"), np.log(known)
    else:
        centre, spread = _centre_and_spread(known)
        far = np.abs(known - centre).max() / spread > _FAR
        if (far or _kurtosis(known) > _KURTOSIS) and not is_time(column.dtype):
            known = np.arcsinh((known - centre) / spread)
            column = replace(column, transform="asinh", centre=centre, spread=spread)
    loc, spread = _moments(numbers[~np.isnan(numbers)])
    mean, deviation = _moments(known)
    return replace(column, shift=mean, scale=deviation, raw_shift=loc, raw_scale=spread)


def _count(column: Column, known: Floats, stated: bool) -> tuple[Column, Floats]:
    """Choose how counts are modelled; return them in the form that is standardised."""
    logs = np.log1p(known)
    if stated:
        return replace(column, transform="none"), logs
    if _skewness(logs) < _skewness(known):
        return replace(column, transform="log1p"), logs
    return replace(column, transform="linear"), known


def _check_support(column: Column, known: Floats) -> None:
    wrong = known[known <= 0] if column.family == "positive" else known[known < 0]
    if column.family == "count":
        wrong = known[(known < 0) | (known != np.rint(known))]
    if column.family in ("positive", "count") and len(wrong):
        expected = "whole numbers >= 0" if column.family == "count" else "numbers above 0"
        raise DataError(
            f"{column.family!r} was stated for column {column.name!r}, which has {wrong[0]:g}, "
            f"expected {expected}: take 'real', or make such entries NaN"
        )


def _coded(column: Column, series: pd.Series, numbers: Floats | None, family: str | None) -> Column:
    """Number the distinct entries of a column."""
    if numbers is not None:
        series = as_dtype(pd.Series(numbers), column.dtype)
    values, places = distinct(series, column.name)
    missing = float((places < 0).mean())
    counts = np.bincount(places[places >= 0], minlength=len(values))
    categories = _sorted(values, counts, column, family)
    if len(categories) < 2:
        return replace(column, categories=categories, missing=missing)
    if family is None:
        family = "binary" if len(categories) == 2 else "categorical"
        family = "ordinal" if column.ordered else family
    if family == "binary" and len(categories) != 2:
        raise DataError(
            f"'binary' was stated for column {column.name!r}, which has {len(categories)} "
            "distinct entries, expected 2: take 'categorical'"
        )
    column = replace(column, family=family, categories=categories, missing=missing)
    codes, _ = column.encode(series)
    mean, deviation = _moments(codes[~np.isnan(codes)])
    # A code 0 or 1 keeps its unit: if scaled, a rare code would be far away.
    return replace(column, shift=mean, scale=deviation if family == "ordinal" else 1.0)


def _sorted(
    values: list[Category], counts: NDArray[np.intp], column: Column, family: str | None
) -> tuple[Category, ...]:
    """Return the categories in order; if there are many, merge the rare ones."""
    observed = [v for v, count in zip(values, counts, strict=True) if count]
    if family == "ordinal" or (family is None and column.ordered):
        if not column.levels and any(isinstance(v, str) for v in values):
            raise DataError(
                f"'ordinal' was stated for column {column.name!r}, which holds strings: make it "
                "a pandas categorical, whose categories are in order, or numbers"
            )
        return tuple(values) if column.levels and len(observed) > 1 else tuple(sorted(observed))
    if column.levels or len(set(map(_rank, observed))) == 1:
        ordered = observed if column.levels else sorted(observed)
    else:
        ordered = sorted(observed, key=lambda v: (_rank(v), v))
    if len(ordered) <= _MOST_CATEGORIES:
        return tuple(ordered)
    count_of = dict(zip(values, counts.tolist(), strict=True))
    often = [v for v in ordered if count_of[v] > 1 and v != OTHER]
    kept = set(sorted(often, key=lambda v: -count_of[v])[:_MOST_CATEGORIES])
    return (*(v for v in ordered if v in kept), OTHER)


def _rank(value: Category) -> str:
    return "text" if isinstance(value, str) else "number"


def _centre_and_spread(known: Floats) -> tuple[float, float]:
    """Return the median, and the interquartile range in units of a standard deviation.

    If more than half of the entries equal the median, the spread is that of the others.
    """
    low, centre, high = (float(q) for q in np.quantile(known, (0.25, 0.5, 0.75)))
    spread = (high - low) / 1.349
    if not spread > 0:
        apart = np.abs(known - centre)
        spread = float(np.median(apart[apart > 0]))
    return centre, spread


def _moments(known: Floats) -> tuple[float, float]:
    """Return mean and standard deviation of numbers of any size; a deviation of 0 becomes 1."""
    unit = float(np.abs(known).max()) or 1.0
    mean, deviation = float((known / unit).mean()) * unit, float((known / unit).std()) * unit
    return mean, deviation if deviation > 0 else 1.0


def _skewness(known: Floats) -> float:
    mean, deviation = _moments(known)
    return abs(float((((known - mean) / deviation) ** 3).mean()))


def _kurtosis(known: Floats) -> float:
    mean, deviation = _moments(known)
    return float((((known - mean) / deviation) ** 4).mean()) - 3

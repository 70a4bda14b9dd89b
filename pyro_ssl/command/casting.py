"""Columns of text as numbers and dates, and columns of any type as the type of training.

A column of a text file is numeric only if all its known entries are numbers, none like "007". It is
a column of dates only if all entries have the form of ISO 8601. Otherwise it stays text. All rows
decide this, so that the parts of a file agree; `pandas.read_csv` decides part by part, and turns
"007" into 7.
"""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

# "ordered" stands for pandas' ordered categories, which only typed files have.
TYPES = ("whole", "number", "time", "time UTC", "duration", "truth", "text", "ordered")

_PADDED = re.compile(r"^ *[+-]?0\d", re.MULTILINE)
_FRACTION = re.compile(r"[.eEnN]")
_DAY = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?"
_TIMES = {"time": re.compile(_DAY), "time UTC": re.compile(_DAY + r"(?:Z|[+-]\d\d:?\d\d)")}
# Whole numbers up to this are exact as float64.
_EXACT = 2.0**53
_SHOWN = 3


class TextType:
    """Finds the type of a column of text, from its parts."""

    def __init__(self) -> None:
        self._possible = ["whole", "number", *_TIMES]

    def look(self, column: pd.Series) -> None:
        """Add a part of the column, NaN where missing."""
        known = column[column.notna()]
        if len(known) and self._possible:
            # The first entries suffice to recognise most columns of words.
            self._possible = self._among(known[:20])
            self._possible = self._among(known)

    @property
    def found(self) -> str:
        """One of `TYPES`; a column without any known entry is numeric."""
        if len(self._possible) == 2 + len(_TIMES):
            return "number"
        return self._possible[0] if self._possible else "text"

    def _among(self, known: pd.Series) -> list[str]:
        fitting: set[str] = set()
        if "number" in self._possible:
            fitting |= _numeric_types(known)
        for name in {*_TIMES} & {*self._possible}:
            if all(_TIMES[name].fullmatch(text) for text in known) and _are_times(known):
                fitting.add(name)
        return [name for name in self._possible if name in fitting]


def _numeric_types(known: pd.Series) -> set[str]:
    numbers = pd.to_numeric(known, errors="coerce").to_numpy(np.float64)
    text = "\n".join(known)
    if np.isnan(numbers).any() or _PADDED.search(text):
        return set()
    whole = not _FRACTION.search(text) and bool((np.abs(numbers) < _EXACT).all())
    return {"whole", "number"} if whole else {"number"}


def _are_times(known: pd.Series) -> bool:
    found = pd.to_datetime(known, format="ISO8601", errors="coerce", utc=True)
    return bool(found.notna().all())


def blanked(column: pd.Series, missing: Sequence[str]) -> pd.Series:
    """Return a column in which markers of missing entries are missing; text becomes objects.

    Args:
        column: the column.
        missing: the markers, beside an empty text; those that are numbers stand for these numbers
            in a column of numbers.
    """
    if pd.api.types.is_bool_dtype(column.dtype):
        return column
    if pd.api.types.is_numeric_dtype(column.dtype):
        numbers = pd.to_numeric(pd.Series([*missing], dtype=object), errors="coerce").dropna()
        return column.mask(column.isin(numbers.to_numpy())) if len(numbers) else column
    if isinstance(column.dtype, pd.CategoricalDtype):
        kept = [c for c in column.cat.categories if c not in {"", *missing}]
        return column.cat.set_categories(kept)
    if _is_text(column):
        return _replaced(column, column.isna() | column.isin(["", *missing]), np.nan)
    return column


def cast(column: pd.Series, kind: str) -> pd.Series:
    """Return a column, NaN where missing, converted to a type of `TYPES`.

    Other entries stay as they are among numbers: the columns' families then treat them as missing,
    with a warning. Among dates they become missing here, with a warning.
    """
    if kind in ("whole", "number"):
        return _as_numbers(column, kind)
    if kind.startswith("time"):
        return _as_times(column, kind)
    if kind == "truth" and _is_text(column):
        return _as_truth(column)
    return as_text(column) if kind == "text" else column


def as_text(column: pd.Series) -> pd.Series:
    """Return a column as objects: text, NaN where missing; whole numbers have no decimal point."""
    if _is_text(column):
        return _replaced(column, column.isna(), np.nan)
    known = column.notna().to_numpy()
    found = np.full(len(column), np.nan, dtype=object)
    found[known] = [_text_of(value) for value in column[known].tolist()]
    return pd.Series(found, index=column.index, name=column.name, dtype=object)


def _as_numbers(column: pd.Series, kind: str) -> pd.Series:
    if not _is_text(column):
        whole = kind == "whole" and pd.api.types.is_integer_dtype(column.dtype)
        return column.astype("Int64") if whole else column
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    odd = column.notna() & numbers.isna()
    if odd.any():
        return _replaced(numbers, odd, column[odd].to_numpy())
    values = numbers.to_numpy()
    known = values[~np.isnan(values)]
    if kind == "whole" and (np.abs(known) < _EXACT).all() and (known == np.rint(known)).all():
        return numbers.astype("Int64")
    return numbers


def _as_times(column: pd.Series, kind: str) -> pd.Series:
    utc = kind.endswith("UTC")
    if pd.api.types.is_numeric_dtype(column.dtype):
        column = as_text(column)
    if _is_text(column):
        known = column[column.notna()]
        column = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
        odd = known[column[known.index].isna()]
        if len(odd):
            shown = ", ".join(map(repr, odd.unique()[:_SHOWN]))
            warnings.warn(
                f"column {column.name!r} has dates, but {len(odd)} entries are not dates, such as "
                f"{shown}: they are treated as missing; dates have the form 2024-05-31 or "
                "2024-05-31 12:30:00",
                stacklevel=2,
            )
    if getattr(column.dtype, "tz", None) is not None and not utc:
        return column.dt.tz_convert(None)
    return column.dt.tz_localize("UTC") if utc and column.dt.tz is None else column


def _as_truth(column: pd.Series) -> pd.Series:
    codes = {"true": True, "false": False}
    texts = column.map(lambda v: codes.get(v.strip().lower(), v), na_action="ignore")
    plain = texts[texts.notna()].map(lambda v: isinstance(v, bool)).all()
    return texts.astype("boolean") if plain else texts.astype(object)


def _replaced(column: pd.Series, chosen: pd.Series, entries: Any) -> pd.Series:
    """Return a column as objects, with some entries replaced; `where` could make them numbers."""
    found = column.to_numpy(dtype=object, na_value=np.nan).copy()
    found[chosen.to_numpy()] = entries
    return pd.Series(found, index=column.index, name=column.name, dtype=object)


def _is_text(column: pd.Series) -> bool:
    return pd.api.types.is_object_dtype(column.dtype) or isinstance(column.dtype, pd.StringDtype)


def _text_of(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)

"""Readers of JSON and CSV files that may be damaged or not ours: errors name them."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pyro_ssl.errors import ResultsError

if TYPE_CHECKING:
    import pandas as pd


def read_json(
    path: Path,
    remedy: str = "delete it",
    kinds: Mapping[str, Any] | None = None,
    wanted: Collection[str] = (),
) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: the file.
        remedy: the remedy if it cannot be read.
        kinds: types of values, as annotations, by key; a key may be absent. A `float` is any finite
            number, a `str` can be printed, a tuple is a list.
        wanted: keys that must be present.

    Raises:
        ResultsError: if it cannot be read, or has other content.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error, remedy) from error
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise ResultsError(f"{path} is damaged (a {kind}, expected an object): {remedy}")
    wrong = [f"no {key!r}" for key in wanted if key not in found]
    for key in found.keys() & (kinds or {}).keys():
        if not _is_kind(found[key], (kinds or {})[key]):
            wrong.append(f"{key} is {found[key]!r:.80}")
    if wrong:
        raise ResultsError(f"{path} is damaged or of another kind ({'; '.join(wrong)}): {remedy}")
    return found


def _is_kind(value: Any, kind: Any) -> bool:
    """Return whether a value of a JSON file fits an annotation."""
    parts = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return any(_is_kind(value, part) for part in parts)
    if get_origin(kind) is Literal:
        return value in parts
    if get_origin(kind) in (list, tuple):
        return isinstance(value, list) and all(_is_kind(item, parts[0]) for item in value)
    if kind is str:
        return isinstance(value, str) and value.isprintable()
    if kind in (int, float):
        # Neither NaN nor infinity, nor any number that a table cannot hold.
        number = type(value) is int or (kind is float and type(value) is float)
        return number and abs(value) < (2**53 if kind is int else 1e300)
    return not isinstance(kind, type) or type(value) is kind


def read_csv(
    path: Path,
    numbers: Collection[str] = (),
    others: Collection[str] = (),
    remedy: str = "make it again, with --overwrite, or delete it",
) -> "pd.DataFrame":
    """Return the table of a CSV file.

    Args:
        path: the file.
        numbers: required columns of numbers.
        others: required columns of any kind.
        remedy: the remedy if it cannot be read.

    Raises:
        ResultsError: if it cannot be read, has no row, or lacks such a column.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, error, remedy) from error
    lacking = [c for c in (*numbers, *others) if c not in table]
    wrong = [c for c in numbers if c in table and table[c].dtype.kind not in "if"]
    if lacking or wrong or table.empty:
        what = [f"no column {', '.join(lacking)}"] if lacking else []
        what += [f"no numbers in {', '.join(wrong)}"] if wrong else []
        raise ResultsError(f"{path} is damaged ({'; '.join(what) or 'no row'}): {remedy}")
    return table


def _damaged(path: Path, error: Exception, remedy: str) -> ResultsError:
    said = " ".join(str(error).split())
    return ResultsError(f"{path} is damaged or not a file ({said}): {remedy}")

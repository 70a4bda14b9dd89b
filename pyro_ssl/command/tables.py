"""Tables: the columns to learn from, their types, and the labels."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyro_ssl.command.casting import TextType, blanked, cast
from pyro_ssl.command.parts import Part, no_labels
from pyro_ssl.command.recipe import Recipe
from pyro_ssl.errors import DataError

# A column of text is hardly one of categories if, in the first rows, it has this many known entries
# with this share of different ones.
_MANY, _DIFFERENT = 50, 0.5
_SHOWN = 5


class TableReader(Protocol):
    """A file of columns.

    Attributes:
        path: the file or folder.
        files: its files, in order.
        root: the folder that names of files are relative to.
        names: names of the columns.
        types: the type of each column, one of `casting.TYPES`, "" if it cannot be used; None for
            text, whose types must be found.
    """

    path: Path
    files: list[Path]
    root: Path
    names: list[str]
    types: dict[str, str] | None

    def frames(self) -> Iterator[pd.DataFrame]:
        """Return the rows in parts."""
        ...


def checked_names(table: TableReader, recipe: Recipe) -> list[str]:
    """Return the columns to learn from: all except labels and dropped columns.

    Raises:
        DataError: if the label column or a dropped column is missing, or no other column is left.
    """
    apart = [*recipe.drop]
    if recipe.label_column is not None:
        apart.append(recipe.label_column)
    for name in apart:
        if name not in table.names:
            raise DataError(
                f"{table.path} has no column {name!r}, expected one of {_listed(table.names)}"
            )
    found = [name for name in table.names if name not in apart]
    if not found:
        raise DataError(f"{table.path} has no columns to learn from beside {_listed(apart)}")
    types = table.types or {}
    odd = [name for name in found if types.get(name) == ""]
    if odd:
        raise DataError(
            f"{table.path} has the column {odd[0]!r} of lists or bytes, expected numbers, text, "
            f"truth values or dates: add --drop {odd[0]}"
        )
    return found


def text_types(table: TableReader, recipe: Recipe, names: list[str]) -> dict[str, str]:
    """Return the types of columns of text, from all rows."""
    types = {name: TextType() for name in names}
    for frame in table.frames():
        for name, kind in types.items():
            kind.look(blanked(frame[name], recipe.missing))
    return {name: kind.found for name, kind in types.items()}


class TableSource:
    """Rows of a table with the columns of training, in any order.

    Labels and dropped columns may be missing, and there may be other columns.

    Args:
        table: the file.
        recipe: the columns that are learnt from, and their types.
        id_column: column that is kept unchanged.

    Raises:
        DataError: if columns of training are missing.
    """

    def __init__(self, table: TableReader, recipe: Recipe, id_column: str | None = None) -> None:
        self.recipe, self.files, self.root = recipe, table.files, table.root
        self._table, self._id_column = table, id_column
        missing = [name for name in recipe.columns if name not in table.names]
        if missing:
            raise DataError(
                f"{table.path} lacks {_listed(missing)}, which are columns that the model was "
                "trained on: add them, empty where unknown"
            )
        if id_column is not None and id_column not in table.names:
            raise DataError(
                f"{table.path} has no column {id_column!r}, expected one of {_listed(table.names)}"
            )
        known = {*recipe.columns, *recipe.drop, recipe.label_column, id_column}
        self._extra = [name for name in table.names if name not in known]

    def parts(self) -> Iterator[Part]:
        """Return the rows in parts."""
        if self._extra:
            warnings.warn(
                f"{self._table.path} has columns that were not in training, which are left out: "
                f"{_listed(self._extra)}",
                stacklevel=2,
            )
        columns = self.recipe.columns
        for raw in self._table.frames():
            rows = {name: self._typed(raw[name], kind) for name, kind in columns.items()}
            yield Part(
                pd.DataFrame(rows, index=raw.index),
                self._labels(raw),
                raw[[self._id_column]] if self._id_column is not None else raw[[]],
                raw,
            )

    def _typed(self, column: pd.Series, kind: str) -> pd.Series:
        return cast(blanked(column, self.recipe.missing), kind)

    def _labels(self, raw: pd.DataFrame) -> NDArray[np.object_]:
        name = self.recipe.label_column
        if name is None or name not in raw.columns:
            return no_labels(len(raw))
        column = blanked(raw[name], self.recipe.missing)
        known = column.notna().to_numpy()
        found = no_labels(len(raw))
        found[known] = column.to_numpy(dtype=object)[known]
        return found


def warn_of_ids(rows: pd.DataFrame) -> None:
    """Warn about columns of text that look like names of rows."""
    for name, column in rows.items():
        known = column[column.notna()]
        if not pd.api.types.is_object_dtype(column.dtype) or len(known) < _MANY:
            continue
        if known.nunique() > _DIFFERENT * len(known):
            warnings.warn(
                f"column {name!r} is text, different in most rows ({known.iloc[0]!r}, "
                f"{known.iloc[1]!r}, ...): it tells little about the class; if it names rows, add "
                f"--drop {name}",
                stacklevel=2,
            )


def _listed(names: list[str] | Mapping[str, str]) -> str:
    shown = [*names][:_SHOWN]
    rest = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, shown)) + rest

"""NPZ and .npy files: tables of numbers, images `[N, C, H, W]` or signals `[N, C, T]`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyro_ssl.command.parts import Part, no_labels
from pyro_ssl.command.recipe import Recipe
from pyro_ssl.errors import DataError

# Largest numbers of values and of rows in a part.
_VALUES, _ROWS = 10_000_000, 50_000


class ArrayReader(Protocol):
    """Files of arrays.

    Attributes:
        files: the files, including those of labels.
        root: the folder that their names are relative to.
    """

    files: list[Path]
    root: Path

    def arrays(self) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        """Return rows, and labels if there are any, file by file."""
        ...


class NumpyZip:
    """An NPZ file with the array X and, if there are labels, the array y; read at once.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.files, self.root, self._path = [path], path.parent, path

    def arrays(self) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        """Return rows and labels.

        Raises:
            DataError: if the file cannot be read, or has no X.
        """
        try:
            with np.load(self._path, allow_pickle=False) as file:
                names = file.files
                if "X" not in names:
                    raise DataError(
                        f"{self._path} holds the arrays {names}, expected X, the rows, and y, "
                        "their labels"
                    )
                found = file["X"], file["y"] if "y" in names else None
        except DataError:
            raise
        except Exception as error:  # Damaged bytes may cause any error in NumPy.
            raise _unreadable(self._path, error) from error
        yield found


class NumpyFiles:
    """A .npy file of rows, or a folder of them in the order of their names, memory-mapped.

    Args:
        path: the file or folder.
        labels: a file of all labels, in the order of the rows; for a folder, also a folder of files
            of the same names. None if there are none.

    Raises:
        DataError: if there are no files, or the numbers of files of rows and labels differ.
    """

    def __init__(self, path: Path, labels: Path | None) -> None:
        self._rows = _npy_files(path)
        self._labels: list[Path] = []
        self.root = path if path.is_dir() else path.parent
        if labels is not None:
            self._labels = _npy_files(labels)
            names = [[file.name for file in files] for files in (self._rows, self._labels)]
            if labels.is_dir() and path.is_dir() and names[0] != names[1]:
                odd = sorted({*names[0]} ^ {*names[1]})
                raise DataError(
                    f"{path} and {labels} differ in the files {odd[:3]}, expected a file of labels "
                    "of the same name for each file of rows"
                )
        self.files = [*self._rows, *self._labels]

    def arrays(self) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        """Return rows and labels, file by file.

        Raises:
            DataError: if a file cannot be read, or the numbers of rows and labels differ.
        """
        if len(self._labels) == len(self._rows):
            for file, labels in zip(self._rows, self._labels, strict=True):
                yield _loaded(file), _checked_labels(_loaded(labels), labels)
            return
        every = None
        if self._labels:
            every = np.concatenate([_checked_labels(_loaded(f), f) for f in self._labels])
        start = 0
        for file in self._rows:
            rows = _loaded(file)
            stop = start + (len(rows) if rows.ndim else 0)
            yield rows, None if every is None else every[start:stop]
            start = stop
        if every is not None and start != len(every):
            raise DataError(
                f"{self._labels[0]} has {len(every)} labels, expected {start}, one for each row"
            )


class ArraySource:
    """Rows of arrays.

    Args:
        recipe: how the rows are read.
        reader: the reader of the files.
    """

    def __init__(self, recipe: Recipe, reader: ArrayReader) -> None:
        self.recipe, self.files, self.root, self._reader = recipe, reader.files, reader.root, reader

    def parts(self) -> Iterator[Part]:
        """Return the rows in parts.

        Raises:
            DataError: if the numbers of rows and labels differ, or rows have another shape than the
                first ones.
        """
        shape: tuple[int, ...] | None = None
        for rows, labels in self._reader.arrays():
            self._check(rows, labels, shape)
            shape = rows.shape[1:]
            step = max(1, min(_ROWS, _VALUES // max(1, int(np.prod(shape)))))
            for start in range(0, len(rows), step):
                chosen = np.asarray(rows[start : start + step])
                known = no_labels(len(chosen))
                if labels is not None:
                    known = _as_labels(labels[start : start + step])
                yield Part(chosen, known, pd.DataFrame(index=range(len(chosen))))
        if shape is None:
            raise DataError(f"{self.root} holds no rows")

    def _check(
        self, rows: NDArray[Any], labels: NDArray[Any] | None, shape: Sequence[int] | None
    ) -> None:
        name = f"{self.files[0]}" if len(self.files) == 1 else f"{self.root}"
        if rows.ndim < 2 or not len(rows):
            raise DataError(
                f"{name}: X has shape {rows.shape}, expected rows of numbers [N, C], images "
                "[N, C, H, W] or signals [N, C, T]"
            )
        if shape is not None and tuple(rows.shape[1:]) != tuple(shape):
            raise DataError(
                f"{name}: X has rows of shape {rows.shape[1:]} after some of shape {shape}, "
                "expected the same in all files"
            )
        if labels is not None and labels.shape != rows.shape[:1]:
            raise DataError(
                f"{name}: y has shape {labels.shape}, expected ({len(rows)},), a label for each row"
            )


def _as_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels; text becomes objects, with empty labels missing."""
    if labels.dtype.kind not in "US":
        return labels
    found = labels.astype(str).astype(object)
    found[found == ""] = None
    return found


def _npy_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(f for f in path.glob("*.npy") if not f.name.startswith("."))
    if not found:
        raise DataError(f"{path} has no .npy files, expected some, in the order of their names")
    return found


def _loaded(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # As above.
        raise _unreadable(path, error) from error


def _checked_labels(labels: NDArray[Any], path: Path) -> NDArray[Any]:
    if labels.ndim != 1:
        raise DataError(f"{path} has shape {labels.shape}, expected (N,), a label for each row")
    return labels


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read ({error}): write it by numpy.savez or numpy.save; arrays of "
        "objects, which need pickle, are not read"
    )

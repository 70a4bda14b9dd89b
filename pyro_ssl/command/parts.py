"""A part of the rows of a file."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Part:
    """Some consecutive rows of a file.

    Attributes:
        rows: rows for a classifier: a data frame, or an array `[N, ...]`.
        labels: `[N]`, missing where unknown; all are missing if the file has no labels.
        ids: columns to put before predictions: an id column, or the files of images.
        raw: for a table, its columns as they were read, including those that are not learnt from.
    """

    rows: Any
    labels: NDArray[Any]
    ids: pd.DataFrame
    raw: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.labels)


def no_labels(rows: int) -> NDArray[Any]:
    """Return labels that are all unknown, `[N]`."""
    return np.full(rows, None, dtype=object)


def joined(parts: Iterable[Part]) -> tuple[Any, NDArray[Any]]:
    """Return the rows and labels of all parts as one."""
    found = list(parts)
    rows = [part.rows for part in found]
    whole = pd.concat(rows, ignore_index=True) if hasattr(rows[0], "columns") else None
    return (
        np.concatenate(rows) if whole is None else whole,
        np.concatenate([part.labels for part in found]),
    )

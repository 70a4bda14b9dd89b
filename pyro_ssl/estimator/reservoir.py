"""Rows kept from a stream: all of them up to a limit, then a uniform sample."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


@dataclass
class Reservoir:
    """A uniform sample, of at most `capacity` rows, of all rows that were added.

    Algorithm R: Vitter, "Random sampling with a reservoir", ACM TOMS 11(1), 1985, section 2. Row t
    (from 0) replaces a kept row with probability capacity / (t + 1).

    Attributes:
        capacity: largest number of rows to keep.
        seed: seed of the draws.
        columns: the kept data of each row, by name: arrays `[n, ...]`, or sparse matrices `[n, D]`.
        seen: number of rows that were added.
    """

    capacity: int
    seed: int
    columns: dict[str, Any] = field(default_factory=dict)
    seen: int = 0

    def __len__(self) -> int:
        """Return the number of rows that are kept."""
        return min(self.seen, self.capacity)

    def __getitem__(self, name: str) -> Any:
        """Return a column."""
        return self.columns[name]

    def add(self, **new: Any) -> None:
        """Add rows in order; arrays or sparse matrices of equal lengths, by the columns' names."""
        count, held = next(iter(new.values())).shape[0], len(self)
        numbers = np.arange(self.seen, self.seen + count)
        # A new generator in each call, so that no generator must be stored.
        rng = np.random.default_rng((self.seed, self.seen))
        places = np.where(numbers < self.capacity, numbers, rng.integers(0, numbers + 1))
        kept = np.flatnonzero(places < self.capacity)
        # If several rows are to replace the same one, the last of them does.
        slots, last = np.unique(places[kept][::-1], return_index=True)
        sources = np.arange(min(self.seen + count, self.capacity))
        sources[slots] = held + kept[::-1][last]
        for name, rows in new.items():
            old = self.columns.get(name)
            self.columns[name] = (rows if old is None else _joined(old, rows))[sources]
        self.seen += count


def as_rows(values: NDArray[Any], sparse: bool) -> Any:
    """Return rows in the form in which they are kept: an array, or a sparse matrix."""
    return sp.csr_matrix(values) if sparse else values


def as_dense(rows: Any) -> NDArray[Any]:
    """Return rows as an array."""
    found: NDArray[Any] = rows.toarray() if sp.issparse(rows) else rows
    return found


def _joined(first: Any, second: Any) -> Any:
    if sp.issparse(first):
        return sp.csr_matrix(sp.vstack([first, second]))
    return np.concatenate([first, second])

"""A uniform sample of many rows, the same whether they come at once or in parts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from pyro_ssl.errors import DataError
from pyro_ssl.estimator.labels import is_known, one_column

Keys = NDArray[np.uint64]
Places = NDArray[np.int64]


class Kept(NamedTuple):
    """The rows of a sample.

    Attributes:
        X: rows, in the order in which they came.
        y: their labels, including unknown ones.
        places: their indices among all rows.
        shares: the shares of unlabelled and of labelled rows that are kept.
    """

    X: Any
    y: Any
    places: Places
    shares: tuple[float, float]


class _Part(NamedTuple):
    X: Any
    y: Any
    places: Places
    keys: Keys
    # 1 where the label is known, else 0.
    kinds: Places

    def only(self, chosen: NDArray[np.bool_]) -> "_Part":
        """Return the chosen rows; if all are chosen, the part itself."""
        if chosen.all():
            return self
        rows = np.flatnonzero(chosen)
        return _Part(
            _safe_indexing(self.X, rows),
            one_column(self.y)[rows],
            self.places[rows],
            self.keys[rows],
            self.kinds[rows],
        )


class RowSample:
    """At most `most` labelled rows, and as many unlabelled ones, drawn uniformly from parts.

    A hash of a row's index among all rows decides whether it is kept, so that neither the parts nor
    a seed make a difference. The memory needed is that of one part and of twice the rows kept.

    Args:
        most: number of rows of each kind to keep; None for all.
        unlabelled: the marker of unknown labels beside NaN and None; None for -1.
    """

    def __init__(self, most: int | None, unlabelled: Any = None) -> None:
        self._most, self._unlabelled = most, unlabelled
        self._parts: list[_Part] = []
        self._seen = np.zeros(2, dtype=np.int64)
        # Rows of a kind with keys above its limit cannot be among those kept.
        self._limits = np.full(2, np.iinfo(np.uint64).max)

    def add(self, X: Any, y: Any) -> None:  # noqa: N803
        """Add a part: rows `[n, ...]` and their labels `[n]`, some of which are unknown.

        Raises:
            DataError: if labels are invalid.
        """
        labels = one_column(y)
        places = np.arange(len(labels)) + self._seen.sum()
        kinds = is_known(labels, self._unlabelled).astype(np.int64)
        part = _Part(X, y, places, _keys(places), kinds)
        self._seen += np.bincount(kinds, minlength=2)
        self._parts.append(part.only(part.keys <= self._limits[kinds]))
        if self._most is not None and sum(len(p.places) for p in self._parts) > 4 * self._most:
            self._prune()

    def rows(self) -> Kept:
        """Return the rows kept; if there is one part and it is kept whole, that part itself.

        Raises:
            DataError: if there were no rows.
        """
        if not self._seen.any():
            raise DataError("there are no rows: expected at least one part with some")
        self._prune()
        places = np.concatenate([part.places for part in self._parts])
        kinds = np.concatenate([part.kinds for part in self._parts])
        share = np.bincount(kinds, minlength=2) / np.maximum(self._seen, 1)
        X, y = self._parts[0].X, self._parts[0].y  # noqa: N806
        if len(self._parts) > 1:
            X = _joined([part.X for part in self._parts])  # noqa: N806
            y = _labels([one_column(part.y) for part in self._parts])
        return Kept(X, y, places, (float(share[0]), float(share[1])))

    def _prune(self) -> None:
        if self._most is None:
            return
        for kind in (0, 1):
            keys = np.concatenate([part.keys[part.kinds == kind] for part in self._parts])
            if len(keys) > self._most:
                self._limits[kind] = np.partition(keys, self._most - 1)[self._most - 1]
        kept = [part.only(part.keys <= self._limits[part.kinds]) for part in self._parts]
        self._parts = [part for part in kept if len(part.places)]


def _keys(places: Places) -> Keys:
    """Return hashes of indices, different for different indices: the generator splitmix64's.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    with np.errstate(over="ignore"):
        keys = (places.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return keys ^ (keys >> np.uint64(31))


def _joined(parts: Sequence[Any]) -> Any:
    """Return the rows of all parts as one."""
    first = parts[0]
    if isinstance(first, pd.DataFrame):
        return pd.concat(parts, ignore_index=True)
    if type(first).__module__.startswith("polars"):
        import polars as pl

        return pl.concat(parts)
    if sp.issparse(first):
        return sp.vstack(parts, format="csr")
    return np.concatenate(parts)


def _labels(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the labels of all parts; if their dtypes differ, as objects."""
    if len({part.dtype.kind for part in parts}) > 1:
        parts = [part.astype(object) for part in parts]
    return np.concatenate(parts)

"""Cells as rows for a classifier: counts of genes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.likelihoods import Categorical, Conditional, GeneCounts, Likelihood

Floats = NDArray[np.floating[Any]]

# Standardised logarithms are clipped to this, as in usual single-cell pipelines.
_CLIP = 10.0
_KEYS = ("genes", "batches", "target", "shifts", "scales")


class CellRows:
    """Counts of genes in cells, the batch of each cell, and its size factor.

    A classifier takes it as X; `X[rows]` selects cells.

    Args:
        counts: raw counts, a sparse matrix or an array `[N, G]`.
        genes: names of the genes, `[G]`, all different.
        batches: names of the cells' batches, `[N]`; None for none.
        sizes: size factors `[N]`, above 0, to which the expected counts are proportional; None for
            the sums of the counts.
    """

    def __init__(self, counts: Any, genes: Any, batches: Any = None, sizes: Any = None) -> None:
        self.counts = sp.csr_matrix(counts)
        self.genes = np.asarray(genes, dtype=object)
        self.batches = None if batches is None else np.asarray(batches, dtype=object)
        found = self.counts.sum(1) if sizes is None else sizes
        self.sizes: Floats = np.asarray(found, dtype=np.float64).reshape(-1)
        self.shape = self.counts.shape

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: Any) -> "CellRows":
        # scikit-learn indexes rows by (rows, ...).
        rows = rows[0] if isinstance(rows, tuple) else rows
        batches = None if self.batches is None else self.batches[rows]
        return CellRows(self.counts[rows], self.genes, batches, self.sizes[rows])

    def plain(self) -> Any:
        """Return everything known about the cells as a sparse matrix `[N, G + 2]`, to compare."""
        names = np.zeros(len(self)) if self.batches is None else pd.factorize(self.batches)[0] + 1
        extra = np.stack([self.sizes, names], 1)
        return sp.csr_matrix(sp.hstack([self.counts, sp.csr_matrix(extra)]))


@dataclass(frozen=True)
class CellInputs:
    """The conversion of cells to rows `[counts, size factor, batch]`.

    The model sees such rows through `GeneCounts` and `Conditional`.

    Attributes:
        genes: names of the genes, in the order of training.
        batches: names of the batches, sorted; empty if there is at most one batch.
        target: the median of the size factors.
        shifts: means of the genes' normalised logarithms, for other classifiers.
        scales: their standard deviations, 1 for a gene that never varies.
    """

    genes: tuple[str, ...]
    batches: tuple[str, ...]
    target: float
    shifts: tuple[float, ...]
    scales: tuple[float, ...]

    @classmethod
    def infer(cls, cells: CellRows) -> "CellInputs":
        """Learn names, batches and scales from cells for training.

        Raises:
            DataError: if names of genes are not unique.
        """
        genes = tuple(map(str, cells.genes))
        if len(set(genes)) < len(genes):
            twice = next(g for n, g in enumerate(genes) if g in genes[:n])
            raise DataError(
                f"the gene {twice!r} occurs twice, expected names that are unique: call "
                "adata.var_names_make_unique()"
            )
        batches = [] if cells.batches is None else sorted(set(map(str, cells.batches)))
        target = float(np.median(cells.sizes))
        logs = _normalised(cells.counts, cells.sizes, target)
        mean = np.asarray(logs.mean(0)).ravel()
        square = np.asarray(logs.multiply(logs).mean(0)).ravel()
        deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
        scales = np.where(deviation > 1e-6, deviation, 1.0)
        names = tuple(batches) if len(batches) > 1 else ()
        return cls(genes, names, target, tuple(mean.tolist()), tuple(scales.tolist()))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one encoded row."""
        return (len(self.genes) + 1 + bool(self.batches),)

    @property
    def continuous(self) -> bool:
        """True: cells with the same counts are certainly copies."""
        return True

    @property
    def likelihood(self) -> Likelihood:
        """Counts given the size factor, and given the batch if there are several."""
        counts = GeneCounts(target=self.target)
        if not self.batches:
            return counts
        return Conditional(counts, (Categorical(len(self.batches)),))

    def encode(self, X: Any) -> Tensor:  # noqa: N803
        """Return cells as float32 `[N, G + 1]`, or `[N, G + 2]` if there are batches.

        Genes are found by their names, in any order; genes that training did not have are dropped.

        Raises:
            DataError: if X is not cells, genes are missing, or a batch was not in training.
        """
        if not isinstance(X, CellRows):
            raise DataError(
                f"X is a {type(X).__name__}, but this classifier learnt from cells: give what "
                "pyro_ssl.from_anndata returns"
            )
        genes = len(self.genes)
        found = np.empty((len(X), *self.input_shape), dtype=np.float32)
        found[:, :genes] = self._counts(X).astype(np.float32).toarray()
        found[:, genes] = X.sizes
        if self.batches:
            found[:, -1] = self._codes(X)
        return torch.from_numpy(found)

    def features(self, xs: Tensor, fill: Floats | None = None, logs: bool = True) -> Floats:
        """Return normalised logarithms of encoded cells, standardised, and indicators of batches.

        Args:
            xs: encoded cells, `[N, ...]`.
            fill: not used, since nothing is missing.
            logs: not used.

        Returns:
            `[N, G]`, or `[N, G + B]` if there are batches, float64, clipped to [-10, 10].
        """
        rows = xs.double().cpu().numpy()
        genes = len(self.genes)
        values = np.log1p(rows[:, :genes] * (self.target / rows[:, genes : genes + 1]))
        values = ((values - self.shifts) / self.scales).clip(-_CLIP, _CLIP)
        if not self.batches:
            return values
        return np.concatenate([values, np.eye(len(self.batches))[rows[:, -1].astype(int)]], 1)

    def decode(self, values: Tensor) -> CellRows:
        """Return encoded cells `[N, ...]`, or means of cells, as cells."""
        rows, genes = values.double().cpu().numpy(), len(self.genes)
        names = None
        if self.batches:
            names = np.array(self.batches, dtype=object)[rows[:, -1].astype(int)]
        return CellRows(rows[:, :genes], self.genes, names, rows[:, genes])

    def log_jacobian(self, values: Tensor) -> Floats:
        """Return zeros, `[N]`, since counts have probabilities, not densities."""
        return np.zeros(len(values))

    def to_frame(self) -> pd.DataFrame:
        """Return a table which says that all columns are counts, and the batch a covariate."""
        names, families = list(self.genes), ["count"] * len(self.genes)
        if self.batches:
            names, families = [*names, "batch"], [*families, "covariate categorical"]
        return pd.DataFrame({"column": names, "family": families, "missing": 0.0})

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, for `from_dict`."""
        found = {key: getattr(self, key) for key in _KEYS}
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}
        return {"kind": "cells"} | plain

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "CellInputs":
        """Return the inputs that `to_dict` describes.

        Raises:
            ConfigError: if the state has other keys.
        """
        if set(state) != {"kind", *_KEYS}:
            raise ConfigError(f"the state has the keys {sorted(state)}, expected kind, {_KEYS}")
        found = {key: state[key] for key in _KEYS}
        plain: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
        return cls(**plain)

    def _counts(self, cells: CellRows) -> Any:
        """Return the counts of the genes of training, in the order of training."""
        given = tuple(map(str, cells.genes))
        if given == self.genes:
            return cells.counts
        places = {gene: n for n, gene in enumerate(given)}
        missing = [gene for gene in self.genes if gene not in places]
        if missing:
            raise DataError(
                f"X lacks {len(missing)} of the {len(self.genes)} genes of training, such as "
                f"{missing[:5]}: give cells with these genes, or train on those that all have"
            )
        return cells.counts[:, [places[gene] for gene in self.genes]]

    def _codes(self, cells: CellRows) -> NDArray[np.intp]:
        known = {name: code for code, name in enumerate(self.batches)}
        names = [] if cells.batches is None else list(map(str, cells.batches))
        unknown = sorted(set(names) - set(known))
        if cells.batches is None or unknown:
            raise DataError(
                f"X has {'no batches' if cells.batches is None else f'the batches {unknown[:5]}'}, "
                f"expected {', '.join(self.batches)}, as in training: train on cells of all batches"
            )
        return np.array([known[name] for name in names])


def _normalised(counts: Any, sizes: Floats, target: float) -> Any:
    """Return log(1 + target counts / sizes), sparse."""
    found = sp.csr_matrix(sp.diags(target / sizes) @ counts)
    found.data = np.log1p(found.data)
    return found

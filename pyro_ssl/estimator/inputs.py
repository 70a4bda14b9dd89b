"""A classifier's inputs, as tensors for a model and as features for other classifiers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator.cells import CellInputs, CellRows
from pyro_ssl.estimator.columns import Columns
from pyro_ssl.estimator.families import Families
from pyro_ssl.estimator.images import ArrayInputs, is_array
from pyro_ssl.likelihoods import Likelihood, Multinomial

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class TableInputs:
    """Rows of a table; see `Columns`."""

    columns: Columns

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one encoded row."""
        return (len(self.columns.modelled),)

    @property
    def continuous(self) -> bool:
        """Whether two equal rows are certainly copies, since a column has a density."""
        columns = [column for column in self.columns.columns if not column.covariate]
        return any(column.family in ("real", "positive") for column in columns)

    @property
    def likelihood(self) -> Likelihood:
        """The family of encoded rows."""
        return self.columns.likelihood

    def encode(self, X: Any) -> Tensor:  # noqa: N803
        """Return rows as float32 `[N, C]`, NaN where missing."""
        return torch.from_numpy(self.columns.encode(_dense(X))).float()

    def features(self, xs: Tensor, fill: Floats | None = None, logs: bool = True) -> Any:
        """Return encoded rows as features for other classifiers, `[N, D]`, without NaN.

        Args:
            xs: encoded rows.
            fill: encoded rows that replace missing entries; 0 if None.
            logs: keep the logarithms of the encoding; otherwise use the standardised numbers.
        """
        return self.columns.design(xs.double().cpu().numpy(), fill, logs)

    def decode(self, values: Tensor) -> Any:
        """Return encoded rows as a table of the original kind."""
        return self.columns.decode(values.double().cpu().numpy())

    def log_jacobian(self, values: Tensor) -> Floats:
        """Return log p(raw) - log p(encoded) of encoded rows, `[N]`, in nats."""
        return self.columns.log_jacobian(values.double().cpu().numpy())

    def to_frame(self) -> pd.DataFrame:
        """Return a table of the columns' content."""
        return self.columns.to_frame()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.columns.to_dict()


@dataclass(frozen=True)
class DocumentInputs:
    """Rows of counts in a sparse matrix, each a document of words."""

    words: int
    frequencies: tuple[float, ...]

    @classmethod
    def infer(cls, X: Any) -> "DocumentInputs":  # noqa: N803
        """Count in how many documents each word occurs.

        Raises:
            DataError: if there are numbers that are not counts.
        """
        rows = cls._checked(X)
        occurs = np.asarray((rows > 0).sum(0)).ravel()
        inverse = np.log((1 + rows.shape[0]) / (1 + occurs)) + 1
        return cls(rows.shape[1], tuple(inverse.tolist()))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return (self.words,)

    @property
    def continuous(self) -> bool:
        """True: documents of the same words are certainly copies."""
        return True

    @property
    def likelihood(self) -> Likelihood:
        """A document's words, given how many there are."""
        return Multinomial()

    def encode(self, X: Any) -> Tensor:  # noqa: N803
        """Return counts as float32 `[N, V]`.

        Raises:
            DataError: if there are other numbers than counts, or rows have another length.
        """
        rows = self._checked(X)
        if rows.shape[1] != self.words:
            raise DataError(
                f"X has {rows.shape[1]} features, but this classifier is expecting {self.words} "
                "features as input"
            )
        return torch.from_numpy(rows.toarray().astype(np.float32))

    def features(self, xs: Tensor, fill: Floats | None = None, logs: bool = True) -> Any:
        """Return tf-idf of encoded rows, sparse `[N, V]`, in rows of length 1."""
        rows = sp.csr_matrix(xs.double().cpu().numpy())
        found = sp.csr_matrix(rows.multiply(np.asarray(self.frequencies)))
        norms = np.sqrt(np.asarray(found.multiply(found).sum(1)).ravel())
        return sp.csr_matrix(sp.diags(1 / np.maximum(norms, 1e-12)) @ found)

    def decode(self, values: Tensor) -> Any:
        """Return counts as a sparse matrix."""
        return sp.csr_matrix(values.cpu().numpy())

    def log_jacobian(self, values: Tensor) -> Floats:
        """Return zeros, `[N]`, since counts have probabilities, not densities."""
        return np.zeros(len(values))

    def to_frame(self) -> pd.DataFrame:
        """Return a table which says that all columns are words."""
        columns = list(range(self.words))
        return pd.DataFrame({"column": columns, "family": "word", "missing": 0.0})

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"kind": "documents", "words": self.words, "frequencies": list(self.frequencies)}

    @staticmethod
    def _checked(X: Any) -> Any:  # noqa: N803
        rows = sp.csr_matrix(X)
        if rows.nnz and (rows.data.min() < 0 or (rows.data != np.rint(rows.data)).any()):
            raise DataError(
                "X is sparse and has values that are not counts, expected whole numbers >= 0: give "
                "the counts themselves, or a dense array for columns of real numbers"
            )
        return rows


Inputs = TableInputs | DocumentInputs | ArrayInputs | CellInputs


def infer_inputs(X: Any, columns: Families | None = None) -> Inputs:  # noqa: N803
    """Return how to encode training rows: a table, counts, or images and signals.

    Args:
        X: pandas or polars data frame, 2-D array, or sparse matrix; an array or tensor of images
            `[N, C, H, W]` or of signals `[N, C, T]`; cells.
        columns: families of columns that are known; see `Columns.infer`. Sparse counts are then a
            table, and not documents.

    Raises:
        DataError: if rows are invalid.
        ConfigError: if `columns` are given for images or cells.
    """
    if is_array(X) or isinstance(X, CellRows):
        if columns is not None:
            raise ConfigError(
                f"columns is {columns!r}, but images, signals and cells have none: use columns=None"
            )
        return CellInputs.infer(X) if isinstance(X, CellRows) else ArrayInputs.infer(X)
    if sp.issparse(X):
        # With stated families, columns are not words.
        if are_counts(X) and columns is None:
            return DocumentInputs.infer(X)
        return TableInputs(Columns.infer(_dense(X), columns))
    return TableInputs(Columns.infer(X, columns))


def inputs_from_dict(state: dict[str, Any]) -> Inputs:
    """Return the inputs that `to_dict` describes."""
    if state.get("kind") == "documents":
        return DocumentInputs(state["words"], tuple(state["frequencies"]))
    if state.get("kind") == "cells":
        return CellInputs.from_dict(state)
    if state.get("kind") == "images":
        return ArrayInputs.from_dict(state)
    return TableInputs(Columns.from_dict(state))


def _dense(X: Any) -> Any:  # noqa: N803
    return X.toarray() if sp.issparse(X) else X


def are_counts(X: Any) -> bool:  # noqa: N803
    """Return whether a sparse matrix holds only whole numbers >= 0."""
    data = X.tocsr().data
    whole = bool(len(data)) and bool(np.isfinite(data).all())
    return whole and data.min() >= 0 and bool((data == np.rint(data)).all())

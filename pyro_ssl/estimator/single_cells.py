"""AnnData objects of single cells: their counts as rows, and predictions written back."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator.cells import CellRows
from pyro_ssl.estimator.classifier import SemiSupervisedVAEClassifier

# Chosen on seeds from 100 on of benchmarks.cells.
_TRAINING: dict[str, Any] = {"max_steps": 800, "learning_rate": 5e-3}


def from_anndata(
    adata: Any,
    label_key: str | None = None,
    unlabelled: Any = "Unknown",
    batch_key: str | None = None,
    layer: str | None = None,
    size_key: str | None = None,
) -> "AnnDataRows":
    """Return the cells of an AnnData object for a classifier.

    Use it as follows; other cells with the same genes and batches can be annotated, too::

        cells = pyro_ssl.from_anndata(adata, "cell_type", batch_key="batch", layer="counts")
        classifier = cells.classifier(random_state=0).fit(cells, cells.y)
        cells.write_back(classifier, adata)

    Args:
        adata: an AnnData object, or an object with the same `obs`, `var`, `X`, `layers` and `obsm`.
        label_key: column of `obs` with the labels; None if there are none, only to predict.
        unlabelled: the label of cells without a label; missing labels are unknown too.
        batch_key: column of `obs` with the batches, which encoder and decoder see; None for none.
        layer: key of `layers` with raw counts; None for `X`.
        size_key: column of `obs` with size factors above 0, such as the total count of a cell if
            `adata` has only some genes; None for the sums of the counts.

    Raises:
        ConfigError: if a key does not exist.
        DataError: if counts are not raw, or a cell has no counts, no batch or no size.
    """
    columns = {}
    for name, key in (("label_key", label_key), ("batch_key", batch_key), ("size_key", size_key)):
        if key is not None and key not in adata.obs.columns:
            raise ConfigError(
                f"{name} is {key!r}, expected a column of adata.obs, one of "
                f"{', '.join(map(str, adata.obs.columns)) or 'none'}"
            )
        columns[name] = None if key is None else adata.obs[key]
    counts = _counts(adata, layer)
    names = np.asarray(adata.obs.index, dtype=object)
    batches, sizes = columns["batch_key"], columns["size_key"]
    if batches is not None:
        batches = _batches(batches, names)
    if sizes is None:
        sizes = np.asarray(counts.sum(1)).ravel()
    sizes = np.asarray(sizes, dtype=np.float64)
    bad = ~(np.isfinite(sizes) & (sizes > 0))
    if bad.any():
        what = "no counts" if size_key is None else f"the size {sizes[bad][0]:g}"
        raise DataError(
            f"the cell {names[bad][0]!r} has {what} ({int(bad.sum())} such cells), expected at "
            "least one count: leave such cells out, sc.pp.filter_cells(adata, min_counts=1)"
        )
    labels = _labels(columns["label_key"], unlabelled)
    return AnnDataRows(counts, adata.var.index, batches, sizes, labels, names)


class AnnDataRows(CellRows):
    """The cells of an AnnData object; see `from_anndata`.

    Attributes:
        y: labels `[N]`, None where unknown; None if there are none.
        names: names of the cells, `[N]`.
    """

    def __init__(
        self,
        counts: Any,
        genes: Any,
        batches: Any,
        sizes: Any,
        y: NDArray[Any] | None,
        names: NDArray[Any],
    ) -> None:
        super().__init__(counts, genes, batches, sizes)
        self.y, self.names = y, names

    def classifier(self, **parameters: Any) -> SemiSupervisedVAEClassifier:
        """Return an untrained classifier for cells, with fewer and larger steps than for tables.

        Args:
            parameters: parameters of `SemiSupervisedVAEClassifier` that replace the defaults here.
        """
        return SemiSupervisedVAEClassifier(**_TRAINING | parameters)

    def write_back(self, classifier: Any, adata: Any, key: str = "pyro_ssl") -> None:
        """Write a trained classifier's predictions for these cells into their AnnData object.

        It sets `obs["<key>_label"]`, the most probable label of every cell, a categorical;
        `obs["<key>_probability"]`, its probability; `obsm["<key>_probabilities"]`, those of all
        labels, in the order of the categories; and `obsm["X_<key>"]`, latent means, float32. The
        latents of M2 are independent of its labels: they show how cells of one type differ.
        Together with the probabilities they are a map of all cells.

        Args:
            classifier: the classifier, trained.
            adata: the object that these cells come from, with cells in the same order.
            key: the beginning, or end, of the names.

        Raises:
            DataError: if `adata` has other cells.
        """
        names = np.asarray(adata.obs.index, dtype=object)
        if len(names) != len(self) or (names != self.names).any():
            raise DataError(
                f"adata has {len(names)} cells, which are not the {len(self)} that these rows were "
                "taken from: call from_anndata again"
            )
        probabilities = classifier.predict_proba(self)
        latents = np.asarray(classifier.transform(self), dtype=np.float32)
        labels = classifier.classes_[probabilities.argmax(1)]
        adata.obs[f"{key}_label"] = pd.Categorical(labels, list(classifier.classes_))
        adata.obs[f"{key}_probability"] = probabilities.max(1)
        adata.obsm[f"{key}_probabilities"] = probabilities
        adata.obsm[f"X_{key}"] = latents


def _counts(adata: Any, layer: str | None) -> Any:
    """Return raw counts, sparse `[N, G]`.

    Raises:
        ConfigError: if the layer does not exist.
        DataError: if there are numbers that are not counts.
    """
    if layer is not None and layer not in adata.layers:
        raise ConfigError(
            f"layer is {layer!r}, expected one of adata.layers, "
            f"{', '.join(map(repr, adata.layers)) or 'which has none'}, or None for adata.X"
        )
    given = adata.X if layer is None else adata.layers[layer]
    if given is None:
        raise DataError(f"adata.X is None{_where_counts_are(adata)}")
    found = _sparse(given)
    odd = _no_count(found.data)
    if odd is not None:
        name = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
        raise DataError(
            f"{name} has the value {odd:g}, expected raw counts, whole numbers of at least 0: "
            f"it seems to be normalised{_where_counts_are(adata)}"
        )
    return found


def _where_counts_are(adata: Any) -> str:
    """Return a text for errors: which layer to give."""
    with_counts = [n for n in adata.layers if _no_count(_sparse(adata.layers[n]).data) is None]
    if with_counts:
        return f"; layer={with_counts[0]!r} holds counts"
    if getattr(adata, "raw", None) is not None and _no_count(_sparse(adata.raw.X).data) is None:
        return "; adata.raw holds counts: give adata.raw.to_adata(), with the columns of obs"
    return "; no layer holds counts: read the file of raw counts again"


def _sparse(matrix: Any) -> Any:
    # A matrix in a file that AnnData has opened but not read.
    matrix = matrix.to_memory() if hasattr(matrix, "to_memory") else matrix
    return sp.csr_matrix(matrix if sp.issparse(matrix) else np.asarray(matrix))


def _no_count(data: NDArray[Any]) -> float | None:
    """Return a number that is not a count; None if all are."""
    odd = ~np.isfinite(data) | (data < 0) | (data != np.rint(data))
    return float(data[odd][0]) if odd.any() else None


def _batches(column: pd.Series, names: NDArray[Any]) -> NDArray[Any]:
    missing = column.isna().to_numpy()
    if missing.any():
        raise DataError(
            f"the cell {names[missing][0]!r} has no {column.name!r} ({int(missing.sum())} such "
            "cells), expected a batch for each: name it, or leave such cells out"
        )
    found = column.astype(str).to_numpy(dtype=object)
    if len(set(found)) == 1:
        warnings.warn(
            f"all cells are of the batch {found[0]!r} in {column.name!r}: batches make no "
            "difference",
            stacklevel=3,
        )
    return found


def _labels(column: pd.Series | None, unlabelled: Any) -> NDArray[Any] | None:
    """Return labels, None where unknown."""
    if column is None:
        return None
    values = column.astype(object)
    unknown = values.isna() | (values == unlabelled)
    if not unknown.any():
        warnings.warn(
            f"no cell has the label {unlabelled!r} or a missing one in {column.name!r}: all cells "
            "count as labelled. If others are not, state their marker by unlabelled=...",
            stacklevel=3,
        )
    found: NDArray[Any] = values.where(~unknown, None).to_numpy(dtype=object)
    return found

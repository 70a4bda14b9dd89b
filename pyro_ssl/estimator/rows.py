"""Training rows in an order that depends only on their values, repeated by whole weights."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import _check_sample_weight

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator.cells import CellRows
from pyro_ssl.estimator.images import is_array
from pyro_ssl.estimator.inputs import are_counts
from pyro_ssl.estimator.tables import read_table

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

# Total weight above which rows with whole weights are not repeated.
_MOST_ROWS = 1_000_000
# Pandas' names for types of objects that are all numbers.
_NUMBERS = ("integer", "floating", "mixed-integer-float")


class TrainingRows(NamedTuple):
    """The data that a classifier learns from.

    Attributes:
        X: rows, in an order that depends only on their values.
        codes: their labels as indices in `classes`, -1 where unknown, `[N]`.
        classes: the known labels, sorted, `[K]`.
        weights: weights of the rows, `[N]`, positive.
        groups: numbers that are equal for equal rows with equal labels, `[N]`.
    """

    X: Any
    codes: Codes
    classes: NDArray[Any]
    weights: Floats
    groups: Codes


def training_rows(X: Any, codes: Codes, classes: NDArray[Any], sample_weight: Any) -> TrainingRows:  # noqa: N803
    """Return rows for training, in which a weight of n equals n equal rows, and 0 equals none.

    Rows are sorted by a hash of their values, and rows are repeated if all weights are whole
    numbers. The result then depends neither on the order of rows, nor on whether equal rows were
    repeated or weighted. A common factor of all repeats is left out. Weights that are not whole, or
    whose sum is above a million, stay as they are.

    Args:
        X: rows, a data frame, array or sparse matrix.
        codes: their labels, -1 where unknown, `[N]`.
        classes: the labels of the codes, `[K]`.
        sample_weight: weights `[N]`, not negative; None for ones.

    Raises:
        DataError: if weights are zero for all labelled rows, or for all but one class.
    """
    weights = row_weights(X, sample_weight)
    present = np.unique(codes[(codes >= 0) & (weights > 0)])
    if len(present) < 2:
        left = classes[present].tolist()
        raise DataError(
            f"sample_weight is zero for all labelled rows but those of the classes {left}, "
            "expected positive weights for rows of at least 2 classes"
        )
    order, kept, groups = in_order(X, codes, weights)
    labels = np.where(codes >= 0, np.searchsorted(present, codes), -1)
    return TrainingRows(_safe_indexing(X, order), labels[order], classes[present], kept, groups)


def row_weights(X: Any, sample_weight: Any) -> Floats:  # noqa: N803
    """Return weights of rows, `[N]`, not negative; None stands for ones."""
    found: Floats = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    return found


def in_order(X: Any, labels: NDArray[Any], weights: Floats) -> tuple[Codes, Floats, Codes]:  # noqa: N803
    """Return the order of the rows to learn from, their weights, and numbers of equal rows.

    Args:
        X: rows.
        labels: labels of the rows, `[N]`, of 8 bytes each; equal labels have equal bits.
        weights: weights of the rows.

    Returns:
        Indices of rows, weights, and numbers that are equal for equal rows with equal labels; see
        `training_rows`.
    """
    hashes = row_hashes(X)
    order = np.lexsort((labels, hashes))
    order = order[weights[order] > 0]
    sorted_keys = np.stack([hashes[order], labels[order].view(np.uint64)])
    new = np.r_[True, (sorted_keys[:, 1:] != sorted_keys[:, :-1]).any(0)]
    groups = np.cumsum(new) - 1
    copies = _copies(weights[order], groups)
    if copies is None:
        return order, weights[order], groups
    order, groups = np.repeat(order, copies), np.repeat(groups, copies)
    return order, np.ones(len(order)), groups


def _copies(weights: Floats, groups: Codes) -> Codes | None:
    """Return the number of copies of each row, or None if rows are not to be repeated.

    Args:
        weights: weights of the rows, positive.
        groups: numbers of equal rows, sorted.
    """
    if (weights != np.rint(weights)).any() or weights.sum() > max(_MOST_ROWS, len(weights)):
        return None
    copies = weights.astype(np.int64)
    totals = np.bincount(groups, copies).astype(np.int64)
    common = math.gcd(*totals.tolist())
    if common == 1:
        return copies
    found = np.zeros_like(copies)
    found[np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])] = totals // common
    return found


def row_hashes(X: Any) -> NDArray[np.uint64]:  # noqa: N803
    """Return a hash of each row's values, `[N]`; numbers of any dtype count as float64."""
    if isinstance(X, CellRows):
        X = X.plain()  # noqa: N806
    elif sp.issparse(X) and not are_counts(X):
        X = X.toarray()  # noqa: N806
    if sp.issparse(X):
        rows = sp.csr_matrix(X, dtype=np.float64, copy=True)
        rows.sum_duplicates()
        rows.eliminate_zeros()
        parts = zip(rows.indptr[:-1], rows.indptr[1:], strict=True)
        keys = [rows.indices[a:b].tobytes() + rows.data[a:b].tobytes() for a, b in parts]
        return pd.util.hash_array(np.array([key.hex() for key in keys], dtype=object))
    if is_array(X):
        X = X.reshape(len(X), -1)  # noqa: N806
    columns = {place: _plain(column) for place, column in enumerate(read_table(X).columns)}
    hashes = pd.util.hash_pandas_object(pd.DataFrame(columns), index=False)
    return np.asarray(hashes).astype(np.uint64)


def _plain(column: pd.Series) -> NDArray[Any] | pd.Series:
    """Return numbers as float64, and other entries as they are."""
    if pd.api.types.is_numeric_dtype(column.dtype) or column.dtype == bool:
        # The sign of zero makes no difference.
        return column.to_numpy(dtype=np.float64, na_value=np.nan) + 0.0
    if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) in _NUMBERS:
        return np.array([np.nan if pd.isna(v) else v for v in column], dtype=np.float64) + 0.0
    return column.reset_index(drop=True)


def class_weighted(
    weights: Floats, codes: Codes, classes: NDArray[Any], class_weight: Any
) -> Floats:
    """Return weights of rows, `[N]`; those of labelled rows include the weights of their classes.

    Args:
        weights: weights of the rows, `[N]`.
        codes: their labels, -1 where unknown, `[N]`.
        classes: the labels of the codes, `[K]`.
        class_weight: None, "balanced", or weights by label.

    Raises:
        ConfigError: if `class_weight` is none of these, or lacks a class.
        DataError: if weights are zero for all labelled rows.
    """
    known = codes >= 0
    found = weights.copy()
    if isinstance(class_weight, str) and class_weight == "balanced":
        totals = np.bincount(codes[known], weights[known], len(classes))
        found[known] *= totals.sum() / (len(classes) * totals[codes[known]])
    else:
        found[known] *= class_costs(classes, class_weight)[codes[known]]
    if not (found[known] > 0).any():
        raise DataError("class_weight is zero for all labelled rows: give positive weights")
    return found


def class_costs(classes: NDArray[Any], class_weight: Any) -> Floats:
    """Return the cost of an error in each class, `[K]`; ones if weights only balance the classes.

    Args:
        classes: labels `[K]`.
        class_weight: None, "balanced", or weights by label.

    Raises:
        ConfigError: if it is none of these, or lacks a class.
    """
    if class_weight is None or class_weight == "balanced":
        return np.ones(len(classes))
    expected = f"expected None, 'balanced', or weights >= 0 of labels among {classes.tolist()}"
    if not isinstance(class_weight, Mapping):
        raise ConfigError(f"class_weight is {class_weight!r}, {expected}")
    try:
        found: Floats = compute_class_weight(dict(class_weight), classes=classes, y=classes)
    except ValueError as error:
        raise ConfigError(f"class_weight is {class_weight!r}, {expected}: {error}") from error
    if not (np.isfinite(found) & (found >= 0)).all() or not found.any():
        raise ConfigError(f"class_weight is {class_weight!r}, {expected}, not all zero")
    return found

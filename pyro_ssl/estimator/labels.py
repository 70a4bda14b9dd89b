"""Labels for scikit-learn's classifiers, some of which are unknown."""

import warnings
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import column_or_1d

from pyro_ssl.errors import DataError

# Ways to mark a label as unknown.
_WAYS = "give unknown labels as None, or as -1 in an array of dtype object, or state unlabelled="
# Strings that people often write for an unknown label.
_UNKNOWN = ("", "?", "unknown", "unlabelled", "unlabeled", "missing", "na", "n/a", "none", "nan")
# The string that NumPy writes for a missing label into an array of strings.
_WRITTEN = ("nan", "None", "<NA>", "NaT")


class LabelCodes(NamedTuple):
    """Labels as whole numbers.

    Attributes:
        codes: indices of the labels in `classes_`, -1 where unknown, `[N]`, int64.
        classes_: the distinct known labels, sorted, of the labels' dtype, `[K]`.
    """

    codes: NDArray[np.int64]
    classes_: NDArray[Any]

    @classmethod
    def fit(cls, y: Any, unlabelled: Any = None) -> "LabelCodes":
        """Find the classes among labels; `known_labels` says which labels are unknown.

        Args:
            y: labels `[N]`: numbers, strings, truth values or objects; arrays, lists, series.
            unlabelled: the marker of unknown labels.

        Raises:
            DataError: a ValueError; if there are fewer than two classes, if labels are continuous,
                of several kinds or in several columns, or if strings look like unknown labels.
        """
        known, labels = known_labels(y, unlabelled)
        if labels.dtype.kind == "f":
            _check_whole(labels)
        classes, places = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            hint = ""
            if unlabelled is None and not known.all():
                hint = (
                    ". -1 and missing labels mean unknown: if -1 is a class, relabel it, or state "
                    'another marker, such as unlabelled="Unknown"'
                )
            raise DataError(
                "This classifier needs samples of at least 2 classes in the data, but the data "
                f"contains only one class: {classes[:1].tolist()[0]!r}{hint}"
            )
        codes = np.full(len(known), -1, dtype=np.int64)
        codes[known] = places
        return cls(codes, classes)


def known_labels(y: Any, unlabelled: Any = None) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Return which labels are known, `[N]`, and these labels.

    NaN, None, pd.NA and NaT are unknown. So is the number -1, unless another marker is stated.

    Args:
        y: labels `[N]`.
        unlabelled: the marker of unknown labels, a number or string; -1 is then a class.

    Raises:
        DataError: if there are no labels, none is known, they are of several kinds or columns, or
            if strings look like unknown labels and no marker is stated.
    """
    labels = one_column(y)
    is_label = is_known(labels, unlabelled)
    known = labels[is_label]
    if not len(known):
        raise DataError(
            f"y has no known label among {len(labels)}, expected at least one of each class"
        )
    if known.dtype.kind not in "biufUS":
        known = _of_one_kind(known)
    _check_strings(known, labels, unlabelled)
    return is_label, known


def codes_among(y: Any, classes: NDArray[Any], unlabelled: Any = None) -> NDArray[np.int64]:
    """Return the indices of labels among given classes, -1 where unknown, `[N]`.

    Args:
        y: labels `[N]`, all of which may be unknown; see `known_labels`.
        classes: the classes, sorted, `[K]`.
        unlabelled: the marker of unknown labels.

    Raises:
        DataError: if a label is not among the classes, or labels are invalid.
    """
    labels = one_column(y)
    found = np.full(len(labels), -1, dtype=np.int64)
    if not is_known(labels, unlabelled).any():
        return found
    known, values = known_labels(labels, unlabelled)
    codes = {label: code for code, label in enumerate(classes.tolist())}
    odd = [v for v in dict.fromkeys(values.tolist()) if v not in codes]
    if odd:
        raise DataError(
            f"y has the labels {odd[:5]}, expected some of classes, {classes.tolist()}: give all "
            "labels as classes at the first call"
        )
    found[known] = [codes[v] for v in values.tolist()]
    return found


def is_known(labels: NDArray[Any], unlabelled: Any = None) -> NDArray[np.bool_]:
    """Return which labels, as returned by `one_column`, are known; see `known_labels`."""
    return ~(pd.isna(labels) | _marked(labels, unlabelled))


def one_column(y: Any) -> NDArray[Any]:
    """Return labels as a one-dimensional array, of objects if entries may be missing.

    Raises:
        DataError: if there are no labels, or several columns.
    """
    if y is None:
        raise DataError("The classifier requires y to be passed, but the target y is None")
    if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
        # Gives the warning, and keeps the dtype.
        column_or_1d(np.zeros(y.shape), warn=True)
        y = y.iloc[:, 0]
    if type(y).__module__.startswith("polars"):
        y = y.to_list()
    if isinstance(y, pd.Series | pd.Index):
        plain = isinstance(y.dtype, np.dtype)
        return y.to_numpy() if plain else y.to_numpy(dtype=object)
    found = np.asarray(y)
    if found.dtype.kind in "US" and not isinstance(y, np.ndarray):
        # NumPy would turn missing labels of a list into strings.
        found = np.asarray(y, dtype=object)
    try:
        return column_or_1d(found, warn=True)
    except ValueError as error:
        raise DataError(f"y has shape {found.shape}, expected (N,): {error}") from error


def _marked(labels: NDArray[Any], unlabelled: Any) -> NDArray[np.bool_]:
    """Return which labels equal the marker."""
    marker = -1 if unlabelled is None else unlabelled
    number = isinstance(marker, Number | np.generic) and not isinstance(marker, str)
    if labels.dtype.kind in "iuf":
        return labels == marker if number else np.zeros(len(labels), dtype=bool)
    if labels.dtype.kind in "US":
        return labels.astype(str) == marker if not number else np.zeros(len(labels), dtype=bool)
    same = [not isinstance(v, bool | np.bool_) and _equal(v, marker) for v in labels]
    return np.array(same, dtype=bool)


def _equal(value: Any, marker: Any) -> bool:
    return value is not pd.NA and bool(value == marker)


def _of_one_kind(known: NDArray[Any]) -> NDArray[Any]:
    """Return objects as numbers or truth values if all are; strings stay objects."""
    kind = pd.api.types.infer_dtype(known, skipna=False)
    if kind == "string":
        return known
    if kind in ("integer", "floating", "mixed-integer-float", "boolean"):
        return np.array(known.tolist())
    raise DataError(
        f"Unknown label type: y has labels of several kinds, or of another ({kind}), such as "
        f"{known[:1].tolist()[0]!r}, expected all to be numbers, all strings, or all truth values: "
        "convert them"
    )


def _check_whole(labels: NDArray[Any]) -> None:
    """Check that floating-point labels are whole numbers."""
    if np.isinf(labels).any():
        raise DataError("Input y contains infinity, expected classes, or NaN where unknown")
    other = labels[labels != np.rint(labels)]
    if len(other):
        raise DataError(
            f"Unknown label type: continuous. y has the label {other[0]:g}, expected classes: "
            "whole numbers, strings or truth values; pandas.cut turns numbers into classes"
        )


def _check_strings(known: NDArray[Any], labels: NDArray[Any], unlabelled: Any) -> None:
    """Check that no string was meant to mark an unknown label."""
    if unlabelled is not None or known.dtype.kind not in "USO":
        return
    # A missing label becomes such a string only in an array of strings.
    odd = ("-1", *_WRITTEN) if labels.dtype.kind in "US" else ("-1",)
    for text in odd:
        if (known == text).any():
            raise DataError(
                f"y has dtype string and the label {text!r}, which would be a class: {_WAYS}"
                f"{text!r} if it is unknown; if it is a class, state another marker, such as "
                'unlabelled="Unknown"'
            )
    looks = sorted({text for text in known.tolist() if str(text).strip().lower() in _UNKNOWN})
    if looks:
        warnings.warn(
            f"y has the label {looks[0]!r}, which is taken for a class like the others: if it "
            f"stands for an unknown label, state unlabelled={looks[0]!r}",
            stacklevel=4,
        )

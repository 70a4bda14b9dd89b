"""The rows that a report uses: those given to it, or those that the classifier kept."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from pyro_ssl.errors import DataError
from pyro_ssl.estimator.labels import codes_among

Codes = NDArray[np.int64]

# Largest numbers of rows, and of their values, to limit time and memory.
_ROWS, _VALUES = 1000, 4_000_000
# Smallest number of rows, for any number of values.
_LEAST = 50


class ReportRows(NamedTuple):
    """Rows that a report uses."""

    X: Any
    """The rows, as the classifier's methods take them."""
    codes: Codes
    """Their labels as indices of classes, -1 where unknown, `[N]`."""
    total: int | None
    """Number of rows that they were chosen from; None if it is not known."""
    kept: bool
    """Whether they are rows of the training that the classifier kept."""

    @property
    def source(self) -> str:
        """The origin of the rows, as the end of a sentence."""
        if not self.kept:
            return "from those given to this report"
        return "from those that the classifier kept of its training"


def choose_rows(classifier: Any, X: Any, y: Any, total: int | None) -> ReportRows:  # noqa: N803
    """Return up to 1,000 rows; half of them are labelled if there are enough.

    Args:
        classifier: a fitted classifier.
        X: rows; None for those that the classifier kept.
        y: their labels, `[N]`; None if all are unknown.
        total: number of training rows; None if these are all.

    Raises:
        DataError: if rows or labels are invalid.
    """
    if X is None:
        if y is not None:
            raise DataError("y is given without X: give the rows that the labels belong to")
        xs, codes, _ = classifier._taught
        chosen = _choose(codes, classifier)
        places = torch.from_numpy(chosen)
        # Files hold only labelled rows, or all rows.
        everything = bool((codes < 0).any()) and classifier._unlabelled is None
        known = len(codes) if everything else None
        rows = classifier.inputs_.decode(xs[places])
        return ReportRows(rows, codes[chosen], total or known, True)
    X = classifier._checked(X)  # noqa: N806
    if not X.shape[0]:
        raise DataError("X has no rows, expected at least one: give those of training, or None")
    codes = np.full(X.shape[0], -1, dtype=np.int64)
    if y is not None:
        codes = codes_among(y, classifier.classes_, classifier.unlabelled)
    if len(codes) != X.shape[0]:
        raise DataError(f"y has {len(codes)} labels and X {X.shape[0]} rows, expected as many")
    chosen = _choose(codes, classifier)
    return ReportRows(_safe_indexing(X, chosen), codes[chosen], total or len(codes), False)


def first_rows(rows: ReportRows, count: int) -> Any:
    """Return the first of the rows, which are in random order."""
    return _safe_indexing(rows.X, np.arange(min(count, len(rows.codes))))


def values_of(classifier: Any) -> int:
    """Return the number of values of an encoded row."""
    return math.prod(classifier.inputs_.input_shape)


def _choose(codes: Codes, classifier: Any) -> Codes:
    """Return the indices of the chosen rows, in random order."""
    most = max(_LEAST, min(_ROWS, _VALUES // values_of(classifier)))
    rng = np.random.default_rng(0)
    labelled, others = (rng.permutation(np.flatnonzero(part)) for part in (codes >= 0, codes < 0))
    half = max(most // 2, most - len(others))
    labelled = labelled[:half]
    return rng.permutation(np.r_[labelled, others[: most - len(labelled)]])

"""Real labels, some of which are unknown, and their standardisation."""

from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing, column_or_1d

from pyro_ssl.errors import DataError
from pyro_ssl.estimator.rows import in_order, row_weights

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

# Number of known labels that a scale needs.
_LEAST = 2


@dataclass(frozen=True)
class Scaling:
    """Standardisation of labels.

    Attributes:
        mean: subtracted from labels.
        deviation: divisor of labels, positive.
    """

    mean: float
    deviation: float

    @classmethod
    def fit(cls, ys: Floats, weights: Floats) -> "Scaling":
        """Fit to the mean and standard deviation of the known labels; 1 if all are equal.

        Args:
            ys: labels `[N]`, NaN where unknown.
            weights: weights of the rows, `[N]`.
        """
        known = ~np.isnan(ys)
        mean = float(np.average(ys[known], weights=weights[known]))
        variance = float(np.average((ys[known] - mean) ** 2, weights=weights[known]))
        # For equal labels, rounding may leave a small deviation.
        flat = variance <= (1e-12 * max(1.0, abs(mean))) ** 2
        return cls(mean, 1.0 if flat else variance**0.5)

    def __call__(self, ys: Floats) -> Floats:
        """Return standardised labels."""
        found: Floats = (ys - self.mean) / self.deviation
        return found

    def back(self, values: Floats) -> Floats:
        """Return the labels that standardised `values` stand for."""
        found: Floats = self.mean + self.deviation * values
        return found


class TrainingTargets(NamedTuple):
    """The data that a regressor learns from.

    Attributes:
        X: rows, in an order that depends only on their values.
        ys: labels of the rows `[N]`, float64, NaN where unknown.
        weights: weights of the rows, `[N]`, positive.
        groups: numbers that are equal for equal rows with equal labels, `[N]`.
    """

    X: Any
    ys: Floats
    weights: Floats
    groups: Codes


def real_labels(y: Any) -> Floats:
    """Return labels as float64 `[N]`, NaN where they are unknown: NaN, None or pd.NA.

    Args:
        y: labels `[N]`, numbers; an array, a list, a series or a frame of one column.

    Raises:
        DataError: a ValueError; if there are no labels, or one is not a finite number.
    """
    if y is None:
        raise DataError("The regressor requires y to be passed, but the target y is None")
    if type(y).__module__.startswith("polars"):
        y = y.to_list()
    values: Any = y.to_numpy(dtype=object) if isinstance(y, pd.Series) else np.asarray(y)
    try:
        values = column_or_1d(values, warn=True)
    except ValueError as error:
        raise DataError(f"y has shape {values.shape}, expected (N,): {error}") from error
    if values.dtype.kind == "c":
        raise DataError("Complex data not supported: y is complex, expected real numbers")
    if values.dtype.kind not in "biuf":
        missing = pd.isna(values)
        odd = [v for v in values[~missing].tolist() if not isinstance(v, Real)]
        if odd:
            raise DataError(
                f"Unknown label type: y holds {odd[0]!r}, expected numbers, or NaN or None where "
                "the label is unknown"
            )
        values = np.where(missing, np.nan, values)
    found: Floats = values.astype(np.float64)
    if np.isinf(found).any():
        raise DataError(
            "Input y contains infinity, expected finite numbers, or NaN where the label is unknown"
        )
    return found


def known_pairs(
    y: Any, predicted: Floats, sample_weight: Any
) -> tuple[Floats, Floats, Floats | None]:
    """Return known labels, the predictions for them, and their weights.

    Raises:
        DataError: if no label is known, or the number of labels is not that of rows.
    """
    ys = real_labels(y)
    if len(ys) != len(predicted):
        raise DataError(f"y has {len(ys)} labels, expected {len(predicted)}, one for each row")
    known = ~np.isnan(ys)
    if not known.any():
        raise DataError("y has no known label, expected some to score by")
    weights = None if sample_weight is None else np.asarray(sample_weight)[known]
    return ys[known], predicted[known], weights


def training_targets(X: Any, ys: Floats, sample_weight: Any) -> TrainingTargets:  # noqa: N803
    """Return rows for training, in which a weight of n equals n equal rows; see `training_rows`.

    Args:
        X: rows, a data frame, array or sparse matrix.
        ys: their labels, NaN where unknown, `[N]`.
        sample_weight: weights `[N]`, not negative; None for ones.

    Raises:
        DataError: if fewer than two rows with positive weights have known labels.
    """
    weights = row_weights(X, sample_weight)
    known = int((~np.isnan(ys) & (weights > 0)).sum())
    if known < _LEAST:
        raise DataError(
            f"y has n_samples = {known} known labels of rows with positive weights, expected at "
            f"least {_LEAST}; NaN and None are unknown"
        )
    # A single kind of NaN, and of zero, so that equal labels have equal bits.
    ys = np.where(np.isnan(ys), np.nan, ys) + 0.0
    order, kept, groups = in_order(X, ys, weights)
    return TrainingTargets(_safe_indexing(X, order), ys[order], kept, groups)

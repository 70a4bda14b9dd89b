"""Limits of the axes of figures that compare models over epochs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def later_epochs(curves: "Mapping[str, pd.DataFrame]", rising: bool) -> tuple[float, float]:
    """Return limits that show the last three quarters of the epochs, without far worse models.

    A model is far worse if its last value is six times as far from the best one as the median
    model's: it would flatten the curves of all others.

    Args:
        curves: for each model, `mean`, `low` and `high` over seeds, by epoch.
        rising: whether a higher value is better.
    """
    if not curves:
        return 0.0, 1.0
    sign, worse, better = (1, "low", "high") if rising else (-1, "high", "low")
    ends = np.array([sign * curve["mean"].iloc[-1] for curve in curves.values()])
    kept = ends >= ends.max() - 6 * (ends.max() - np.median(ends))
    starts = np.array([(sign * curve[worse]).quantile(0.25) for curve in curves.values()])
    best = max((sign * curve[better]).max() for curve in curves.values())
    low, high = sorted((sign * starts[kept].min(), sign * best))
    return _with_margin(low, high)


def all_but_spikes(curves: "Mapping[str, pd.DataFrame]") -> tuple[float, float]:
    """Return limits that show all but the peaks of the first two epochs; see `later_epochs`."""
    low = min(curve["low"].min() for curve in curves.values())
    high = max(curve["high"].iloc[2 if len(curve) > 4 else 0 :].max() for curve in curves.values())
    return _with_margin(low, high)


def _with_margin(low: float, high: float) -> tuple[float, float]:
    margin = 0.05 * (high - low) or 0.5
    return float(low - margin), float(high + margin)

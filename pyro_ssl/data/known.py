"""Which labels are known: the one place that says what stands for an unknown label."""

import math

from torch import Tensor


def unknown_of(ys: Tensor) -> float:
    """Return what stands for an unknown label: NaN among floats, -1 among integers."""
    return math.nan if ys.is_floating_point() else -1


def is_known(ys: Tensor) -> Tensor:
    """Return which labels are known, of the shape of `ys`: floats, or integers of at least 0."""
    return ~ys.isnan() if ys.is_floating_point() else ys >= 0


def has_known(ys: Tensor) -> Tensor:
    """Return which rows have a known label, `[N]`; of attributes `[N, L]`, at least one."""
    known = is_known(ys)
    return known.any(-1) if ys.dim() > 1 else known

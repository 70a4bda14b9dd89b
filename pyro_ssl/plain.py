"""Options as plain Python values."""

from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return NumPy's scalars as Python's numbers, also within tuples, lists and dictionaries.

    Without this, `M2(num_classes=ys.max() + 1)` could be saved, but not loaded again. All other
    values are returned unchanged.
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (tuple, list):
        return type(value)(plain(v) for v in value)
    if type(value) is dict:
        return {plain(k): plain(v) for k, v in value.items()}
    return value

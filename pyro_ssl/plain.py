"""Options as plain Python values, whatever numbers the caller computed them with."""

from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return NumPy's scalars as Python's own, also within tuples, lists and dictionaries.

    Files take no others: `M2(num_classes=ys.max() + 1)` could be saved, but not loaded again. All
    else is returned as it is.
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (tuple, list):
        return type(value)(plain(v) for v in value)
    if type(value) is dict:
        return {plain(k): plain(v) for k, v in value.items()}
    return value

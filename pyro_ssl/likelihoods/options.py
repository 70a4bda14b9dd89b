"""Checks of a likelihood's options, which must be Python numbers, and their conversion."""

import math
from typing import Any

import numpy as np
from torch import Tensor

from pyro_ssl.errors import ConfigError


def check_positive(name: str, value: Any, expected: str = "a positive number") -> None:
    """Check that an option is a positive, finite number.

    Raises:
        ConfigError: if it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ConfigError(f"{name} is {value!r}, expected {expected}")


def check_count(name: str, value: Any, least: int) -> None:
    """Check that an option is a whole number of at least `least`.

    Raises:
        ConfigError: if it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}, expected a whole number, at least {least}")


def plain_number(value: Any) -> Any:
    """Return a NumPy or torch scalar as a Python number, a list as a tuple, all else unchanged."""
    if isinstance(value, np.generic) or (
        isinstance(value, (Tensor, np.ndarray)) and not value.ndim
    ):
        return value.item()
    if isinstance(value, (list, tuple)):
        return tuple(plain_number(v) for v in value)
    return value

"""Checks of options; their errors say the option's name, its value, and what was expected."""

import math
from collections.abc import Iterable
from typing import Any

from pyro_ssl.errors import ConfigError


def check_at_least(name: str, value: float, least: int) -> None:
    """Check that an option is at least `least`.

    Raises:
        ConfigError: if it is not.
    """
    if value < least:
        raise ConfigError(f"{name} is {value}, expected at least {least}")


def check_positive(name: str, value: float) -> None:
    """Check that an option is a positive, finite number.

    Raises:
        ConfigError: if it is not.
    """
    if not 0 < value < math.inf:
        raise ConfigError(f"{name} is {value}, expected a positive number")


def check_not_negative(name: str, value: float) -> None:
    """Check that an option is a finite number of at least 0.

    Raises:
        ConfigError: if it is not.
    """
    if not 0 <= value < math.inf:
        raise ConfigError(f"{name} is {value}, expected a finite number >= 0")


def check_one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Check that an option is one of the strings `known`.

    Raises:
        ConfigError: if it is not.
    """
    if value not in (known := tuple(known)):
        raise ConfigError(f"{name} is {value!r}, expected one of {', '.join(known)}")

"""Checks of options of training, each of which raises a ConfigError that names the option."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.annealing import Anneal


def check_all_positive(options: Mapping[str, Any]) -> None:
    """Check that options that are not None are above 0."""
    for name, value in options.items():
        if value is not None and not value > 0:
            raise ConfigError(f"{name} is {value}, expected a positive number")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Check that an option is one of its possible values."""
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}, expected {' or '.join(choices)}")


def check_weights(anneal: Mapping[str, Any], term_weights: Mapping[str, Any]) -> None:
    """Check the options of these names."""
    for key, value in anneal.items():
        if not isinstance(value, Anneal):
            raise ConfigError(f"anneal[{key!r}] is {value!r}, expected an Anneal")
    for key, weight in term_weights.items():
        if not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
            raise ConfigError(f"term_weights[{key!r}] is {weight!r}, expected a finite number >= 0")


def check_expression(name: str, value: str) -> None:
    """Check that an option is a regular expression."""
    try:
        re.compile(value)
    except re.error as error:
        raise ConfigError(
            f"{name} is {value!r}, expected a regular expression, but: {error}"
        ) from error


def check_length(epochs: int, steps: int | None, steps_per_epoch: int | None, default: int) -> None:
    """Check that the length of a run is given once, or twice the same.

    Args:
        epochs: epochs of the run.
        steps: steps of the run; None for `epochs`.
        steps_per_epoch: steps of an epoch; None for one pass over the data.
        default: what `epochs` is unless it is given.
    """
    if steps is None or epochs == default:
        return
    if steps_per_epoch is None or epochs != math.ceil(steps / steps_per_epoch):
        raise ConfigError(
            f"epochs is {epochs} and steps is {steps}, but both are the length of the run: give "
            "one of them"
        )

"""Checks of options of training that depend on each other, or on the model."""

import math
import re

from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.consistency import Consistency
from pyro_ssl.models.base import PyroModel, SSLModel


def check_expression(name: str, value: str) -> None:
    """Raise a ConfigError if the option `name` is no regular expression."""
    try:
        re.compile(value)
    except re.error as error:
        raise ConfigError(
            f"{name} is {value!r}, expected a regular expression, but: {error}"
        ) from error


def check_length(epochs: int, steps: int | None, steps_per_epoch: int | None, default: int) -> None:
    """Check that the length of a run is given once, or twice the same; `default` epochs are not."""
    if steps is None or epochs == default:
        return
    if steps_per_epoch is None or epochs != math.ceil(steps / steps_per_epoch):
        raise ConfigError(
            f"epochs is {epochs} and steps is {steps}, but both are the length of the run: give "
            "one of them"
        )


def check_consistency(consistency: Consistency, model: PyroModel) -> None:
    """Check that a model can have the term `consistency`.

    Raises:
        ConfigError: if it is no classifier, its inputs are no images, or classes cannot be aligned.
    """
    name = type(model).__name__
    if not isinstance(model, SSLModel):
        raise ConfigError(f"consistency is of a classifier q(y|x), which {name} lacks")
    consistency.view.check(model.input_shape)
    if consistency.aligned and (model.multi_label or not hasattr(model, "p_y")):
        raise ConfigError(f"consistency is aligned to p(y), which {name} lacks: use aligned=False")

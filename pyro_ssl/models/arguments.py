"""The arguments that a model was constructed with, read from its attributes."""

import inspect
from typing import Any

from torch import nn

from pyro_ssl.errors import ConfigError
from pyro_ssl.nets.given import GivenNetwork
from pyro_ssl.nets.mlp import MLP


def kept_arguments(model: nn.Module, bases: tuple[type, ...]) -> dict[str, Any]:
    """Return the arguments that construct an equal model, except for its weights.

    Args:
        model: the model, which keeps each argument as an attribute of the same name.
        bases: classes whose own arguments are left out.

    Raises:
        ConfigError: if the model does not keep one of them.
    """
    found = {}
    for name in _argument_names(type(model), bases):
        try:
            value = getattr(model, name)
        except AttributeError as error:
            raise ConfigError(
                f"{type(model).__name__} does not keep its argument {name!r}: let its "
                f"constructor set self.{name} = {name}"
            ) from error
        if isinstance(value, (GivenNetwork, MLP)):
            # The attribute is the network in use; the argument was the user's network, or None.
            value = value.network if isinstance(value, GivenNetwork) else None
        found[name] = value
    return found


def _argument_names(model_class: type, bases: tuple[type, ...]) -> list[str]:
    """Return the names of a constructor's arguments, including those passed on to its bases."""
    names: dict[str, None] = {}
    for cls in model_class.__mro__:
        if cls in bases:
            break
        if "__init__" not in vars(cls):
            continue
        constructor = vars(cls)["__init__"]
        parameters = list(inspect.signature(constructor).parameters.values())[1:]
        kinds = {p.kind for p in parameters}
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        names |= {p.name: None for p in named}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return list(names)

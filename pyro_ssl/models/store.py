"""Names: of models in Pyro's parameter store, and of their parts in state dicts."""

import itertools
from typing import Any
from weakref import WeakValueDictionary

from torch import nn

from pyro_ssl.errors import ConfigError

_counts: "dict[str, itertools.count[int]]" = {}
# Which living model has which name in Pyro's parameter store.
_named: "WeakValueDictionary[str, nn.Module]" = WeakValueDictionary()
# What parts of a model were called in earlier versions, whose state dicts still load.
_FORMER_NAMES = {"trunk.": "image_encoder.", "canvas.": "image_decoder."}


def new_name(model: nn.Module) -> str:
    """Return a name for a model that no other has: its class and a number; it is then taken."""
    kind = type(model).__name__.lower()
    count = _counts.setdefault(kind, itertools.count())
    name = next(n for i in count if (n := f"{kind}_{i}") not in _named)
    _named[name] = model
    return name


def take_name(model: nn.Module, name: str, former: str) -> None:
    """Take a name for a model and let its former one be free again.

    Raises:
        ConfigError: if another model in use has this name, or Pyro could not take it.
    """
    if not name or "$$$" in name:
        raise ConfigError(f"name is {name!r}, expected a string without '$$$', not empty")
    if _named.get(name, model) is not model:
        raise ConfigError(
            f"name is {name!r}, as another {type(_named[name]).__name__} is called: two models "
            "of one name share their parameters. Delete the other one, or choose another name"
        )
    if _named.get(former) is model:
        del _named[former]
    _named[name] = model


def use_present_names(state_dict: dict[str, Any], prefix: str) -> None:
    """Rename, in place, what the state dict of an earlier version calls parts of a model."""
    for former, name in _FORMER_NAMES.items():
        for key in [k for k in state_dict if k.startswith(prefix + former)]:
            state_dict[prefix + name + key[len(prefix + former) :]] = state_dict.pop(key)

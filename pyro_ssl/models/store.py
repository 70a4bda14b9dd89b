"""Names: of models in Pyro's parameter store, and of their parts in state dicts."""

import itertools
import warnings
from typing import Any
from weakref import WeakValueDictionary

import pyro
from torch import nn

from pyro_ssl.errors import ConfigError

_counts: "dict[str, itertools.count[int]]" = {}
# Names in Pyro's parameter store of all models that are alive.
_named: "WeakValueDictionary[str, nn.Module]" = WeakValueDictionary()
# All names that models of this process have had.
_given: set[str] = set()
# Former names of parts of a model: state dicts of earlier versions still load.
_FORMER_NAMES = {"trunk.": "image_encoder.", "canvas.": "image_decoder."}


def new_name(model: nn.Module) -> str:
    """Return a name for a model that no other has, its class and a number, and reserve it."""
    kind = type(model).__name__.lower()
    count = _counts.setdefault(kind, itertools.count())
    name = next(n for i in count if (n := f"{kind}_{i}") not in _named)
    _named[name] = model
    _given.add(name)
    return name


def take_name(model: nn.Module, name: str, former: str) -> None:
    """Give a model a name and release its former one.

    Raises:
        ConfigError: if another model in use has this name, or Pyro cannot use it.
    """
    if not name or "$$$" in name:
        raise ConfigError(f"name is {name!r}, expected a string without '$$$', not empty")
    if _named.get(name, model) is not model:
        raise ConfigError(
            f"name is {name!r}, which another {type(_named[name]).__name__} has: two models "
            "of one name share their parameters. Delete the other one, or choose another name"
        )
    if _named.get(former) is model:
        del _named[former]
    _named[name] = model
    _given.add(name)


def warn_of_unread_parameters(model: nn.Module, own: str) -> None:
    """Warn if Pyro's parameter store holds parameters of this model that it has not taken over.

    This is the case after the store was read from a file: until the model takes the parameters
    over, or forever if they have another name.

    Args:
        model: the model.
        own: the model's name.
    """
    learned = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    path, parameter = next(learned, ("", None))
    found = {}
    for key, value in pyro.get_param_store().named_parameters():
        # Parts of a model that are registered on their own have the "$$$" further on.
        flat = key.replace("$$$", ".", 1)
        if parameter is not None and flat.endswith(f".{path}") and value.shape == parameter.shape:
            found[flat.removesuffix(f".{path}")] = value
    if own in found and found[own] is not parameter:
        _warn(f"parameters named {own!r} that are not this model's own: copy them into it by")
        return
    for name, value in found.items():
        living = _named.get(name)
        theirs = None if living is None else dict(living.named_parameters()).get(path)
        owned = name in _given if living is None else theirs is value
        if not owned:
            _warn(
                f"parameters named {name!r} that no model here has. If they are this model's, name "
                f"it by m.named({name!r}), and copy them into it by"
            )
            return


def _warn(what: str) -> None:
    warnings.warn(
        f"Pyro's parameter store holds {what} pyro.module(m.param_name, m, "
        "update_module_params=True); otherwise clear the store, pyro.clear_param_store()",
        stacklevel=5,
    )


def use_present_names(state_dict: dict[str, Any], prefix: str) -> None:
    """Rename, in place, parts of a model in the state dict of an earlier version."""
    for former, name in _FORMER_NAMES.items():
        for key in [k for k in state_dict if k.startswith(prefix + former)]:
            state_dict[prefix + name + key[len(prefix + former) :]] = state_dict.pop(key)

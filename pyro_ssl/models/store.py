"""Names: of models in Pyro's parameter store, and of their parts in state dicts."""

import itertools
import warnings
from typing import Any
from weakref import WeakValueDictionary

import pyro
from torch import nn

from pyro_ssl.errors import ConfigError

_counts: "dict[str, itertools.count[int]]" = {}
# Which living model has which name in Pyro's parameter store.
_named: "WeakValueDictionary[str, nn.Module]" = WeakValueDictionary()
# All names that models of this process have had.
_given: set[str] = set()
# What parts of a model were called in earlier versions, whose state dicts still load.
_FORMER_NAMES = {"trunk.": "image_encoder.", "canvas.": "image_decoder."}


def new_name(model: nn.Module) -> str:
    """Return a name for a model that no other has: its class and a number; it is then taken."""
    kind = type(model).__name__.lower()
    count = _counts.setdefault(kind, itertools.count())
    name = next(n for i in count if (n := f"{kind}_{i}") not in _named)
    _named[name] = model
    _given.add(name)
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
    _given.add(name)


def warn_of_unread_parameters(model: nn.Module, own: str) -> None:
    """Warn if Pyro's parameter store holds parameters that this model should have, and has not.

    That is so after the store was read from a file, until they are put into the model, and for good
    if they have another name.

    Args:
        model: the model.
        own: its name.
    """
    learned = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    path, parameter = next(learned, ("", None))
    found = {}
    for key, value in pyro.get_param_store().named_parameters():
        # Parts of a model that are registered on their own have the "$$$" further down.
        flat = key.replace("$$$", ".", 1)
        if parameter is not None and flat.endswith(f".{path}") and value.shape == parameter.shape:
            found[flat.removesuffix(f".{path}")] = value
    if own in found and found[own] is not parameter:
        _warn(f"parameters of {own!r} that are not this model's own: put them into it by")
        return
    for name, value in found.items():
        living = _named.get(name)
        theirs = None if living is None else dict(living.named_parameters()).get(path)
        owned = name in _given if living is None else theirs is value
        if not owned:
            _warn(
                f"parameters of {name!r} that no model here has. If they are this model's, name it "
                f"by m.named({name!r}), and put them into it by"
            )
            return


def _warn(what: str) -> None:
    warnings.warn(
        f"Pyro's parameter store holds {what} pyro.module(m.param_name, m, "
        "update_module_params=True); otherwise clear the store, pyro.clear_param_store()",
        stacklevel=5,
    )


def use_present_names(state_dict: dict[str, Any], prefix: str) -> None:
    """Rename, in place, what the state dict of an earlier version calls parts of a model."""
    for former, name in _FORMER_NAMES.items():
        for key in [k for k in state_dict if k.startswith(prefix + former)]:
            state_dict[prefix + name + key[len(prefix + former) :]] = state_dict.pop(key)

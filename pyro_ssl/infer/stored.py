"""The form in which files hold a model's class and options, and its inverse.

Files hold plain values, tensors, and likelihoods as the name and the numbers of their family. Any
other option of a model (a network, an object of the user's class) is stored as a marker with the
name of its class, and must be given again at load. Nothing in a file's names is imported or run.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pyro_ssl import models
from pyro_ssl.errors import CheckpointError, ConfigError, one_line
from pyro_ssl.infer.restoring import same
from pyro_ssl.likelihoods import Likelihood, as_likelihood, likelihood_from_dict
from pyro_ssl.models.base import PyroModel
from pyro_ssl.plain import plain

# The key of a marker; its value is the name of a class.
_GIVEN = "to be given again, a"
# The key for a likelihood's family among its numbers.
_FAMILY = "family"
_PLAIN = (type(None), bool, int, float, str, bytes, Tensor, nn.Parameter, torch.dtype)


def stored_options(model: PyroModel) -> dict[str, Any]:
    """Return a model's options in the form of files: plain values, and markers for all others."""
    return stored(model.options)


def stored(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options in that form; of nested options, those that are None are left out."""
    return {name: _stored(name, value) for name, value in options.items()}


def given_again(model: PyroModel) -> list[str]:
    """Return the names of a model's options that no file holds: they must be given at load."""
    stored = stored_options(model).items()
    return [name for name, value in stored if not _is_held(value) or _is_of_users_family(value)]


def check_storable(model: PyroModel) -> None:
    """Check that a model can be constructed again from the options in its file.

    Raises:
        ConfigError: naming the option, or the class, that prevents it.
    """
    name = type(model).__name__
    if name in models.__all__ and type(model) is not getattr(models, name):
        raise ConfigError(f"the class {name} has the name of a model of the library: rename it")
    options = model.options
    for option, value in options.items():
        if not _is_held(_stored(option, value)) and not _can_be_given(value):
            raise ConfigError(
                f"{option} of the {name} is {value!r}, which no file can hold: use numbers, "
                "strings, tuples of these, or an object (such as a network) as the option's value"
            )
    in_file = stored_options(model)
    given = {name: copy.deepcopy(options[name]) for name in given_again(model)}
    try:
        with torch.random.fork_rng(devices=[]):
            again = type(model)(**restored_options(copy.deepcopy(in_file), given))
        states = [m.state_dict().items() for m in (model, again)]
        shapes = [{k: getattr(v, "shape", None) for k, v in state} for state in states]
        alike = same(stored_options(again), in_file) and shapes[0] == shapes[1]
        reason = "its options give another model"
    except Exception as error:
        # A constructor may raise any error, and would raise it again at load.
        alike, reason = False, one_line(error)
    if not alike:
        raise ConfigError(
            f"a file of the {name} could not be loaded again: {reason}. Its constructor has to "
            "keep each argument as an attribute of the same name, and may pass **options on to "
            f"its base class; otherwise override the property `options` (now: "
            f"{', '.join(options)})"
        )


def class_named(name: str, given: type[PyroModel] | None) -> type[PyroModel]:
    """Return the class of a stored model: the given one, or the library's of that name.

    Raises:
        CheckpointError: if the given class is not a model's class or has another name, or if none
            is given and the library has no model of that name.
    """
    if given is not None:
        if not (isinstance(given, type) and issubclass(given, PyroModel)):
            raise CheckpointError(f"model_class is not a model's class, expected the file's {name}")
        if given.__name__ != name:
            raise CheckpointError(f"model_class is {given.__name__}, but the file holds a {name}")
        return given
    found = getattr(models, name) if name in models.__all__ else None
    if not (isinstance(found, type) and issubclass(found, PyroModel)):
        raise CheckpointError(
            f"the file holds a {name}, which is not a model of this library: pass its class, "
            f"load_model(path, model_class={name})"
        )
    return found


def restored_options(options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options to construct a model with: the stored ones, and given ones for markers.

    Raises:
        ConfigError: naming an option that is missing, of another class, or not one to give.
        CheckpointError: naming a likelihood of a family that is not registered.
    """
    kinds = {k: v.get(_GIVEN, v.get(_FAMILY)) for k, v in options.items() if _may_be_given(v)}
    for name, value in given.items():
        if name not in kinds:
            known = ", ".join(kinds) or "none"
            raise ConfigError(f"{name} is not to be given: the file asks for {known}")
        if type(value).__name__ != kinds[name]:
            raise ConfigError(
                f"{name} is a {type(value).__name__}, but was a {kinds[name]} when it was saved"
            )
    return {k: given[k] if k in given else _restored(k, v) for k, v in options.items()}


def _restored(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if _GIVEN in value:
        kind = value[_GIVEN]
        raise ConfigError(
            f"{name} was a {kind}, which the file does not hold: pass one of the same shape, "
            f"load_model(path, {name}={kind}(...)); its weights come from the file"
        )
    if _FAMILY in value:
        try:
            return likelihood_from_dict(dict(value))
        except (ConfigError, TypeError) as error:
            raise CheckpointError(f"{name} cannot be read: {error}") from error
    return {k: _restored(k, v) for k, v in value.items()}


def _stored(name: str, value: Any) -> Any:
    if isinstance(value, Likelihood):
        return value.to_dict()
    if name == "likelihood" and isinstance(value, str):
        return as_likelihood(value).to_dict()
    if isinstance(value, Mapping):
        return {k: v for k, v in stored(value).items() if v is not None}
    value = tuple(value) if isinstance(value, torch.Size) else plain(value)
    return value if _is_plain(value) else {_GIVEN: type(value).__name__}


def _is_held(value: Any) -> bool:
    """Return whether neither a stored option nor any nested one is a marker."""
    if isinstance(value, dict):
        return _GIVEN not in value and all(_is_held(v) for v in value.values())
    return True


def _is_of_users_family(value: Any) -> bool:
    """Return whether a stored option is a likelihood that the library cannot make."""
    if not (isinstance(value, dict) and _FAMILY in value):
        return False
    try:
        likelihood_from_dict(dict(value))
    except (ConfigError, TypeError):
        return True
    return False


def _is_plain(value: Any) -> bool:
    # An instance of a subclass of Python's own types would be stored with the subclass's name.
    if type(value) in (list, tuple):
        return all(_is_plain(v) for v in value)
    if type(value) is dict:
        return all(_is_plain(v) for pair in value.items() for v in pair)
    return type(value) in _PLAIN


def _can_be_given(value: Any) -> bool:
    """Return whether a value's class is neither one of Python's nor one of NumPy's."""
    return type(value).__module__.partition(".")[0] not in ("builtins", "numpy")


def _may_be_given(value: Any) -> bool:
    return isinstance(value, dict) and (_GIVEN in value or _FAMILY in value)

"""A model's options as plain data, which a checkpoint holds, and back."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.likelihoods import Likelihood, as_likelihood, likelihood_from_dict

# The key by which a likelihood, or a network that was given, is known among plain data.
_FAMILY = "family"
_NETWORK = "given network"


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with likelihoods as their names and numbers, and networks as their names.

    The weights of a network are in the state dict; what it is must be given again at load. Options
    within options are left out where they are None.
    """
    return {name: _plain(name, value) for name, value in options.items()}


def options_from_plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that `plain_options` was called on; nothing in them is run.

    Raises:
        CheckpointError: if a network must be given again, or a likelihood is not known.
    """
    return {name: _from_plain(name, value) for name, value in options.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, nn.Module):
        return {_NETWORK: type(value).__name__}
    if isinstance(value, Likelihood):
        return value.to_dict()
    if name == "likelihood" and isinstance(value, str):
        return as_likelihood(value).to_dict()
    if isinstance(value, Mapping):
        return {k: v for k, v in plain_options(value).items() if v is not None}
    return value


def _from_plain(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if _NETWORK in value:
        raise CheckpointError(
            f"{name} was a {value[_NETWORK]}, a network that was given to the model and that the "
            f"file does not hold: load it by load_model(path, options={{{name!r}: network}})"
        )
    if _FAMILY in value:
        try:
            return likelihood_from_dict(dict(value))
        except (ConfigError, TypeError) as error:
            raise CheckpointError(f"{name} cannot be read: {error}") from error
    return options_from_plain(value)

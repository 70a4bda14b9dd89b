"""A classifier's models and parameters in files."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.estimator.as_json import decoded, encoded
from pyro_ssl.estimator.warm_start import set_state
from pyro_ssl.infer.stored import (
    check_storable,
    class_named,
    restored_options,
    stored,
    stored_options,
)
from pyro_ssl.models.base import PyroModel

# Keys of parameters that are a model or its class.
_CLASS, _INSTANCE = "model class", "model"


def stored_model(models: Sequence[PyroModel]) -> dict[str, Any]:
    """Return class and options of models of one kind as JSON values.

    Raises:
        ConfigError: naming what prevents restoring the model from them.
    """
    check_storable(models[0])
    return {
        "class": type(models[0]).__name__,
        "options": encoded("an option of the model", stored_options(models[0])),
        "count": len(models),
    }


def restored_models(
    state: Mapping[str, Any],
    arrays: Mapping[str, Any],
    model_class: type[PyroModel] | None,
    objects: Mapping[str, Any],
    name: str,
) -> list[Any]:
    """Return models with their weights, in evaluation mode.

    Args:
        state: what `stored_model` returned.
        arrays: parameters and buffers, under `model/NUMBER/NAME`.
        model_class: the class, if it is not the library's.
        objects: objects that the models' options need besides plain values.
        name: name of the classifier's class, for errors.

    Raises:
        CheckpointError: if class, options or weights cannot be restored.
        ConfigError: naming an object that is missing, or that must not be given.
    """
    there = {key.split("/")[1] for key in arrays if key.startswith("model/")}
    if state["count"] != len(there) or not there:
        raise CheckpointError(f"there are weights of {len(there)} models, not {state['count']!r}")
    try:
        kind = class_named(state["class"], model_class)
        options = decoded(state["options"])
        models = [
            kind(**restored_options(options, copy.deepcopy(dict(objects))))
            for _ in range(state["count"])
        ]
    except (CheckpointError, ConfigError) as error:
        raise type(error)(str(error).replace("load_model(", f"{name}.load(")) from error
    for number, model in enumerate(models):
        model.double().eval()
        head = f"model/{number}/"
        own = {k.removeprefix(head): v for k, v in arrays.items() if k.startswith(head)}
        set_state(model, {k: torch.from_numpy(np.asarray(v)) for k, v in own.items()})
    return models


def stored_parameters(classifier: Any) -> dict[str, Any]:
    """Return a classifier's parameters as JSON values.

        A generator of random numbers is stored as the seed that was drawn from it.

    Raises:
        ConfigError: naming a parameter that cannot be stored.
    """
    found = {}
    for name, value in classifier.get_params(deep=False).items():
        if isinstance(value, PyroModel):
            found[name] = {_INSTANCE: type(value).__name__}
        elif isinstance(value, type) and issubclass(value, PyroModel):
            found[name] = {_CLASS: value.__name__}
        elif isinstance(value, np.random.RandomState | np.random.Generator):
            found[name] = classifier._seed
        else:
            options = name == "model_options" and value is not None
            found[name] = encoded(name, _stored_options(value) if options else value)
    return found


def _stored_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as files hold them, with arrays as the tuples that models make of them."""
    arrays = {k: tuple(v.tolist()) for k, v in options.items() if isinstance(v, np.ndarray)}
    return stored({**options, **arrays})


def restored_parameters(
    state: Mapping[str, Any], model: PyroModel, objects: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a classifier's parameters.

    Args:
        state: what `stored_parameters` returned.
        model: one of the models, for a parameter that is a model or a class.
        objects: objects among the model's options.
    """
    found: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, dict) and value.keys() == {_INSTANCE}:
            found[name] = model
        elif isinstance(value, dict) and value.keys() == {_CLASS}:
            found[name] = type(model)
        else:
            found[name] = decoded(value)
    if found.get("model_options") is not None:
        options = found["model_options"]
        own = {k: v for k, v in objects.items() if k in options}
        found["model_options"] = restored_options(options, own)
    return found

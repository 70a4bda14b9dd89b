"""Checks whether a fit can continue from an earlier one, and the weights that it takes over."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_ssl.estimator.inputs import Inputs, TableInputs
from pyro_ssl.estimator.model_choice import make_model
from pyro_ssl.infer.stored import stored_options


def state_of(model: torch.nn.Module) -> dict[str, Tensor]:
    """Return a model's parameters and buffers, including those that `state_dict` leaves out."""
    each = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach() for name, tensor in each}


def set_state(model: torch.nn.Module, state: dict[str, Tensor]) -> None:
    """Copy what `state_of` returned into a model.

    Raises:
        ValueError: if names or shapes differ from the model's.
    """
    own = state_of(model)
    differing = [k for k in own.keys() | state.keys() if _shape(own, k) != _shape(state, k)]
    if differing:
        raise ValueError(f"the model has another {', '.join(sorted(differing))}")
    for name, tensor in own.items():
        tensor.copy_(state[name])


def _shape(state: dict[str, Tensor], name: str) -> Any:
    return tuple(state[name].shape) if name in state else None


def changed_data(one: Any, inputs: Inputs, classes: NDArray[Any]) -> str:
    """Return how classes or inputs differ from those of an earlier fit; empty if they do not."""
    if not np.array_equal(classes, one.classes_):
        return f"the classes are {classes.tolist()}, were {one.classes_.tolist()}"
    if not (isinstance(inputs, TableInputs) and isinstance(one.inputs_, TableInputs)):
        names = [
            (getattr(i, "genes", ()), getattr(i, "batches", ())) for i in (inputs, one.inputs_)
        ]
        if names[0] != names[1]:
            return "X has other genes or batches"
        shapes = [(type(i).__name__, i.input_shape) for i in (inputs, one.inputs_)]
        return "" if shapes[0] == shapes[1] else "X has other columns"
    new, old = inputs.columns.columns, one.inputs_.columns.columns
    if [c.name for c in new] != [c.name for c in old]:
        return "X has other columns"
    for now, then in zip(new, old, strict=True):
        if (now.family, now.covariate) != (then.family, then.covariate):
            return f"column {now.name!r} is {now.stated}, was {then.stated}: state it in columns"
        if now.categories != then.categories:
            return f"column {now.name!r} has other categories"
    return ""


def changed_model(one: Any, inputs: Inputs, classes: NDArray[Any]) -> str:
    """Return how the models' options differ from those of an earlier fit; empty if they do not."""
    if one.members != len(one.models_):
        return f"members is {one.members}, was {len(one.models_)}"
    options = dict(one.model_options or {})
    new = make_model(
        one.model, inputs.input_shape, len(classes), inputs.likelihood, options, seed=0
    )
    old = one.model_
    if type(new) is not type(old):
        return f"the model is {type(new).__name__}, was {type(old).__name__}"
    now, then = stored_options(new), stored_options(old)
    differing = [k for k in now if str(now[k]) != str(then[k])]
    if differing:
        return f"the model has another {', '.join(differing)}"
    shapes = [{k: t.shape for k, t in state_of(m).items()} for m in (new, old)]
    return "" if shapes[0] == shapes[1] else "the model's networks have other shapes"

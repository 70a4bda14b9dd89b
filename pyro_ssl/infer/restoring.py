"""Checks of a file's content before a run or a model is restored: it may hold anything."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pyro_ssl.errors import CheckpointError
from pyro_ssl.reading import REMEDY

# The state that an optimiser keeps for each parameter, besides the number of steps.
_KEPT: dict[type[Optimizer], tuple[str, ...]] = {
    torch.optim.Adam: ("exp_avg", "exp_avg_sq"),
    torch.optim.AdamW: ("exp_avg", "exp_avg_sq"),
    torch.optim.RMSprop: ("square_avg",),
}


def check_rows(rows: Any, name: str) -> None:
    """Check that a history is a list of mappings from names to plain values.

    Raises:
        CheckpointError: if it is not.
    """
    plain = (type(None), int, float, str)
    if not isinstance(rows, list) or not all(
        isinstance(row, dict)
        and all(isinstance(k, str) and isinstance(v, plain) for k, v in row.items())
        for row in rows
    ):
        raise CheckpointError(f"{name} is not a list of rows of plain values: {REMEDY}")


def check_optimiser(optimiser: Optimizer) -> None:
    """Check that the state given to an optimiser suits its parameters.

    Raises:
        CheckpointError: naming what differs in the state of a parameter.
    """
    parameters = {p for group in optimiser.param_groups for p in group["params"]}
    names = next(kept for kind, kept in _KEPT.items() if isinstance(optimiser, kind))
    for parameter, state in optimiser.state.items():
        if parameter not in parameters:
            raise CheckpointError(f"the optimiser has a state without a parameter: {REMEDY}")
        shapes = dict.fromkeys(names, parameter.shape) | {"step": torch.Size()}
        found = {k: v.shape if isinstance(v, Tensor) else None for k, v in state.items()}
        if found != shapes:
            raise CheckpointError(
                f"the optimiser keeps {found} of a parameter, expected {shapes}: {REMEDY}"
            )


def same(one: Any, other: Any) -> bool:
    """Return whether two options are equal, including tensors and NaN."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        both = isinstance(one, Tensor) and isinstance(other, Tensor)
        return both and one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu())
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if type(one) is type(other) and isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)

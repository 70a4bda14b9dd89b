"""Checks of what a file says, before a run or a model is made of it: it may say anything."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pyro_ssl.errors import CheckpointError, PyroSSLError, one_line
from pyro_ssl.json_files import REMEDY

# What an optimiser keeps of each parameter, besides the number of steps.
_KEPT: dict[type[Optimizer], tuple[str, ...]] = {
    torch.optim.Adam: ("exp_avg", "exp_avg_sq"),
    torch.optim.AdamW: ("exp_avg", "exp_avg_sq"),
    torch.optim.RMSprop: ("square_avg",),
}


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn every error of using a file's content into one that names the file.

    Raises:
        CheckpointError: in place of all errors but those of this library; of its own kind with the
            path before the text.
    """
    try:
        yield
    except CheckpointError as error:
        if str(path) in str(error):
            raise
        raise CheckpointError(f"{path}: {error}") from error
    except PyroSSLError:
        raise
    except Exception as error:
        # What is made of tampered values may raise any error.
        raise CheckpointError(
            f"{path} is damaged, foreign, or of another version of the library "
            f"({type(error).__name__}: {one_line(error)}): {REMEDY}"
        ) from error


def check_kinds(values: Any, kinds: Mapping[str, Any], name: str) -> None:
    """Check that a mapping has values of the kinds that it should have; others do not matter.

    Args:
        values: the mapping.
        kinds: the type of each value, or a tuple of types, as for `isinstance`.
        name: what the mapping is called in errors.

    Raises:
        CheckpointError: naming what is missing or of another kind.
    """
    if not isinstance(values, dict):
        raise CheckpointError(f"{name} is a {type(values).__name__}, expected a dict: {REMEDY}")
    if missing := [key for key in kinds if key not in values]:
        raise CheckpointError(f"{name} lacks {', '.join(missing)}: {REMEDY}")
    for key, kind in kinds.items():
        value = values[key]
        # Python's truth values are whole numbers, too.
        is_truth = isinstance(value, bool) and kind is not bool
        if not isinstance(value, kind) or is_truth:
            raise CheckpointError(
                f"{name} has {key} = {value!r:.100}, of a kind that it cannot have: {REMEDY}"
            )


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
        raise CheckpointError(f"{name} is no list of rows of plain values: {REMEDY}")


def check_optimiser(optimiser: Optimizer) -> None:
    """Check that the state that an optimiser was given suits its parameters.

    Raises:
        CheckpointError: naming what the state of a parameter has otherwise.
    """
    parameters = {p for group in optimiser.param_groups for p in group["params"]}
    names = next(kept for kind, kept in _KEPT.items() if isinstance(optimiser, kind))
    for parameter, state in optimiser.state.items():
        if parameter not in parameters:
            raise CheckpointError(f"the optimiser has a state of no parameter: {REMEDY}")
        shapes = dict.fromkeys(names, parameter.shape) | {"step": torch.Size()}
        found = {k: v.shape if isinstance(v, Tensor) else None for k, v in state.items()}
        if found != shapes:
            raise CheckpointError(
                f"the optimiser keeps {found} of a parameter, expected {shapes}: {REMEDY}"
            )


def same(one: Any, other: Any) -> bool:
    """Return whether two options are equal, tensors and NaN among them."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        both = isinstance(one, Tensor) and isinstance(other, Tensor)
        return both and one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu())
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if type(one) is type(other) and isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)

"""Members and options of an ensemble, and checks that its models can be trained together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pyro_ssl.data.known import has_known, unknown_of
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.annealing import Anneal
from pyro_ssl.models.base import PyroModel
from pyro_ssl.nets.modes import frozen_parts
from pyro_ssl.option_kinds import Count, NotNegative, Positive, Range, Size
from pyro_ssl.options import check_fields

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Member:
    """The rows that one model of an ensemble learns from, by index.

    Attributes:
        labelled: rows whose labels the model sees; may be empty.
        unlabelled: rows that the model sees without labels; may be empty.
        weights: weights of all rows, `[N]`: a row is drawn in proportion to its weight among those
            of its kind. None to draw in passes over all rows.
    """

    labelled: Rows
    unlabelled: Rows
    weights: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True)
class EnsembleConfig:
    """Options of an ensemble's training.

    The step size is constant until `measure` stops rising, and then falls to 0 along a half cosine.

    Attributes:
        max_steps: largest number of steps, including the fall of the step size.
        min_steps: number of steps before which the step size does not begin to fall, unless
            `max_steps` leaves too little room for the fall.
        check_every: steps between two calls of `measure`.
        patience: number of calls of `measure` without a new highest value, after which the step
            size begins to fall.
        decay: number of steps of that fall, as a share of the steps before it.
        batch_size: unlabelled rows per step and member.
        labelled_batch_size: labelled rows per step and member.
        learning_rate: Adam's step size.
        weight_decay: AdamW's weight decay.
        anneal: as in `FitConfig`, over the first steps.
        seed: seed of minibatches and noise.

    Raises:
        ConfigError: if an option is out of range.
    """

    max_steps: Count = 1500
    min_steps: Annotated[int, Range(0)] = 400
    check_every: Count = 100
    patience: Count = 3
    decay: NotNegative = 0.5
    batch_size: Size = 64
    labelled_batch_size: Size = 64
    learning_rate: Positive = 3e-3
    weight_decay: NotNegative = 1e-4
    anneal: dict[str, Anneal] = field(default_factory=dict)
    seed: Annotated[int, Range(0)] = 0

    def __post_init__(self) -> None:
        check_fields(self)


def check_alike(models: Sequence[PyroModel]) -> None:
    """Check that models can be trained as one: models of one class with equal options.

    Raises:
        ConfigError: naming what differs.
    """
    kinds = {type(model).__name__: type(model) for model in models}
    if len({*kinds.values()}) > 1:
        raise ConfigError(
            f"models are of several classes, {', '.join(sorted(kinds))}: an ensemble is of one"
        )
    first = models[0].options
    parameters, frozen = _kinds_of_parameters(models[0]), _frozen_names(models[0])
    for number, model in enumerate(models[1:], 1):
        differing = [k for k, v in model.options.items() if not _same(v, first[k])]
        if differing:
            raise ConfigError(
                f"models 0 and {number} differ in {', '.join(differing)}: models of an ensemble "
                "have equal options"
            )
        if _frozen_names(model) != frozen:
            raise ConfigError(
                f"models 0 and {number} differ in what is frozen, in evaluation mode without a "
                "parameter that is trained: freeze the same parts of all models"
            )
        if _kinds_of_parameters(model) != parameters:
            raise ConfigError(
                f"parameters of models 0 and {number} differ in shape, dtype, device, or in which "
                "are trained: convert or freeze those of all models alike"
            )
    owned = [id(parameter) for model in models for parameter in model.parameters()]
    if len(set(owned)) < len(owned):
        raise ConfigError("models of an ensemble share parameters: give each networks of its own")


def _kinds_of_parameters(model: PyroModel) -> list[tuple[Any, ...]]:
    return [(n, p.shape, p.dtype, p.device, p.requires_grad) for n, p in model.named_parameters()]


def _frozen_names(model: PyroModel) -> list[str]:
    frozen = frozen_parts(model)
    return [name for name, part in model.named_modules() if part in frozen]


def _same(one: Any, other: Any) -> bool:
    """Return whether options are equal; for networks, whether they are of the same class."""
    if type(one) is not type(other):
        return False
    if isinstance(one, nn.Module):
        # The weights of networks may differ, as those of models.
        return str(one) == str(other)
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(v, other[k]) for k, v in one.items())
    return bool(one == other)


def check_members(members: Sequence[Member], ys: Tensor, num_models: int) -> None:
    """Check that each model has rows, that these exist, and that labelled rows have labels.

    Raises:
        ConfigError: naming the member and what is wrong with its rows.
    """
    if not num_models or num_models != len(members):
        raise ConfigError(
            f"there are {num_models} models and {len(members)} members: give one for each"
        )
    known = has_known(ys).cpu().numpy()
    for number, member in enumerate(members):
        rows = np.concatenate([member.labelled, member.unlabelled]).astype(np.int64)
        if not len(rows):
            raise ConfigError(f"member {number} of an ensemble has no rows")
        if rows.min() < 0 or rows.max() >= len(known):
            raise ConfigError(
                f"member {number} has rows {rows.min()} to {rows.max()}, but there are rows 0 to "
                f"{len(known) - 1}"
            )
        if not known[member.labelled.astype(np.int64)].all():
            unknown = unknown_of(ys)
            raise ConfigError(f"labelled rows of member {number} have no label, ys is {unknown}")
        _check_weights(member, number, len(known))


def _check_weights(member: Member, number: int, rows: int) -> None:
    if member.weights is None:
        return
    weights = np.asarray(member.weights)
    if weights.shape != (rows,) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise ConfigError(
            f"weights of member {number} are not {rows} finite numbers of at least 0, one for each "
            "row"
        )
    for kind in ("labelled", "unlabelled"):
        of_kind = getattr(member, kind)
        if len(of_kind) and not weights[of_kind].sum() > 0:
            raise ConfigError(
                f"weights of all {kind} rows of member {number} are 0: leave these rows out"
            )

"""Weights and options that change linearly over the first steps of a run."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pyro_ssl.elbos.sites import Site
from pyro_ssl.errors import ConfigError
from pyro_ssl.models.base import PyroModel
from pyro_ssl.models.rows import LABELLED, UNLABELLED

CLASSIFICATION = "classification"
BOUNDS = {LABELLED: "labelled_bound", UNLABELLED: "unlabelled_bound"}
# What a model calls the buffers that it lets be annealed begins like this.
BUFFER_PREFIX = "annealed_"


@dataclass(frozen=True)
class Anneal:
    """A value that changes linearly with the training step and then stays.

    Attributes:
        start: value at the first step of the run.
        end: value from step `steps` on, the first counted as 0.
        steps: number of steps from one to the other.

    Raises:
        ConfigError: if a value is not finite, or `steps` below 1.
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ConfigError(f"{name} of an Anneal is {value}, expected a finite number")
        if not 1 <= self.steps < math.inf:
            raise ConfigError(f"steps of an Anneal is {self.steps}, expected at least 1")


class Annealing(nn.Module):
    """The values of several `Anneal`s at one step, kept on the device.

    They are buffers, which a compiled step takes as inputs and a CUDA graph finds where they
    were; moving on by a step looks at none of them.

    Args:
        anneal: what is annealed, by key.
        like: a tensor of the device and dtype that the values shall have.
    """

    step: Tensor
    values: Tensor
    _starts: Tensor
    _ends: Tensor
    _lengths: Tensor

    def __init__(self, anneal: Mapping[str, Anneal], like: Tensor) -> None:
        super().__init__()
        self.keys = tuple(anneal)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64, device=like.device))
        for name, numbers in (
            ("_starts", [a.start for a in anneal.values()]),
            ("_ends", [a.end for a in anneal.values()]),
            ("_lengths", [a.steps for a in anneal.values()]),
            ("values", [a.start for a in anneal.values()]),
        ):
            values = torch.tensor(numbers, dtype=like.dtype, device=like.device)
            self.register_buffer(name, values)

    def advance(self) -> None:
        """Take the values of the step that is to be made, and count it."""
        share = (self.step / self._lengths).clamp(max=1)
        self.values.copy_(torch.lerp(self._starts, self._ends, share))
        self.step.add_(1)

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each key with its value, 0-dimensional."""
        return zip(self.keys, self.values.unbind(), strict=True)


def site_keys(site: Site) -> list[str]:
    """Return the keys of the weights that apply to a site of a program, or a message about it."""
    part, own = site["name"].partition("/")[0], site["name"].rpartition("/")[-1]
    auxiliary = site["infer"].get("is_auxiliary", False)
    if auxiliary and own == CLASSIFICATION:
        return [CLASSIFICATION]
    keys = [BOUNDS[part]] if part in BOUNDS and part != own else []
    if auxiliary and own.startswith("kl_"):
        keys.append(own)
    elif not (site["is_observed"] or auxiliary):
        keys.append(f"kl_{own}")
    return keys


def is_weight(key: str) -> bool:
    """Return whether a key stands for a weight of terms, and not for a buffer of the model."""
    return key in (CLASSIFICATION, *BOUNDS.values()) or key.startswith("kl_")


def check_ranges(anneal: Mapping[str, Anneal]) -> None:
    """Check that weights never fall below 0, and that options of models stay positive.

    Raises:
        ConfigError: naming the key whose values do not.
    """
    for key, values in anneal.items():
        lowest = min(values.start, values.end)
        if lowest < 0 or (lowest == 0 and not is_weight(key)):
            expected = "at least 0" if is_weight(key) else "positive numbers"
            raise ConfigError(
                f"anneal takes {key!r} from {values.start} to {values.end}, expected {expected}"
            )


def annealed_buffers(model: PyroModel, keys: Iterable[str]) -> dict[str, Tensor]:
    """Return the model's buffers among what the keys of `FitConfig.anneal` stand for, by key.

    Raises:
        ConfigError: if there is no such buffer of a single number.
    """
    prefix, buffers = BUFFER_PREFIX, dict(model.named_buffers(recurse=False))
    theirs = {n.removeprefix(prefix): b for n, b in buffers.items() if n.startswith(prefix)}
    found = {}
    for key in keys:
        if is_weight(key):
            continue
        if key not in theirs or theirs[key].dim():
            weights = ", ".join((CLASSIFICATION, *BOUNDS.values()))
            options = "".join(f", {name}" for name, b in theirs.items() if not b.dim())
            raise ConfigError(
                f"anneal has the key {key!r}, expected for a {type(model).__name__} one of: "
                f"{weights}, kl_SITE with the name of a latent site{options}"
            )
        found[key] = theirs[key]
    return found

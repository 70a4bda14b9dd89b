"""Weights and options that change linearly over the first steps of a run."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pyro_ssl.elbos import names
from pyro_ssl.elbos.sites import Site
from pyro_ssl.errors import ConfigError
from pyro_ssl.models.base import PyroModel
from pyro_ssl.option_kinds import Count
from pyro_ssl.options import check_fields

# The names of a model's buffers that can be annealed begin with this.
BUFFER_PREFIX = "annealed_"


@dataclass(frozen=True)
class Anneal:
    """A value that changes linearly with the training step and then stays constant.

    Attributes:
        start: value at the first step of the run.
        end: value from step `steps` on; steps are counted from 0.
        steps: number of steps from `start` to `end`.

    Raises:
        ConfigError: if a value is not finite, or `steps` below 1.
    """

    start: float
    end: float
    steps: Count

    def __post_init__(self) -> None:
        check_fields(self)

    def times(self, factor: float) -> "Anneal":
        """Return the same course with both values multiplied by a factor."""
        return Anneal(factor * self.start, factor * self.end, self.steps)


class Annealing(nn.Module):
    """The values of several `Anneal`s at one step, kept on the device.

    They are buffers, which are inputs of a compiled step and keep their addresses for a CUDA graph.
    `advance` reads no tensor's value on the host, so that it can be part of both.

    Args:
        anneal: the `Anneal` of each key.
        like: a tensor with the device and dtype for the values.
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
        """Set the values for the next step, and count the step."""
        share = (self.step / self._lengths).clamp(max=1)
        self.values.copy_(torch.lerp(self._starts, self._ends, share))
        self.step.add_(1)

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each key with its present value, 0-dimensional."""
        return zip(self.keys, self.values.unbind(), strict=True)


def site_keys(site: Site) -> list[str]:
    """Return the keys of the weights that apply to a site (or a Pyro message) of a program.

    For a factor of the guide that is not a divergence, the only key is its own name. All other
    sites have the key of their rows' bound, and latents also have `kl_SITE`.
    """
    kind, own = names.kind_of(site["name"]), names.split_name(site["name"])[1]
    auxiliary = site["infer"].get("is_auxiliary", False)
    if auxiliary and not names.is_kl(own) and own != names.WEIGHT:
        return [own]
    keys = [names.BOUNDS[kind]] if kind is not None else []
    if auxiliary and names.is_kl(own):
        keys.append(own)
    elif not (site["is_observed"] or auxiliary):
        keys.append(names.kl(own))
    return keys


def check_ranges(model: PyroModel, anneal: Mapping[str, Anneal]) -> None:
    """Check that annealed weights are never below 0, and annealed options always above 0.

    Raises:
        ConfigError: naming a key whose values are out of range.
    """
    options = annealed_buffers(model, anneal)
    for key, values in anneal.items():
        lowest = min(values.start, values.end)
        if lowest < 0 or (lowest == 0 and key in options):
            expected = "positive numbers" if key in options else "at least 0"
            raise ConfigError(
                f"anneal takes {key!r} from {values.start} to {values.end}, expected {expected}"
            )


def annealed_buffers(model: PyroModel, keys: Iterable[str]) -> dict[str, Tensor]:
    """Return, by key, the model's buffers that keys of `FitConfig.anneal` stand for.

    All other keys stand for the weight of a term, and are left out.
    """
    prefix, buffers = BUFFER_PREFIX, dict(model.named_buffers(recurse=False))
    numbers = {n.removeprefix(prefix): b for n, b in buffers.items() if n.startswith(prefix)}
    return {k: numbers[k] for k in keys if k in numbers and not numbers[k].dim()}


def check_keys(model: PyroModel, keys: Iterable[str], sites: Iterable[Site]) -> None:
    """Check that each key stands for an option of the model or for the weight of one of `sites`.

    Raises:
        ConfigError: naming a key that stands for neither, and all valid keys.
    """
    found = {key for site in sites for key in site_keys(site)}
    buffers = [n for n, _ in model.named_buffers(recurse=False) if n.startswith(BUFFER_PREFIX)]
    options = annealed_buffers(model, [n.removeprefix(BUFFER_PREFIX) for n in buffers])
    for key in keys:
        if key not in found and key not in options:
            raise ConfigError(
                f"anneal or term_weights has the key {key!r}, but {type(model).__name__} has no "
                "such term on these rows, and no such option: expected one of "
                f"{', '.join(sorted(found | set(options)))}"
            )

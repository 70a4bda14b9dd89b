"""Spreads (scales, dispersions): given, or learned for each value, each dimension, or once."""

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.option_kinds import OneOf, Range

# Options of families: a spread, and what shares one learned spread.
Spread = Annotated[float | None, "a positive number, or None to learn it", Range(above=0)]
Per = Annotated[str, OneOf(("value", "dimension", "all"))]


def outputs_of_spread(given: float | None, per: str) -> int:
    """Return the number of the decoder's outputs for each value: 2 if it gives spreads, else 1.

    Args:
        given: the spread, or None if it is learned.
        per: what shares one spread: `value` (nothing: the decoder gives one for each value),
            `dimension` (all rows, separately for each dimension) or `all`.
    """
    return 2 if given is None and per == "value" else 1


def shared_of_spread(given: float | None, per: str, input_shape: tuple[int, ...]) -> int:
    """Return the number of learned spreads that all rows share; see `outputs_of_spread`."""
    if given is not None or per == "value":
        return 0
    return 1 if per == "all" else math.prod(input_shape)


def location_and_spread(
    outputs: Tensor,
    input_shape: tuple[int, ...],
    shared: Tensor | None,
    given: float | None,
    per: str,
    least: float,
) -> tuple[Tensor, Tensor]:
    """Return locations and spreads, broadcastable to `[..., *input_shape]`.

    A learned spread is `least + softplus(raw)`. The lower bound keeps densities bounded: without
    it, the scale of a value that is the same in every row, such as a pixel at an image's border,
    would tend to 0, and its gradients to infinity.

    Args:
        outputs: the decoder's outputs, `[..., *output_shape]`.
        input_shape: shape of one input.
        shared: unconstrained numbers that all rows share, see `shared_of_spread`; None if there are
            none.
        given: as for `outputs_of_spread`.
        per: as for `outputs_of_spread`.
        least: the smallest learned spread, in the units of the values.
    """
    if given is not None:
        # A Python number would be copied to the device in each step.
        return outputs, torch.full_like(outputs, given)
    if per == "value":
        loc, raw = outputs.chunk(2, -len(input_shape))
        return loc, least + F.softplus(raw)
    assert shared is not None
    raw = shared if per == "all" else shared.view(input_shape)
    return outputs, (least + F.softplus(raw)).expand_as(outputs)

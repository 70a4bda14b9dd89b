"""Normal distributions of latents."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional as F


def standard_normal(like: Tensor, dimensions: int) -> dist.TorchDistribution:
    """Return Normal(0, I), event shape `[dimensions]`, of the dtype and device of `like`."""
    origin = like.new_zeros(dimensions)
    return dist.Normal(origin, torch.ones_like(origin)).to_event(1)


def normal_of(outputs: Tensor, min_scale: float = 1e-4) -> dist.Normal:
    """Return the normal distributions that a network's outputs parameterise.

    Args:
        outputs: `[..., 2 D]`: locations, then scales before softplus.
        min_scale: constant added to the softplus.

    Returns:
        Independent normal distributions, batch shape `[..., D]`.
    """
    loc, raw_scale = outputs.chunk(2, -1)
    return dist.Normal(loc, F.softplus(raw_scale) + min_scale)


def normal_points(number: int, dimensions: int) -> Tensor:
    """Return quasi-random points `[number, dimensions]` of Normal(0, I), the same at each call."""
    sobol = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=0)
    return torch.special.ndtri(sobol.draw(number).clamp(1e-6, 1 - 1e-6))


def mixture_moments(loc: Tensor, scale: Tensor, logits: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of mixtures of normal distributions, each `[D]`.

    Args:
        loc: means of the K components `[K, D]`.
        scale: their standard deviations `[K, D]`.
        logits: unnormalised log-probabilities of the components `[K]`; None for equal ones.
    """
    if logits is None:
        variance = (scale**2).mean(0) + loc.var(0, correction=0)
        return loc.mean(0), variance.sqrt()
    shares = logits.softmax(-1)
    mean = shares @ loc
    return mean, (shares @ (scale**2 + (loc - mean) ** 2)).sqrt()

"""Functions that the models still call; they go with the last of their callers."""

import math

import pyro.distributions as dist
from torch import Tensor

from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods.pixels import Bernoulli, Laplace
from pyro_ssl.likelihoods.real import Gaussian


def bernoulli(logits: Tensor, event_dim: int) -> dist.TorchDistribution:
    """Return Bernoulli pixels."""
    return Bernoulli().values(logits, ()).to_event(event_dim)


def gaussian(
    loc: Tensor, raw_scale: Tensor, event_dim: int, min_scale: float
) -> dist.TorchDistribution:
    """Return normal values."""
    from torch.nn import functional as F

    return dist.Normal(loc, min_scale + F.softplus(raw_scale), validate_args=False).to_event(
        event_dim
    )


def check_pixel_likelihood(likelihood: str, laplace_scale: float) -> None:
    """Check the options of `pixels`."""
    if likelihood not in ("bernoulli", "laplace"):
        raise ConfigError(f"likelihood is {likelihood!r}, expected bernoulli or laplace")
    if not 0 < laplace_scale < math.inf:
        raise ConfigError(f"laplace_scale is {laplace_scale}, expected a positive number")


def pixels(
    logits: Tensor, likelihood: str, laplace_scale: float, event_dim: int
) -> dist.TorchDistribution:
    """Return pixels of a family."""
    family = Bernoulli() if likelihood == "bernoulli" else Laplace(laplace_scale)
    return family.values(logits, ()).to_event(event_dim)


__all__ = ["Gaussian", "bernoulli", "check_pixel_likelihood", "gaussian", "pixels"]

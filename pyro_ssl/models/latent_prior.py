"""Learned priors of a VAE's latents: mixtures of normal distributions."""

from collections.abc import Callable
from typing import Annotated

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_ssl.models.normal import normal_of
from pyro_ssl.option_kinds import OneOf

LatentPrior = Annotated[str, OneOf(("normal", "mixture", "vamp"))]


class MixturePrior(nn.Module):
    """p(z) = sum_k w_k Normal(loc_k, diag scale_k^2), all learned.

    Args:
        latent_dim: dimensions D.
        num_components: number of components K.
    """

    def __init__(self, latent_dim: int, num_components: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(torch.randn(num_components, latent_dim))
        self.raw_scale = nn.Parameter(torch.full((num_components, latent_dim), 0.5))

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), batch shape `()`, event shape `[D]`."""
        return _mixture(self.logits, dist.Normal(self.loc, F.softplus(self.raw_scale) + 1e-2))


class VampPrior(nn.Module):
    """p(z) = 1/K sum_k q(z|u_k), with learned pseudo-inputs u_k.

    Pseudo-inputs of images are kept within [0, 1] by a logistic function.

    Source: Tomczak, Welling, "VAE with a VampPrior", AISTATS 2018, eq. 9.

    Args:
        input_shape: shape of one input.
        num_components: number of pseudo-inputs K.
        within_unit: whether inputs are numbers in [0, 1].
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_components: int, within_unit: bool
    ) -> None:
        super().__init__()
        self.within_unit = within_unit
        self.pseudo_inputs = nn.Parameter(torch.randn(num_components, *input_shape))

    def forward(self, encoder: Callable[[Tensor], Tensor]) -> dist.TorchDistribution:
        """Return p(z), batch shape `()`, event shape `[D]`, given the encoder of q(z|x)."""
        us = self.pseudo_inputs.sigmoid() if self.within_unit else self.pseudo_inputs
        q = normal_of(encoder(us))
        return _mixture(q.loc.new_zeros(len(us)), q)


def _mixture(logits: Tensor, components: dist.Normal) -> dist.TorchDistribution:
    weights = dist.Categorical(logits=logits, validate_args=False)
    return dist.MixtureSameFamily(weights, components.to_event(1), validate_args=False)

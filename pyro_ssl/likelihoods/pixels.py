"""Pixels in [0, 1]: Bernoulli, or Laplace around their means."""

from dataclasses import dataclass
from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ssl.likelihoods.base import Likelihood, as_likelihood, register_likelihood
from pyro_ssl.likelihoods.scaling import Scaling
from pyro_ssl.option_kinds import Positive
from pyro_ssl.options import checked


class _BernoulliPixels(dist.Bernoulli):
    """Bernoulli with the log-probability of torch's own, several times faster on a CPU.

    With the logit l, `log p(x) = x l - softplus(l)` and
    `softplus(l) = (l + |l|) / 2 + log(1 + exp(-|l|))`, which never overflows. torch uses log1p
    instead of log(1 + .): it is exact to the last bit, but not vectorised. Here the absolute error
    for each pixel is at most half a unit in the last place of 1.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value) in nats per pixel, of the broadcast shape of value and logits."""
        size = self.logits.abs()
        return (value - 0.5) * self.logits - 0.5 * size - (1 + (-size).exp()).log()


@dataclass(frozen=True)
class _Pixels(Likelihood):
    """Values in [0, 1], around the sigmoid of the decoder's outputs."""

    takes_real_values: ClassVar[bool] = False
    support: ClassVar[str] = (
        "numbers in [0, 1]: rescale them, bytes by / 255, or take another likelihood, such as "
        "gaussian for standardised values"
    )

    def inside(self, xs: Tensor) -> Tensor:
        """Return whether each value is in [0, 1], of the shape of `xs`."""
        return (xs >= 0) & (xs <= 1)

    def fit_scaling(self, xs: Tensor) -> Scaling:
        """Return the division by 255 for bytes, and no change for other inputs."""
        by = 255.0 if xs.dtype == torch.uint8 else 1.0
        return Scaling.divided(tuple(xs.shape[1:]), by, density=not self.takes_pixels)


@register_likelihood
@dataclass(frozen=True)
class Bernoulli(_Pixels):
    """Independent pixels that are on or off, `p(x_d = 1|.) = sigmoid(output_d)`.

    Pixels strictly between 0 and 1 are accepted: their log-probability is the negative
    cross-entropy, which is the expected log-probability of pixels binarised with these means.
    """

    takes_pixels: ClassVar[bool] = True
    unit: ClassVar[str] = "nats per input, a probability of pixels that are 0 or 1"

    def values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return Bernoulli distributions, `[..., *input_shape]`, with outputs as logits."""
        return _BernoulliPixels(logits=outputs, validate_args=False)


@register_likelihood
@dataclass(frozen=True)
class Laplace(_Pixels):
    """Independent pixels in [0, 1], `p(x_d|.) = Laplace(sigmoid(output_d), scale)`.

    Args:
        scale: mean absolute deviation.

    Raises:
        ConfigError: if `scale` is not a positive number.
    """

    scale: Positive = 0.1

    def values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return Laplace distributions, `[..., *input_shape]`, around the outputs' sigmoid."""
        # A Python number would be copied to the device in each step.
        scale = torch.full_like(outputs, self.scale)
        return dist.Laplace(outputs.sigmoid(), scale, validate_args=False)


@checked
def pixel_likelihood(name: str, laplace_scale: Positive) -> Likelihood:
    """Return `Laplace(laplace_scale)` for the name `laplace`, else the likelihood of that name.

    Args:
        name: `bernoulli`, `laplace`, or any other name that `as_likelihood` knows.
        laplace_scale: scale of the Laplace likelihood.
    """
    return Laplace(laplace_scale) if name == "laplace" else as_likelihood(name)

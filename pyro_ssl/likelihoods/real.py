"""Real values: normal, Student-t, and positive values whose logarithm is normal."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.likelihoods.base import Likelihood, register_likelihood
from pyro_ssl.likelihoods.densities import StudentTValues
from pyro_ssl.likelihoods.scaling import Scaling
from pyro_ssl.likelihoods.spread import (
    Per,
    Spread,
    location_and_spread,
    outputs_of_spread,
    shared_of_spread,
)
from pyro_ssl.option_kinds import Positive, Range

_Df = Annotated[
    float | None, "a number above 1, for a mean to exist, or None to learn it", Range(above=1)
]


@dataclass(frozen=True)
class _LocationScale(Likelihood):
    """Values with a location, which is the decoder's output, and with a scale."""

    scale: Spread = None
    per: Per = "value"
    min_scale: Positive = 0.01

    @property
    def outputs_per_value(self) -> int:
        """2 if the decoder also gives raw scales, after all locations; otherwise 1."""
        return outputs_of_spread(self.scale, self.per)

    def num_shared(self, input_shape: tuple[int, ...]) -> int:
        """Return the number of scales that all inputs share."""
        return shared_of_spread(self.scale, self.per, input_shape)

    def location_and_scale(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return locations and scales, each `[..., *input_shape]`."""
        options = self.scale, self.per, self.min_scale
        return location_and_spread(outputs, input_shape, shared, *options)

    def fit_scaling(self, xs: Tensor) -> Scaling:
        """Return the standardisation of each value over rows."""
        return Scaling.standard(xs)


@register_likelihood
@dataclass(frozen=True)
class Gaussian(_LocationScale):
    """Independent normal values, `p(x_d|.) = Normal(loc_d, scale_d^2)`.

    Args:
        scale: one scale for all values, in the units of the inputs: log p(x|.) is then a squared
            error times a constant, plus a constant. None to learn scales.
        per: what shares one learned scale. `value`: nothing, the decoder gives a scale for each
            value of each row; `dimension`: all rows, separately for each dimension of the input;
            `all`: all values.
        min_scale: the smallest learned scale, in the units of the inputs.

    Raises:
        ConfigError: if an option is invalid.
    """

    def values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return normal distributions, batch shape `[..., *input_shape]`."""
        loc, scale = self.location_and_scale(outputs, input_shape, shared)
        return dist.Normal(loc, scale, validate_args=False)


@register_likelihood
@dataclass(frozen=True)
class StudentT(_LocationScale):
    """Independent Student-t values: a few outliers do not dominate what the model learns.

    Args:
        scale: as for `Gaussian`.
        per: as for `Gaussian`.
        min_scale: as for `Gaussian`.
        df: degrees of freedom, above 1; None to learn them, one number for all values.

    Raises:
        ConfigError: if an option is invalid.
    """

    df: _Df = 4.0

    def num_shared(self, input_shape: tuple[int, ...]) -> int:
        """Return the number of scales and degrees of freedom that all inputs share."""
        return super().num_shared(input_shape) + (self.df is None)

    def values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return Student-t distributions, batch shape `[..., *input_shape]`."""
        last = None
        if self.df is None:
            assert shared is not None
            shared, last = shared[:-1], shared[-1:]
        loc, scale = self.location_and_scale(outputs, input_shape, shared)
        df = torch.full_like(loc, self.df or 0.0) if last is None else 1.01 + F.softplus(last)
        return StudentTValues(df, loc, scale)

    def fit_scaling(self, xs: Tensor) -> Scaling:
        """Return the scaling of each value by its median and quartiles over rows."""
        return Scaling.robust(xs)


@register_likelihood
@dataclass(frozen=True)
class LogNormal(_LocationScale):
    """Independent positive values whose logarithms are normal.

    The encoder sees the logarithms; location and scale are those of the logarithms.

    Args:
        scale: as for `Gaussian`.
        per: as for `Gaussian`.
        min_scale: as for `Gaussian`.

    Raises:
        ConfigError: if an option is invalid.
    """

    filler: ClassVar[float] = 1.0
    support: ClassVar[str] = (
        "finite numbers above 0: take the likelihood gaussian, or, of counts, poisson"
    )

    def values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return log-normal distributions, batch shape `[..., *input_shape]`."""
        loc, scale = self.location_and_scale(outputs, input_shape, shared)
        return dist.LogNormal(loc, scale, validate_args=False)

    def features(self, xs: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return the logarithms of the values, `[..., *input_shape]`."""
        return xs.log()

    def inside(self, xs: Tensor) -> Tensor:
        """Return whether each value is positive and finite, of the shape of `xs`."""
        return (xs > 0) & torch.isfinite(xs)

    def fit_scaling(self, xs: Tensor) -> Scaling:
        """Return the division of each value by its geometric mean over rows."""
        logs = Scaling.standard(xs.double().log())
        return Scaling(torch.zeros_like(logs.shift), logs.shift.exp(), logs.density)

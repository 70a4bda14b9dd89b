"""Counts, of things or of words: Poisson, negative binomial, multinomial."""

from dataclasses import dataclass
from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods.base import Likelihood, register_likelihood
from pyro_ssl.likelihoods.densities import BagOfWords, NegativeBinomialValues, PoissonValues
from pyro_ssl.likelihoods.spread import (
    check_spread,
    location_and_spread,
    outputs_of_spread,
    shared_of_spread,
)

_LEAST_COUNT = 1e-3


@dataclass(frozen=True)
class _Counts(Likelihood):
    """Counts, of which the encoder sees log(1 + x)."""

    support: ClassVar[str] = (
        "counts, whole numbers of at least 0: round them, or take the likelihood gaussian"
    )
    unit: ClassVar[str] = "nats an input, a probability of counts"

    def features(self, xs: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return log(1 + x) of the counts."""
        return xs.log1p()

    def inside(self, xs: Tensor) -> Tensor:
        """Return which values are whole numbers of at least 0."""
        return (xs >= 0) & (xs.floor() == xs) & torch.isfinite(xs)


@register_likelihood
@dataclass(frozen=True)
class Poisson(_Counts):
    """Independent counts, `p(x_d|.) = Poisson(exp(output_d))`."""

    def values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return Poisson counts of the outputs as logs of the rates."""
        return PoissonValues(outputs)


@register_likelihood
@dataclass(frozen=True)
class NegativeBinomial(_Counts):
    """Independent counts that vary more than a Poisson's, of mean `exp(output_d)`.

    Their variance is `mean + mean^2 / total_count`.

    Args:
        total_count: the inverse dispersion, one for all values; None to learn it.
        per: what it is learned for, see `Gaussian`.

    Raises:
        ConfigError: if an option cannot work.
    """

    total_count: float | None = None
    per: str = "dimension"

    def check_options(self) -> None:
        """Check the inverse dispersion and `per`."""
        check_spread("total_count", self.total_count, self.per)

    @property
    def outputs_per_value(self) -> int:
        """2 where the decoder gives the dispersion: first all logs of means."""
        return outputs_of_spread(self.total_count, self.per)

    def num_shared(self, input_shape: tuple[int, ...]) -> int:
        """Return how many dispersions are common to all inputs."""
        return shared_of_spread(self.total_count, self.per, input_shape)

    def values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return negative binomial counts."""
        options = self.total_count, self.per, _LEAST_COUNT
        log_mean, total = location_and_spread(outputs, input_shape, shared, *options)
        return NegativeBinomialValues(log_mean, total)


@register_likelihood
@dataclass(frozen=True)
class Multinomial(_Counts):
    """The words of a document, `log p(x|.) = sum_w x_w log softmax(outputs)_w`.

    See `BagOfWords`: the length is taken as given, the multinomial coefficient left out. The mean
    is that of a document of one word.
    """

    by_value: ClassVar[bool] = False
    support: ClassVar[str] = "counts of words, numbers of at least 0"
    unit: ClassVar[str] = "nats a document, a probability of its words in their order"

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return `input_shape`, one score for each word of the vocabulary.

        Raises:
            ConfigError: if documents are no rows of counts.
        """
        if len(input_shape) != 1:
            raise ConfigError(
                f"input_shape is {input_shape}, but Multinomial takes (words of the vocabulary,)"
            )
        return input_shape

    def distribution(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return bags of words of the outputs as scores."""
        return BagOfWords(outputs)

    def inside(self, xs: Tensor) -> Tensor:
        """Return which counts are finite and at least 0; they need not be whole."""
        return (xs >= 0) & torch.isfinite(xs)

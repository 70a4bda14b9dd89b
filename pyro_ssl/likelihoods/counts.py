"""Counts of things or of words: Poisson, negative binomial, multinomial."""

from dataclasses import dataclass
from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods.base import Likelihood, register_likelihood
from pyro_ssl.likelihoods.densities import BagOfWords, NegativeBinomialValues, PoissonValues
from pyro_ssl.likelihoods.spread import (
    Per,
    Spread,
    location_and_spread,
    outputs_of_spread,
    shared_of_spread,
)

_LEAST_COUNT = 1e-3


@dataclass(frozen=True)
class _Counts(Likelihood):
    """Counts x; the encoder sees log(1 + x)."""

    support: ClassVar[str] = (
        "counts, whole numbers of at least 0: round them, or take the likelihood gaussian"
    )
    unit: ClassVar[str] = "nats per input, a probability of counts"

    def features(self, xs: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return log(1 + x) of the counts."""
        return xs.log1p()

    def inside(self, xs: Tensor) -> Tensor:
        """Return whether each value is a whole number of at least 0, of the shape of `xs`."""
        return (xs >= 0) & (xs.floor() == xs) & torch.isfinite(xs)


@register_likelihood
@dataclass(frozen=True)
class Poisson(_Counts):
    """Independent counts, `p(x_d|.) = Poisson(exp(output_d))`."""

    def values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return Poisson distributions, `[..., *input_shape]`, with outputs as log rates."""
        return PoissonValues(outputs)


@register_likelihood
@dataclass(frozen=True)
class NegativeBinomial(_Counts):
    """Independent counts of mean `exp(output_d)` that vary more than Poisson counts.

    Their variance is `mean + mean^2 / total_count`.

    Args:
        total_count: the inverse dispersion, one for all values; None to learn it.
        per: what shares one learned `total_count`, see `Gaussian`.

    Raises:
        ConfigError: if an option is invalid.
    """

    total_count: Spread = None
    per: Per = "dimension"

    @property
    def outputs_per_value(self) -> int:
        """2 if the decoder also gives dispersions, after all logs of means; otherwise 1."""
        return outputs_of_spread(self.total_count, self.per)

    def num_shared(self, input_shape: tuple[int, ...]) -> int:
        """Return the number of dispersions that all inputs share."""
        return shared_of_spread(self.total_count, self.per, input_shape)

    def values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return negative binomial distributions, `[..., *input_shape]`."""
        options = self.total_count, self.per, _LEAST_COUNT
        log_mean, total = location_and_spread(outputs, input_shape, shared, *options)
        return NegativeBinomialValues(log_mean, total)


@register_likelihood
@dataclass(frozen=True)
class Multinomial(_Counts):
    """The words of a document, `log p(x|.) = sum_w x_w log softmax(outputs)_w`.

    The length of a document is given, and the multinomial coefficient is left out, see
    `BagOfWords`. The mean is that of a document of one word.
    """

    by_value: ClassVar[bool] = False
    support: ClassVar[str] = "counts of words, numbers of at least 0"
    unit: ClassVar[str] = "nats per document, a probability of its words in their order"

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return `input_shape`, one score for each word of the vocabulary.

        Raises:
            ConfigError: if documents are not rows of counts.
        """
        if len(input_shape) != 1:
            raise ConfigError(
                f"input_shape is {input_shape}, but Multinomial takes (words of the vocabulary,)"
            )
        return input_shape

    def distribution(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return bags of words, batch shape `[...]`; the outputs are the scores of the words."""
        return BagOfWords(outputs)

    def inside(self, xs: Tensor) -> Tensor:
        """Return whether each count is finite and at least 0, of the shape of `xs`."""
        return (xs >= 0) & torch.isfinite(xs)

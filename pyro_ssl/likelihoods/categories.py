"""Categories as values 0..K-1, unordered or ordered."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.likelihoods.base import Likelihood, register_likelihood
from pyro_ssl.option_kinds import Range

# The smallest distance between two thresholds of an ordinal value.
_LEAST_STEP = 0.01
# Numbers of categories that float32 can tell apart.
_Several = Annotated[int, Range(2, 2**24)]


def _among(xs: Tensor, count: int) -> Tensor:
    return (xs >= 0) & (xs <= count - 1) & (xs.floor() == xs)


@dataclass(frozen=True)
class _Codes(Likelihood):
    """Values 0..K-1 whose distributions are `Categorical`."""

    def mean(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> Tensor:
        """Return the most probable values, `[..., *input_shape]`, of the outputs' dtype."""
        values: dist.Categorical = self.values(outputs, input_shape, shared)
        return values.logits.argmax(-1).to(outputs.dtype)


@register_likelihood
@dataclass(frozen=True)
class Categorical(_Codes):
    """Independent categories, `p(x_d|.) = softmax(outputs_d)`, values 0..K-1.

    The decoder gives all scores of category 0, then all of category 1, and so on. The encoder sees
    indicators, in the same order. Its `mean` is the most probable category.

    Args:
        num_categories: number of categories K, at least 2.

    Raises:
        ConfigError: if `num_categories` is invalid.
    """

    num_categories: _Several
    support: ClassVar[str] = "categories 0..K-1: renumber them, or raise num_categories"
    unit: ClassVar[str] = "nats per input, a probability of categories"

    @property
    def outputs_per_value(self) -> int:
        """K: one score for each category."""
        return self.num_categories

    def values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return categorical distributions, batch shape `[..., *input_shape]`."""
        first = -len(input_shape)
        scores = outputs.unflatten(first, (self.num_categories, input_shape[0]))
        return dist.Categorical(logits=scores.movedim(first - 1, -1), validate_args=False)

    def feature_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the indicators, with K times the first dimension."""
        return self.output_shape(input_shape)

    def features(self, xs: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return indicators of the categories, `[..., *feature_shape]`."""
        codes = torch.arange(self.num_categories, device=xs.device)
        codes = codes.view(-1, *(1 for _ in input_shape))
        first = -len(input_shape)
        return (xs.unsqueeze(first - 1) == codes).to(xs.dtype).flatten(first - 1, first)

    def inside(self, xs: Tensor) -> Tensor:
        """Return whether each value is a category, of the shape of `xs`."""
        return _among(xs, self.num_categories)


@register_likelihood
@dataclass(frozen=True)
class Ordinal(_Codes):
    """Independent ordered levels, values 0..K-1: the cumulative logit model.

    The thresholds t_1 < ... < t_{K-1} of each dimension are learned, and all rows share them::

        p(x_d <= k|.) = sigmoid(t_{k+1} - output_d)

    The encoder sees x / (K - 1). Its `mean` is the most probable level.

    Source: McCullagh, "Regression models for ordinal data", JRSS B 1980; in a VAE, Nazabal et al.,
    "Handling incomplete heterogeneous data using VAEs", Pattern Recognition 2020, eq. 10 to 12.

    Differs from the latter: its encoder sees levels as a thermometer code.

    Args:
        num_levels: number of levels K, at least 2.

    Raises:
        ConfigError: if `num_levels` is invalid.
    """

    num_levels: _Several
    support: ClassVar[str] = "levels 0..K-1: renumber them, or raise num_levels"
    unit: ClassVar[str] = "nats per input, a probability of levels"

    def num_shared(self, input_shape: tuple[int, ...]) -> int:
        """Return the number of thresholds of all dimensions."""
        return (self.num_levels - 1) * torch.Size(input_shape).numel()

    def values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return categorical distributions, `[..., *input_shape]`, with normalised logits."""
        assert shared is not None
        raw = shared.view(*input_shape, self.num_levels - 1)
        steps = _LEAST_STEP + F.softplus(raw[..., 1:])
        thresholds = torch.cat([raw[..., :1], raw[..., :1] + steps.cumsum(-1)], -1)
        above = thresholds - outputs.unsqueeze(-1)
        # With the sigmoid s, a > b: log(s(a) - s(b)) = log s(a) + log s(-b) + log(1 - exp(b - a)).
        gaps = torch.log(-torch.expm1(-steps)).expand(*above.shape[:-1], self.num_levels - 2)
        log_p = F.pad(F.logsigmoid(above), (0, 1)) + F.pad(F.logsigmoid(-above), (1, 0))
        return dist.Categorical(logits=log_p + F.pad(gaps, (1, 1)), validate_args=False)

    def features(self, xs: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return the levels divided by K - 1, from 0 to 1, `[..., *input_shape]`."""
        return xs / (self.num_levels - 1)

    def inside(self, xs: Tensor) -> Tensor:
        """Return whether each value is a level, of the shape of `xs`."""
        return _among(xs, self.num_levels)

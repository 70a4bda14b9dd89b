"""Distributions that torch lacks, or whose constructors in torch copy from main memory."""

import math
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional as F


class _Values(dist.TorchDistribution):
    """Base of distributions of single numbers, whose parameters are tensors of one shape.

    Args:
        parameters: parameters by name; they are broadcast and kept as attributes.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, **parameters: Tensor) -> None:
        self._names = tuple(parameters)
        for name, value in zip(
            self._names, torch.broadcast_tensors(*parameters.values()), strict=True
        ):
            setattr(self, name, value)
        super().__init__(next(iter(parameters.values())).shape, validate_args=False)
        self._batch_shape = getattr(self, self._names[0]).shape

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> "_Values":
        """Return the distribution with another batch shape."""
        return type(self)(**{n: getattr(self, n).expand(batch_shape) for n in self._names})

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw values, `[*sample_shape, *batch_shape]`."""
        with torch.no_grad():
            return self._draw(torch.Size((*sample_shape, *self.batch_shape)))

    def _draw(self, shape: torch.Size) -> Tensor:
        raise NotImplementedError


class StudentTValues(_Values):
    """Student-t values; the constructor of torch's own copies a number to the device each time.

    Args:
        df: degrees of freedom, above 1.
        loc: means.
        scale: scales.
    """

    df: Tensor
    loc: Tensor
    scale: Tensor

    def __init__(self, df: Tensor, loc: Tensor, scale: Tensor) -> None:
        super().__init__(df=df, loc=loc, scale=scale)

    @property
    def mean(self) -> Tensor:
        """The means, of the batch shape."""
        return self.loc

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value) in nats, a density, of the batch shape."""
        half = 0.5 * (self.df + 1)
        normaliser = torch.lgamma(half) - torch.lgamma(0.5 * self.df)
        normaliser = normaliser - 0.5 * (self.df * math.pi).log() - self.scale.log()
        squares = ((value - self.loc) / self.scale) ** 2
        return normaliser - half * (squares / self.df).log1p()

    def _draw(self, shape: torch.Size) -> Tensor:
        df = self.df.expand(shape)
        # A chi-squared variable is twice a gamma variable of half its degrees of freedom.
        mixing = 2 * torch._standard_gamma(0.5 * df)
        return self.loc + self.scale * torch.randn_like(df) * (df / mixing).sqrt()


class PoissonValues(_Values):
    """Counts of a Poisson distribution, given the log of its rate, which does not overflow.

    Args:
        log_rate: logs of the means.
    """

    log_rate: Tensor

    def __init__(self, log_rate: Tensor) -> None:
        super().__init__(log_rate=log_rate)

    @property
    def mean(self) -> Tensor:
        """The rates, of the batch shape."""
        return self.log_rate.exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value) in nats, a probability, of the batch shape."""
        return value * self.log_rate - self.log_rate.exp() - torch.lgamma(value + 1)

    def _draw(self, shape: torch.Size) -> Tensor:
        return torch.poisson(self.mean.expand(shape))


class NegativeBinomialValues(_Values):
    """Counts of a negative binomial distribution: Poisson with a gamma-distributed rate.

    The variance is `mean + mean^2 / total_count`.

    Args:
        log_mean: logs of the means.
        total_count: the inverse dispersion, positive.
    """

    log_mean: Tensor
    total_count: Tensor

    def __init__(self, log_mean: Tensor, total_count: Tensor) -> None:
        super().__init__(log_mean=log_mean, total_count=total_count)

    @property
    def mean(self) -> Tensor:
        """The means, of the batch shape."""
        return self.log_mean.exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value) in nats, a probability, of the batch shape."""
        r = self.total_count
        logits = self.log_mean - r.log()
        ways = torch.lgamma(value + r) - torch.lgamma(r) - torch.lgamma(value + 1)
        return ways - r * F.softplus(logits) - value * F.softplus(-logits)

    def _draw(self, shape: torch.Size) -> Tensor:
        r = self.total_count.expand(shape)
        return torch.poisson(torch._standard_gamma(r) * self.mean / r)


class BagOfWords(dist.TorchDistribution):
    """The words of a document, drawn one by one from a vocabulary, without their order.

    `log p(x) = sum_w n_w log softmax(logits)_w` for counts n: the probability of the words in any
    one order. The multinomial coefficient, which does not depend on the model, is left out, and the
    length of the document is given. Counts need not be whole numbers.

    Args:
        logits: scores of the words, `[..., V]`.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, logits: Tensor) -> None:
        self.log_probs = logits.log_softmax(-1)
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The words' probabilities `[..., V]`: the mean count of a document of one word."""
        return self.log_probs.exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value) in nats per document, `[...]`, of counts `[..., V]`."""
        return (value * self.log_probs).sum(-1)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> "BagOfWords":
        """Return the distribution with another batch shape."""
        new = self._get_checked_instance(BagOfWords, _instance)
        # Not normalised again, which would take a fifth of a training step.
        new.log_probs = self.log_probs.expand(*batch_shape, *self.event_shape)
        shapes = (torch.Size(batch_shape), self.event_shape)
        super(BagOfWords, new).__init__(*shapes, validate_args=False)
        return new

"""Families for p(x | .), each a function from decoder outputs to a Pyro distribution."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError
from pyro_ssl.nets.mlp import in_class_chunks

PIXEL_LIKELIHOODS = ("bernoulli", "laplace")


class _BernoulliPixels(dist.Bernoulli):
    """Bernoulli with the same log-probability as torch's, several times faster on a CPU.

    With l the logit, `log p(x) = x l - softplus(l)` and
    `softplus(l) = (l + |l|) / 2 + log(1 + exp(-|l|))`, whose argument never overflows. torch
    takes log1p instead of log(1 + .), exact to the last bit but with no fast vector form; here
    the absolute error is at most half a unit in the last place of 1 for each pixel.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value) in nats for each pixel, the shape of `value` and logits broadcast."""
        size = self.logits.abs()
        return (value - 0.5) * self.logits - 0.5 * size - (1 + (-size).exp()).log()


def bernoulli(logits: Tensor, event_dim: int) -> dist.TorchDistribution:
    """Independent Bernoulli pixels, given logits `[..., *event_shape]`.

    Pixels strictly between 0 and 1 are accepted: their log-probability is then the
    negative cross-entropy, the expected log-probability of pixels binarised with
    those means. Support validation is therefore off; range is checked where data enters.
    """
    return _BernoulliPixels(logits=logits, validate_args=False).to_event(event_dim)


def gaussian(
    loc: Tensor, raw_scale: Tensor, event_dim: int, min_scale: float
) -> dist.TorchDistribution:
    """Independent normal values of learned scale, `min_scale + softplus(raw_scale)`.

    The floor keeps the density bounded: without it a value that is the same in every row, such
    as a pixel at an image's border, draws its scale to 0 and the gradients with it to infinity.

    Args:
        loc: means `[..., *event_shape]`.
        raw_scale: the network's outputs, of the same shape.
        event_dim: dimensions of `event_shape`.
        min_scale: the smallest scale, in the units of the values.
    """
    scale = min_scale + F.softplus(raw_scale)
    return dist.Normal(loc, scale, validate_args=False).to_event(event_dim)


class ClassChunks(dist.TorchDistribution):
    """p(x | y, z) for many classes, whose log-probability is computed chunk by chunk.

    Args:
        family: returns the distribution for given tensors, the decoder's run included.
        tensors: what `family` takes, each with the classes as first dimension.
        chunk: classes at a time.
        batch_shape: batch shape of `family(*tensors)`.
        event_shape: its event shape.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        family: Callable[..., dist.TorchDistribution],
        tensors: tuple[Tensor, ...],
        chunk: int,
        batch_shape: torch.Size,
        event_shape: torch.Size,
    ) -> None:
        super().__init__(batch_shape, event_shape, validate_args=False)
        self.family, self.tensors, self.chunk = family, tensors, chunk
        # The log-probability is asked for later, by an ELBO, where no autocast reaches.
        kind = tensors[0].device.type
        self._autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value), of the batch shape, in nats."""
        kind, dtype, enabled = self._autocast

        def of_chunk(*tensors: Tensor) -> Tensor:
            with torch.autocast(kind, dtype, enabled):
                likelihood = self.family(*tensors)
            return likelihood.log_prob(value)

        return in_class_chunks(of_chunk, self.chunk, *self.tensors)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw from all classes at once."""
        return self.family(*self.tensors).sample(sample_shape)


def check_pixel_likelihood(likelihood: str, laplace_scale: float) -> None:
    """Check that `pixels` knows the family, and that the scale is a positive number.

    Raises:
        ConfigError: if it does not, or is not.
    """
    if likelihood not in PIXEL_LIKELIHOODS:
        expected = " or ".join(PIXEL_LIKELIHOODS)
        raise ConfigError(f"likelihood is {likelihood!r}, expected {expected}")
    if not 0 < laplace_scale < math.inf:
        raise ConfigError(f"laplace_scale is {laplace_scale}, expected a positive number")


def pixels(
    logits: Tensor, likelihood: str, laplace_scale: float, event_dim: int
) -> dist.TorchDistribution:
    """Independent pixels around sigmoid(logits): Bernoulli, or Laplace of a fixed scale.

    Args:
        logits: of the means, `[..., *event_shape]`.
        likelihood: one of `PIXEL_LIKELIHOODS`.
        laplace_scale: mean absolute deviation of the Laplace distribution, pixels in [0, 1].
        event_dim: dimensions of `event_shape`.
    """
    if likelihood == "bernoulli":
        return bernoulli(logits, event_dim)
    # A Python number would be copied to the device in every step.
    scale = torch.full_like(logits, laplace_scale)
    return dist.Laplace(logits.sigmoid(), scale, validate_args=False).to_event(event_dim)


class BagOfWords(dist.TorchDistribution):
    """The words of a document, drawn one by one from a vocabulary, their order not kept.

    `log p(x) = sum_w n_w log softmax(logits)_w`, of counts n: the probability of the words in any
    given order. It leaves out the multinomial coefficient, which no model can change, and takes the
    length as given. Counts need not be whole numbers.

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
        """Return log p(value) in nats a document, `[...]`, of counts `[..., V]`."""
        return (value * self.log_probs).sum(-1)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> "BagOfWords":
        """Return the same for another batch shape."""
        new = self._get_checked_instance(BagOfWords, _instance)
        # As they are: to normalise them again would cost a fifth of a training step.
        new.log_probs = self.log_probs.expand(*batch_shape, *self.event_shape)
        shapes = (torch.Size(batch_shape), self.event_shape)
        super(BagOfWords, new).__init__(*shapes, validate_args=False)
        return new

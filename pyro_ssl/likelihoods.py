"""Families for p(x | .), each a function from decoder outputs to a Pyro distribution."""

import pyro.distributions as dist
from torch import Tensor


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

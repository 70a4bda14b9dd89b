"""Families for p(x | .), each a function from decoder outputs to a Pyro distribution."""

import pyro.distributions as dist
from torch import Tensor


def bernoulli(logits: Tensor, event_dim: int) -> dist.TorchDistribution:
    """Independent Bernoulli pixels, given logits `[..., *event_shape]`.

    Pixels strictly between 0 and 1 are accepted: their log-probability is then the
    negative cross-entropy, the expected log-probability of pixels binarised with
    those means. Support validation is therefore off; range is checked where data enters.
    """
    return dist.Bernoulli(logits=logits, validate_args=False).to_event(event_dim)

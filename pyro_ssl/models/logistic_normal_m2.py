"""M2 with the label relaxed by Gaussian noise."""

import pyro.distributions as dist
import torch
from pyro.distributions.relaxed_straight_through import QuantizeCategorical
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import AffineTransform, SoftmaxTransform, Transform

from pyro_ssl.models.relaxed_m2 import RelaxedM2


class LogisticNormalM2(RelaxedM2):
    """M2 whose unknown label is a draw from a logistic normal distribution.

    p and q(z|x,y) are those of `M2`; objective, bias and sites are described in `RelaxedM2`, with
    m = classifier(x) and::

        h = softmax((m + e) / temperature),  e ~ Normal(0, I_K)

    The largest coordinate of m + e follows the multinomial probit distribution. This is therefore
    q(y|x) in the KL divergence, in the classification term and in `predict_proba`::

        q(y|x) = P(m_y + e_y > m_j + e_j for all j != y)

    which `log_probit` integrates.

    Source: the models LogisticNormalM2 and STLogisticNormalM2 of the vae_ssl project.

    Differs from vae_ssl: its q(y|x) is softmax(m), which is not the limit of the draws'
    distribution, so that its objective does not tend to M2's as the temperature falls; its
    sharpening is 1 / temperature. The model is this library's `M2`, which itself differs from
    Kingma et al. 2014.

    Args:
        temperature: temperature of the relaxation; 1 / 3 is vae_ssl's sharpening of 3.
        straight_through: give encoder and decoder one-hot labels, see `RelaxedM2`.
        options: those of `M2`.

    Raises:
        ConfigError: if an option is invalid.
    """

    def _class_logits(self, scores: Tensor) -> Tensor:
        return log_probit(scores)

    def _relaxed_label(self, scores: Tensor) -> dist.TorchDistribution:
        noisy = dist.Normal(scores, torch.ones_like(scores), validate_args=False).to_event(1)
        steps: list[Transform] = [
            AffineTransform(0.0, 1 / self.annealed_temperature, event_dim=1),
            SoftmaxTransform(),
        ]
        if self.straight_through:
            steps.append(_Corner())
        return dist.TransformedDistribution(noisy, steps, validate_args=False)


class _Corner(Transform):
    """The nearest corner of the simplex, with the gradient of the point itself."""

    domain = constraints.simplex
    codomain = constraints.simplex

    def _call(self, x: Tensor) -> Tensor:
        return QuantizeCategorical.apply(x)


def log_probit(scores: Tensor) -> Tensor:
    """Return log q(y) of the multinomial probit model, `[..., K]`, normalised.

    q(y) is the probability that coordinate y of m + e is the largest, with e ~ Normal(0, I_K),
    an integral over that coordinate's value t::

        q(y) = int phi(t - m_y) prod_{j != y} Phi(t - m_j) dt

    by the trapezoidal rule on points common to all classes, half a unit apart, from 8 below the
    largest score to 5.5 above it. Classes more than 14 below the largest get too low a probability.

    Args:
        scores: the means m, `[..., K]`.
    """
    steps = torch.arange(-8.0, 6.0, 0.5, dtype=scores.dtype, device=scores.device)
    points = scores.detach().amax(-1, keepdim=True) + steps
    # [..., points, K]
    gaps = points.unsqueeze(-1) - scores.unsqueeze(-2)
    log_below = torch.special.log_ndtr(gaps)
    others_below = log_below.sum(-1, keepdim=True) - log_below
    return (others_below - 0.5 * gaps**2).logsumexp(-2).log_softmax(-1)

"""Gradients with respect to a classifier's scores, drawn many times, and their moments."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyro
import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from pyro_ssl.models import M2

# Number of rows times labels evaluated at once: more would not fit into a processor's caches.
_BLOCK = 5_000


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of a random `[rows, K]`, estimated from independent draws.

    Attributes:
        mean: mean of the draws `[rows, K]`.
        covariance: unbiased covariance of one draw, row by row, `[rows, K, K]`.
        draws: number of draws.
    """

    mean: Tensor
    covariance: Tensor
    draws: int

    @property
    def variance(self) -> float:
        """Trace of the covariance of one draw, mean over rows."""
        return self.covariance.diagonal(dim1=-2, dim2=-1).sum(-1).mean().item()

    @property
    def squared_norm(self) -> float:
        """Unbiased estimate of the true mean's squared norm, summed over rows and classes."""
        noise = self.variance * len(self.mean) / self.draws
        return (self.mean**2).sum().item() - noise

    def difference(self, other: "Moments") -> "MeanDifference":
        """Return the difference of two means of independent draws."""
        covariance = self.covariance / self.draws + other.covariance / other.draws
        return MeanDifference(self.mean - other.mean, covariance)


@dataclass(frozen=True)
class MeanDifference:
    """Difference of two estimated means.

    Attributes:
        value: the difference d `[rows, K]`.
        covariance: covariance C of its error, row by row, `[rows, K, K]`; rows are independent.
    """

    value: Tensor
    covariance: Tensor

    def squared_norm(self) -> tuple[float, float]:
        """Return an unbiased estimate of the squared norm of d's mean, and its standard error.

        The square of a noisy vector is too large by trace C, which is subtracted; the difference
        may be negative. With b the true difference and Gaussian errors, its variance is the
        sum over rows of 4 b' C b + 2 trace C^2, where d' C d - trace C^2 estimates b' C b. A
        negative estimate counts as 0, so that near b = 0 the error is somewhat too large.
        """
        noise = self.covariance.diagonal(dim1=-2, dim2=-1).sum()
        spread = torch.einsum("rk,rkl,rl->", self.value, self.covariance, self.value)
        squared_noise = (self.covariance**2).sum()
        error = 4 * (spread - squared_noise).clamp(min=0) + 2 * squared_noise
        return ((self.value**2).sum() - noise).item(), error.sqrt().item()

    def largest_z(self, where: Tensor) -> float:
        """Return the largest ratio of a difference to its standard error.

        Args:
            where: boolean `[rows, K]`, the entries to consider.
        """
        errors = self.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        return (self.value.abs() / errors)[where].max().item()


def score_gradients(model: M2, elbo: ELBO, xs: Tensor, draws: int, labels: int) -> Moments:
    """Return the moments of the gradient of each row's loss with respect to its K scores.

    A batch holds every row many times, each with its own noise, so that one backward pass gives
    many draws. The networks' parameters get no gradient.

    Args:
        model: the model, in training or evaluation mode; without batch norm, which mixes rows.
        elbo: the ELBO whose loss, in nats, is differentiated.
        xs: the rows without labels, `[rows, *input_shape]`.
        draws: number of draws.
        labels: number of labels that a row visits, which limits the number of draws at once.
    """
    block = max(1, _BLOCK // (len(xs) * labels))
    pieces = [min(block, draws - start) for start in range(0, draws, block)]
    total: Tensor | float = 0.0
    products: Tensor | float = 0.0
    with pyro.get_param_store().scope(), pyro.validation_enabled(False), _scores(model) as scores:
        for piece in pieces:
            many = xs.repeat(piece, *[1] * (xs.dim() - 1))
            loss = elbo.differentiable_loss(model.model, model.guide, many)
            (flat,) = torch.autograd.grad(loss, scores)
            gradients = flat.unflatten(0, (piece, len(xs)))
            total = total + gradients.sum(0)
            products = products + torch.einsum("drk,drl->rkl", gradients, gradients)
    assert isinstance(total, Tensor)
    mean = total / draws
    squares = products - draws * mean.unsqueeze(-1) * mean.unsqueeze(-2)
    return Moments(mean, squares / (draws - 1), draws)


@contextmanager
def _scores(model: M2) -> Iterator[list[Tensor]]:
    """Yield a list that holds the classifier's last output, made a leaf of autograd's graph."""
    last: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, scores: Tensor) -> Tensor:
        last[:] = [scores.detach().requires_grad_()]
        return last[0]

    handle = model.classifier.register_forward_hook(keep)
    try:
        yield last
    finally:
        handle.remove()

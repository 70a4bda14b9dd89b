"""Batch norm with separate statistics for labelled and unlabelled rows, and with row weights."""

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError
from pyro_ssl.option_kinds import OneOf, Size
from pyro_ssl.options import checked

# "parted" is the former name of "separate".
BatchNorm = Annotated[
    bool | str, "True, False or 'separate'", OneOf((True, False, "separate", "parted"))
]


class SeparateBatchNorm(nn.Module):
    """Batch norm with separate statistics for labelled and for unlabelled rows.

    Scale and shift are common to both. In evaluation mode all rows are normalised by the statistics
    of unlabelled rows, since new rows resemble these. No running averages are kept for labelled
    rows: they are few, and the averages would not be used.

    Args:
        width: size of the last dimension.
    """

    @checked
    def __init__(self, width: Size) -> None:
        super().__init__()
        self.unlabelled = nn.BatchNorm1d(width)

    def forward(self, hs: Tensor, labelled: bool = False, shares: Tensor | None = None) -> Tensor:
        """Normalise `hs` `[B, width]`, rows of one kind.

        Args:
            hs: the rows.
            labelled: whether their labels are known.
            shares: weights `[B]` of the rows of `hs` in the statistics, which sum to 1; None for
                equal ones. Not used in evaluation mode.
        """
        norm = self.unlabelled
        if self.training and shares is not None:
            return self._weighted(hs, shares)
        if not (labelled and self.training):
            return norm(hs)
        return F.batch_norm(hs, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)

    def _weighted(self, hs: Tensor, shares: Tensor) -> Tensor:
        """Normalise unlabelled rows by weighted statistics, and keep their running averages."""
        norm, each = self.unlabelled, shares.unsqueeze(-1)
        # In the weights' dtype, as torch does it under autocast.
        rows = hs.to(norm.weight.dtype)
        mean = (each * rows).sum(0)
        centred = rows - mean
        variance = (each * centred.square()).sum(0)
        with torch.no_grad():
            # The unbiased variance, as torch keeps it; for equal shares the factor is B / (B - 1).
            unbiased = variance / (1 - shares.square().sum()).clamp(min=1e-6)
            for kept, seen in ((norm.running_mean, mean), (norm.running_var, unbiased)):
                assert kept is not None
                # Through `data`, since the gradient of an earlier call in torch's own kernel holds
                # these averages, and raises an error if it finds them changed.
                kept.data.lerp_(seen, norm.momentum or 0.0)
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1)
        scaled = centred * ((variance + norm.eps).rsqrt() * norm.weight)
        return (scaled + norm.bias).to(hs.dtype)


def as_batch_norm(batch_norm: bool | str) -> bool | str:
    """Return the option `batch_norm`; `"parted"`, its name in earlier files, becomes "separate"."""
    return "separate" if batch_norm == "parted" else batch_norm


def as_one_batch_norm(batch_norm: bool | str, reason: str) -> bool:
    """Return the option `batch_norm` of a model that cannot have separate statistics.

    Args:
        batch_norm: the option.
        reason: why it cannot, for the error.

    Raises:
        ConfigError: if it is not True or False.
    """
    batch_norm = as_batch_norm(batch_norm)
    if batch_norm == "separate":
        raise ConfigError(f'batch_norm is "separate", {reason}')
    return bool(batch_norm)


def class_shares(class_logits: Tensor, ys: Tensor) -> Tensor | None:
    """Return the weight of each row, draw and class in statistics; all weights sum to 1.

    Args:
        class_logits: unnormalised log q(y|.), `[..., n, K]`.
        ys: labels: all classes of each row along a further first dimension, or one for each row.

    Returns:
        Weights `[classes, ..., n]`, or None if each row has one class.
    """
    log_q = Categorical(logits=class_logits.detach(), validate_args=False).log_prob(ys)
    if log_q.dim() == class_logits.dim() - 1:
        return None
    shares = log_q.softmax(0)
    return shares / shares[0].numel()

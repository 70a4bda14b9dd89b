"""The optimiser, its step size, and the limit on gradients."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pyro_ssl.infer.config import FitConfig


def make_optimiser(
    parameters: Iterable[nn.Parameter], config: FitConfig, captured_on: torch.device | None = None
) -> Optimizer:
    """Return the optimiser that `config` names.

    Args:
        parameters: the parameters that it updates.
        config: options of training.
        captured_on: the GPU, if its steps are to be part of a CUDA graph; the graph then reads the
            step size from a tensor there.
    """
    captured = captured_on is not None
    rate: Any = config.learning_rate
    if captured:
        rate = torch.tensor(rate, device=captured_on)
    if config.optimiser == "rmsprop":
        # Without `foreach`, torch reads a step size that is a tensor on the host.
        return torch.optim.RMSprop(
            parameters, lr=rate, foreach=captured or None, capturable=captured
        )
    return torch.optim.Adam(parameters, lr=rate, fused=True, capturable=captured)


def set_learning_rate(optimiser: Optimizer, rate: float) -> None:
    """Set the step size, in place if it is a tensor."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def total_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return the norm of all gradients together, a scalar."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def cap_gradients(parameters: Sequence[nn.Parameter], norm: Tensor, cap: float | None) -> None:
    """Scale gradients down by a common factor if their total norm is above `cap`.

    Args:
        parameters: the parameters with the gradients.
        norm: their total norm, a scalar, whose value is not read on the host.
        cap: the largest total norm; None for no limit.
    """
    if cap is not None:
        nn.utils.clip_grads_with_norm_(parameters, cap, norm)

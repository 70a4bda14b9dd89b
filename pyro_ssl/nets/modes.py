"""Training and evaluation mode."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put `module` in evaluation mode, and afterwards each submodule back in its former mode."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


def warn_of_missing_statistics(module: nn.Module) -> None:
    """Warn if batch norm in `module` has seen no batch, so that its statistics mean nothing.

    That is so before training, and after parameters were read from Pyro's parameter store, which
    holds no running statistics.
    """
    for norm in module.modules():
        seen = norm.num_batches_tracked if isinstance(norm, _BatchNorm) else None
        if seen is not None and not bool(seen):
            warnings.warn(
                f"batch norm in this {type(module).__name__} has seen no batch, so that what it "
                "computes in evaluation mode means nothing: train it, or load it by load_model or "
                "load_state_dict, as Pyro's parameter store holds no running statistics",
                stacklevel=3,
            )
            return

"""Training and evaluation mode."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put `module` in evaluation mode, and restore the former mode of each submodule at the end."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


def frozen_parts(module: nn.Module) -> list[nn.Module]:
    """Return the parts of a module that its owner froze, which training must not change.

    These parts have parameters, none of which is trained, and are in evaluation mode. A part in
    training mode is not frozen, since its batch norm statistics follow the data.
    """
    found = []
    for part in module.modules():
        trained = [p.requires_grad for p in part.parameters()]
        if trained and not any(trained) and not part.training:
            found.append(part)
    return found


def set_training(module: nn.Module, frozen: list[nn.Module]) -> None:
    """Put `module` in training mode, except for `frozen` parts, which stay in evaluation mode."""
    module.train()
    for part in frozen:
        part.eval()


def warn_of_missing_statistics(module: nn.Module) -> None:
    """Warn if batch norm in `module` has seen no batch, so that its statistics are meaningless.

    This is the case before training, and after parameters were read from Pyro's parameter store,
    which holds no running statistics.
    """
    for norm in module.modules():
        seen = norm.num_batches_tracked if isinstance(norm, _BatchNorm) else None
        if seen is not None and not bool(seen):
            warnings.warn(
                f"batch norm in this {type(module).__name__} has seen no batch, so that its output "
                "in evaluation mode is meaningless: train it, or load it by load_model or "
                "load_state_dict, as Pyro's parameter store holds no running statistics",
                stacklevel=3,
            )
            return

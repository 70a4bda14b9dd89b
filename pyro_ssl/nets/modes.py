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


def frozen_parts(module: nn.Module) -> list[nn.Module]:
    """Return the parts of a module that its owner froze, which training must not change.

    These have parameters, none of which is trained, and are in evaluation mode. A part that is in
    training mode all the same has statistics of batch norm that follow the data.
    """
    found = []
    for part in module.modules():
        trained = [p.requires_grad for p in part.parameters()]
        if trained and not any(trained) and not part.training:
            found.append(part)
    return found


def set_training(module: nn.Module, frozen: list[nn.Module]) -> None:
    """Put `module` in training mode, but for its parts `frozen`, which go on in evaluation mode."""
    module.train()
    for part in frozen:
        part.eval()


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

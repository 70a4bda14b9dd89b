"""Clean-up after training."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def leaving_nothing(*models: nn.Module) -> Iterator[None]:
    """Remove gradients at the end of a run, and references that keep the run's tensors alive.

    The frames of a run refer to its optimiser, weights and CUDA graph. A module that is first
    imported during the run, and catches an error while it loads, may leave a reference cycle that
    contains these frames. Only the garbage collector would free it, and on a GPU it takes memory.

    Args:
        models: the trained models; frozen parameters keep their gradients.
    """
    modules = len(sys.modules)
    try:
        yield
    finally:
        for model in models:
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.grad = None
        if len(sys.modules) != modules:
            gc.collect()

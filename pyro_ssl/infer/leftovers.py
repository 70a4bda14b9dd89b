"""What training leaves behind, removed."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def leaving_nothing(*models: nn.Module) -> Iterator[None]:
    """Remove gradients at the end of a run, and what would keep the run's own tensors alive.

    The frames of a run hold its optimiser, weights and CUDA graph. A module that is first imported
    meanwhile, and catches an error as it starts, may leave a reference cycle with all frames down
    to there: garbage that would wait for the collector, and on a GPU for memory.

    Args:
        models: what is trained; parameters that are frozen keep their gradients.
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

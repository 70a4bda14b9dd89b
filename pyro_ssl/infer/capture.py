"""A training step recorded once as a CUDA graph and replayed."""

import warnings
from collections.abc import Callable

import torch

_WARM_UP_STEPS = 3


class CapturedStep:
    """Replays a step without running its Python.

    The step must work on tensors of fixed shapes at fixed addresses only: draw its batch, evaluate,
    move the parameters, add up its terms. The first calls run unrecorded on a side stream, because
    libraries initialise themselves on first use, which a graph must not contain. Then one call is
    recorded, with its kernels and random numbers, and all later calls replay it. Random numbers
    come from torch's generator, as without a graph.

    If recording fails, a warning says why in one line, and the step runs unrecorded.

    Args:
        step: one training step.
        device: the GPU.
    """

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self.step = step
        self.device = device
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.failed = False
        self._side_stream = torch.cuda.Stream(device)

    def __call__(self) -> None:
        """Make one step."""
        self.calls += 1
        if self.graph is not None:
            self.graph.replay()
        elif self.failed:
            self.step()
        elif self.calls <= _WARM_UP_STEPS:
            self._on_side_stream()
        else:
            self._capture()

    def _on_side_stream(self) -> None:
        stream = self._side_stream
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            self.step()
        torch.cuda.current_stream(self.device).wait_stream(stream)

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.device(self.device), torch.cuda.graph(graph):
                self.step()
        except Exception as error:
            # A step that cannot be recorded (one that waits for the device, say) can still run.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(f"training goes on without a CUDA graph: {reason}", stacklevel=2)
            self.failed = True
            self.step()
        else:
            self.graph = graph
            graph.replay()

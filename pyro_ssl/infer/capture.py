"""A training step recorded once as a CUDA graph and replayed."""

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

_WARM_UP_STEPS = 3
# The beginnings of torch's warnings: about an operation that a graph cannot contain, about the
# search for such operations, about an empty graph, and about an optimiser made for a graph that is
# not in one yet.
_WAIT = "called a synchronizing"
_SEARCH = "Synchronization debug mode"
_EMPTY = "The CUDA Graph is empty"
_NOT_YET = "This instance was constructed with capturable=True"


class CapturedStep:
    """Replays a step without running its Python code.

    The step must work on tensors of fixed shapes at fixed addresses only: draw its batch, evaluate
    the loss, update the parameters, add up the terms. The first calls are not recorded, because
    libraries initialise themselves on first use, which a graph must not contain. The last of these
    calls also checks whether the host waits for the GPU, or copies to it, which a graph cannot
    contain either. Then one call is recorded, with its kernels and random numbers, and all later
    calls replay it. Random numbers come from torch's generator, as without a graph.

    If the step cannot be recorded, a warning gives the reason in one line, and the step runs
    unrecorded.

    Args:
        step: one training step.
        device: the GPU.

    Attributes:
        graph: the graph that is replayed; None before the recording, and if it is impossible.
        failed: whether the step cannot be recorded.
    """

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self.step = step
        self.device = device
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.failed = False
        # One stream for all calls: a recording must not depend on another stream, and autograd may
        # keep the stream on which it first met a parameter.
        self._stream = _stream_of(device)

    def __call__(self) -> None:
        """Make one step."""
        self.calls += 1
        if self.graph is not None:
            self.graph.replay()
        elif self.failed:
            self.step()
        elif self.calls < _WARM_UP_STEPS:
            self._warm_up()
        elif self.calls == _WARM_UP_STEPS:
            # Checked before a recording, since a failed one may leave torch in any state.
            with _waits() as places:
                self._warm_up()
            if places:
                self._refuse(f"{places[0]} makes the host wait for the GPU")
        else:
            self._capture()

    def _warm_up(self) -> None:
        stream = self._stream
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream), warnings.catch_warnings():
            warnings.filterwarnings("ignore", _NOT_YET)
            self.step()
        torch.cuda.current_stream(self.device).wait_stream(stream)

    def _capture(self) -> None:
        """Record a step and run it."""
        graph = torch.cuda.CUDAGraph()
        failure: BaseException | None = None
        try:
            with (
                _undisturbed(),
                torch.cuda.device(self.device),
                # A recording that fails at its end does not restore the stream.
                torch.cuda.stream(self._stream),
                torch.cuda.graph(graph, stream=self._stream),
            ):
                failure = _error_of(self.step)
        except BaseException as error:
            # If the step has failed, so does the end of its recording, with a vaguer error.
            failure = failure or error
        try:
            if failure is None:
                self.graph = graph
                graph.replay()
                return
            self._recover()
            if not isinstance(failure, Exception):
                raise failure
            self._refuse((str(failure).strip() or type(failure).__name__).splitlines()[0])
            self.step()
        finally:
            # Its traceback refers to this frame; a reference from here would make a cycle.
            del failure

    def _recover(self) -> None:
        """Let the generator draw again: it may still count an aborted recording as going on."""
        with torch.cuda.device(self.device):
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
        generator.graphsafe_set_state(generator.clone_state())

    def _refuse(self, reason: str) -> None:
        self.failed = True
        warnings.warn(f"training goes on without a CUDA graph: {reason}", stacklevel=4)


@lru_cache
def _stream_of(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of all steps on a GPU: cuBLAS keeps 65 MiB for each one that it has met."""
    return torch.cuda.Stream(device)


def _error_of(step: Callable[[], None]) -> BaseException | None:
    """Run a step; return the error that it raised, or None."""
    try:
        step()
    except BaseException as error:
        return error
    return None


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Collect garbage now and not during the recording, and make an empty recording an error.

    A graph that is destroyed while another one is recorded spoils the recording.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", _EMPTY)
            yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _waits() -> Iterator[list[str]]:
    """Fill a list with the places where the host waited for the GPU, or copied to it."""
    places: list[str] = []
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", _WAIT)
        warnings.filterwarnings("ignore", _SEARCH)
        # Not "error", which would end the step halfway: batch drawn, but weights not updated.
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode(before)
    for each in caught:
        if str(each.message).startswith(_WAIT):
            places.append(f"{each.filename}, line {each.lineno},")
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)

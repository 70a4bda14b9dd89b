"""The order of events of a CUDA graph, without a GPU: what records and replays is a stand-in."""

import gc
import warnings
import weakref

import pytest
import torch

from pyro_ssl.infer.capture import CapturedStep
from tests.infer.cuda_stand_ins import Cuda

ECHO = "operation failed due to a previous error during capture"
CAUSE = "operation not permitted when stream is capturing"


@pytest.fixture
def cuda(monkeypatch):
    return Cuda().install(monkeypatch)


def captured(cuda, step=None, device="cuda:0"):
    return CapturedStep(step or (lambda: cuda.events.append("step")), torch.device(device))


def make(step, number):
    for _ in range(number):
        step()


def fails_when_recorded(cuda, kind, message=CAUSE):
    """A step that cannot be recorded, and whose recording's end fails as torch's does."""

    def step():
        if cuda.recording:
            cuda.end = echo
            raise kind(message)
        assert not any(generator.recording for generator in cuda.generators)
        cuda.events.append("step")

    def echo():
        cuda.end = lambda: None
        raise RuntimeError(ECHO)

    return step


def test_warms_up_records_once_and_replays(cuda):
    step = captured(cuda)
    make(step, 6)
    # Each call is one step: recording alone moves nothing, its replay does.
    assert cuda.events == ["step"] * 3 + ["record", "step", "recorded"] + ["replay"] * 3
    assert not step.failed


def test_warm_up_and_recording_share_a_stream_of_the_steps_own_device(cuda):
    seen = []
    steps = [
        captured(cuda, lambda: seen.append((cuda.device, cuda.stream)), f"cuda:{index}")
        for index in (0, 1)
    ]
    for step in steps:
        make(step, 5)
    for index in (0, 1):
        streams = {stream for _, stream in seen[4 * index : 4 * index + 4]}
        device, stream, _ = cuda.recorded_on[index]
        assert streams == {stream}
        assert (device, stream.device) == (index, torch.device("cuda", index))
    assert cuda.recorded_on[0][1] is not cuda.recorded_on[1][1]
    assert (cuda.device, cuda.stream) == (0, cuda.default)


def test_all_steps_on_a_device_share_its_stream(cuda):
    # cuBLAS keeps memory for each stream that it meets: every run would leave some behind.
    seen = []
    for _ in range(3):
        make(captured(cuda, lambda: seen.append(cuda.stream), "cuda:0"), 5)
    assert len({id(stream) for stream in seen if stream is not cuda.default}) == 1


class Cycle:
    def __init__(self):
        self.own = self


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_comes_before_the_recording_and_not_meanwhile(cuda, enabled):
    kept = []

    def step():
        if cuda.recorded_on and not kept:
            kept.append(garbage() is None)

    step = captured(cuda, step)
    make(step, 3)
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        garbage = weakref.ref(Cycle())
        step()
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was else gc.disable)()
    assert kept == [True]
    assert cuda.recorded_on[0][2] is False


def test_what_makes_the_host_wait_is_found_before_a_recording(cuda):
    def step():
        cuda.events.append("step")
        if cuda.mode == "warn":
            warnings.warn("called a synchronizing CUDA operation (Triggered at c10)", stacklevel=1)
            warnings.warn("the user's own", stacklevel=1)

    cuda.mode = 1
    step = captured(cuda, step)
    with pytest.warns(UserWarning, match="without a CUDA graph") as caught:
        make(step, 6)
    own, refusal = sorted((str(w.message) for w in caught), key=len)
    assert own == "the user's own"
    assert refusal.startswith("training goes on without a CUDA graph: ")
    assert refusal.endswith("makes the host wait for the GPU")
    assert "test_capture.py, line" in refusal
    # No step is made halfway, or twice.
    assert cuda.events == ["step"] * 6
    assert (step.failed, step.graph, cuda.mode) == (True, None, 1)


def test_an_error_of_the_step_is_one_and_the_search_ends(cuda):
    def step():
        cuda.events.append("step")
        if len(cuda.events) == 3:
            raise ValueError("mine")

    step = captured(cuda, step)
    step(), step()
    with pytest.raises(ValueError, match="mine"):
        step()
    assert (cuda.mode, cuda.stream) == (0, cuda.default)


def test_warnings_of_torch_about_its_own_search_and_optimiser_are_nobodys(cuda, monkeypatch):
    def set_mode(mode):
        warnings.warn("Synchronization debug mode is a prototype feature", stacklevel=1)

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)

    def step():
        if not cuda.recording:
            warnings.warn("This instance was constructed with capturable=True or ...", stacklevel=1)

    step = captured(cuda, step)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(step, 5)
    assert step.graph is not None


def test_after_a_recording_that_was_cut_off_all_is_as_before_and_the_cause_is_told(cuda):
    fails = fails_when_recorded(cuda, RuntimeError, f"{CAUSE}\nand so on")
    step = captured(cuda, fails, "cuda:1")
    make(step, 3)
    with pytest.warns(UserWarning, match=f"without a CUDA graph: {CAUSE}$") as caught:
        step()
    assert len(caught) == 1
    step()
    assert (step.failed, step.graph) == (True, None)
    assert (cuda.stream, cuda.device) == (cuda.default, 0)
    assert cuda.events == ["step"] * 3 + ["record"] + ["step"] * 2
    assert gc.isenabled()


@pytest.mark.parametrize("where", ["begin", "end"])
def test_a_recording_that_fails_by_itself_is_told(cuda, where):
    def fail():
        raise RuntimeError("CUDA error: no room")

    setattr(cuda, where, fail)
    step = captured(cuda)
    with pytest.warns(UserWarning, match="without a CUDA graph: CUDA error: no room"):
        make(step, 5)
    assert cuda.stream is cuda.default
    assert cuda.events.count("step") == 5 + (where == "end")
    assert not cuda.generators[0].recording


def test_a_recording_of_nothing_is_none(cuda):
    # As torch does where kernels ran on another device or stream.
    cuda.end = lambda: warnings.warn(
        "The CUDA Graph is empty. This usually means that", stacklevel=1
    )
    step = captured(cuda)
    with pytest.warns(UserWarning, match="without a CUDA graph: The CUDA Graph is empty"):
        make(step, 5)
    assert "replay" not in cuda.events
    assert step.failed


def test_an_interrupt_while_recording_is_no_refusal(cuda):
    step = captured(cuda, fails_when_recorded(cuda, KeyboardInterrupt))
    make(step, 3)
    with pytest.raises(KeyboardInterrupt):
        step()
    assert cuda.stream is cuda.default
    assert not any(generator.recording for generator in cuda.generators)
    assert not step.failed


def test_nothing_of_a_failed_recording_stays(cuda):
    kept = []

    def step():
        tensors = Cycle()
        tensors.own = None
        kept.append(weakref.ref(tensors))
        fail()

    fail = fails_when_recorded(cuda, RuntimeError)
    step = captured(cuda, step)
    make(step, 3)
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            step()
        assert [ref() for ref in kept] == [None] * 5
    finally:
        gc.enable()

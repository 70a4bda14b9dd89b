"""The order of events of a CUDA graph, without a GPU: what records and replays is a stand-in."""

from contextlib import contextmanager, nullcontext

import pytest
import torch

from pyro_ssl.infer.capture import CapturedStep


class Stream:
    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        pass


@pytest.fixture
def events(monkeypatch):
    events = []

    class Graph:
        def replay(self):
            events.append("replay")

    @contextmanager
    def graph(_):
        events.append("record")
        yield
        events.append("recorded")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    for context in ("stream", "device"):
        monkeypatch.setattr(torch.cuda, context, lambda _: nullcontext())
    return events


def test_warms_up_records_once_and_replays(events):
    step = CapturedStep(lambda: events.append("step"), torch.device("cuda"))
    for _ in range(6):
        step()
    # Each call is one step: recording alone moves nothing, its replay does.
    assert events == ["step"] * 3 + ["record", "step", "recorded"] + ["replay"] * 3


def test_falls_back_with_one_line(events):
    recording = []

    def run():
        if events and events[-1] == "record" and not recording:
            recording.append(True)
            raise RuntimeError("operation not permitted when stream is capturing\nand so on")
        events.append("step")

    step = CapturedStep(run, torch.device("cuda"))
    for _ in range(3):
        step()
    with pytest.warns(UserWarning, match="without a CUDA graph: operation not permitted when"):
        step()
    step()
    assert step.failed
    assert events == ["step"] * 3 + ["record"] + ["step"] * 2

"""What records and replays on a GPU, as stand-ins that behave as torch's own and tell what happens.

A recording whose end fails does not put the stream back, and leaves the generator unable to draw.
"""

import gc
from contextlib import contextmanager
from functools import lru_cache

import torch

from pyro_ssl.infer import capture


class Stream:
    def __init__(self, device=None):
        self.device = torch.device(device)

    def wait_stream(self, other):
        pass


class Generator:
    def __init__(self, recording=False):
        self.recording = recording

    def clone_state(self):
        return Generator()

    def graphsafe_set_state(self, state):
        self.recording = state.recording


class Cuda:
    """Two GPUs of which the first is the current one.

    Attributes:
        events: `record`, `recorded`, `replay`, and what tests add.
        end: what the end of a recording raises, or does.
        empty: whether the recording has nothing in it.
        recorded_on: device, stream and collector at the beginning of each recording.
        recording: whether a recording goes on.
        mode: torch's mode of looking for what makes the host wait.
    """

    def __init__(self):
        self.events, self.recorded_on = [], []
        self.end = self.begin = lambda: None
        self.device, self.mode, self.recording = 0, 0, False
        self.default = self.stream = Stream("cuda:0")
        self.generators = (Generator(), Generator())

    def install(self, monkeypatch):
        cuda = self

        class Graph:
            def replay(self):
                cuda.events.append("replay")
                self.step()

        # No stand-in is left for a real GPU.
        anew = lru_cache(capture._stream_of.__wrapped__)
        monkeypatch.setattr(capture, "_stream_of", anew)
        for name, value in {
            "CUDAGraph": Graph,
            "Stream": Stream,
            "default_generators": self.generators,
            "graph": self._graph,
            "stream": self._on,
            "device": self._at,
            "current_device": lambda: self.device,
            "current_stream": lambda device=None: self.stream,
            "get_sync_debug_mode": lambda: self.mode,
            "set_sync_debug_mode": lambda mode: setattr(self, "mode", mode),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        return self

    @contextmanager
    def _on(self, stream):
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    @contextmanager
    def _at(self, device):
        before, self.device = self.device, torch.device(device).index or 0
        try:
            yield
        finally:
            self.device = before

    @contextmanager
    def _graph(self, graph, stream):
        before, self.stream = self.stream, stream
        self.begin()
        generator = self.generators[self.device]
        generator.recording = True
        self.recorded_on.append((self.device, stream, gc.isenabled()))
        self.events.append("record")
        self.recording = True
        graph.step = lambda: None
        try:
            yield
        finally:
            self.recording = False
            self.end()
            generator.recording = False
            self.stream = before
            self.events.append("recorded")

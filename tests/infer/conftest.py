import pytest
import torch


@pytest.fixture
def as_recorded(monkeypatch):
    """Run the recorded graph of a compiled step as it is: compiling it takes 10 to 60 seconds.

    All but the compiler's own work is tested: recording, noise, buffers, parameters, options.
    """
    monkeypatch.setattr(torch, "compile", lambda graph, **options: graph)


@pytest.fixture
def compiled_once(monkeypatch):
    """Compile each graph once and use it again wherever the very same one is recorded."""
    compiler, known = torch.compile, {}

    def compile_once(graph, **options):
        constants = tuple(bytes(b.flatten().numpy()) for b in graph.buffers())
        key = graph.code, constants
        if key not in known:
            known[key] = compiler(graph, **options)
        return known[key]

    monkeypatch.setattr(torch, "compile", compile_once)
    return known

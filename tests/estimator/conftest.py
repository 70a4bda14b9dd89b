import warnings

import pytest


class Unrecorded:
    """Stands in for `Recorded`, whose recording takes longer than a few steps."""

    def __init__(self, function, inputs):
        self._function = function

    def __call__(self, *inputs):
        return tuple(t.detach() for t in self._function(*inputs))


@pytest.fixture
def few_steps(monkeypatch):
    """Make trainings of few steps quick."""
    monkeypatch.setattr("pyro_ssl.infer.ensemble_gradients.Recorded", Unrecorded)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*are treated as missing")
        yield

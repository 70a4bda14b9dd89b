import os
from pathlib import Path

import pyro
import pytest
import torch
from hypothesis import HealthCheck, settings

from pyro_ssl.data import DATA_VARIABLE
from tests.slow import ALL

# However busy the machine: no example has a limit of time. The same examples in each run, unless
# all checks are asked for, which look for new ones.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("patient", **PATIENT, derandomize=not ALL)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def clean_slate():
    pyro.clear_param_store()
    torch.manual_seed(0)


@pytest.fixture
def as_recorded(monkeypatch):
    """Run the recorded graph of a compiled step as it is: compiling it takes 10 to 60 seconds.

    All but the compiler's own work is tested: recording, noise, buffers, parameters, options.
    """
    monkeypatch.setattr(torch, "compile", lambda graph, **options: graph)


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder of the real MNIST, or a loud skip."""
    root = os.environ.get(DATA_VARIABLE)
    if not root or not (Path(root) / "MNIST" / "raw").is_dir():
        pytest.skip(f"REAL MNIST NOT TESTED: {DATA_VARIABLE}={root!r} holds no MNIST/raw")
    return Path(root)

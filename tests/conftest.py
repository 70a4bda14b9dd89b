import os
from pathlib import Path

import pyro
import pytest
import torch

from pyro_ssl.data import DATA_VARIABLE


@pytest.fixture(autouse=True)
def clean_slate():
    pyro.clear_param_store()
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder of the real MNIST, or a loud skip."""
    root = os.environ.get(DATA_VARIABLE)
    if not root or not (Path(root) / "MNIST" / "raw").is_dir():
        pytest.skip(f"REAL MNIST NOT TESTED: {DATA_VARIABLE}={root!r} holds no MNIST/raw")
    return Path(root)

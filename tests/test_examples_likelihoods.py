"""The examples of a user's own likelihood and network run as they stand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("name", "least"), [("own_likelihood", 0.85), ("own_network", 0.95)])
def test_example_runs_in_at_most_25_lines(name, least):
    path = ROOT / "examples" / f"{name}.py"
    assert len(path.read_text().splitlines()) <= 25
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert shown.returncode == 0, shown.stderr
    assert float(shown.stdout.removeprefix("accuracy ")) > least

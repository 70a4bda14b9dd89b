"""A fit that is killed goes on, and ends as one that was never killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pyro_ssl
from tests.command.conftest import make_table, partly

ROOT = Path(pyro_ssl.__file__).parent.parent
OPTIONS = "--label-column y --drop id --model m2 --members 2 --max-steps 250 --quiet".split()


def fit(folder, out, *options):
    """Begin a fit of its own process."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    args = ("fit", str(folder / "data.csv"), *OPTIONS, "-o", str(folder / out), *options)
    return subprocess.Popen(
        [sys.executable, "-m", "pyro_ssl", *args],
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background process ignores interrupts, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def killed(process, state, sign):
    """End a process by a signal, once it has written its first checkpoint."""
    while not state.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(sign)
    _, err = process.communicate()
    return process.returncode, err


@pytest.fixture
def folder(tmp_path):
    partly(make_table(80)).to_csv(tmp_path / "data.csv", index=False)
    return tmp_path


def files_of(folder):
    (weights,) = folder.glob("weights-*")
    return weights.name, weights.read_bytes(), (folder / "history.csv").read_text()


def test_a_killed_fit_goes_on_to_the_same_bits(folder):
    code, _ = killed(fit(folder, "cut"), folder / "cut.partial" / "training.pt", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (folder / "cut").exists()
    again = fit(folder, "cut")
    _, err = again.communicate()
    assert again.returncode == 1
    assert "cut.partial is left of a fit that was cut short: say --resume" in err
    # The training goes on from the file, and does not begin anew.
    state = folder / "cut.partial" / "training.pt"
    content = state.read_bytes()
    state.write_bytes(content[:1000])
    damaged = fit(folder, "cut", "--resume")
    _, err = damaged.communicate()
    assert damaged.returncode == 1
    assert "training.pt" in err
    assert state.exists()
    state.write_bytes(content)
    resumed, whole = fit(folder, "cut", "--resume"), fit(folder, "whole")
    for process in (resumed, whole):
        _, err = process.communicate()
        assert process.returncode == 0, err
    assert files_of(folder / "cut") == files_of(folder / "whole")
    assert not (folder / "cut.partial").exists()
    assert not (folder / "whole.partial").exists()


def test_an_interrupt_keeps_the_training_and_says_so(folder):
    code, err = killed(fit(folder, "cut"), folder / "cut.partial" / "training.pt", signal.SIGINT)
    assert code == 130
    assert "cut.partial keeps the training: --resume goes on with it" in err
    assert err.endswith("pyro-ssl: error: interrupted\n")
    assert (folder / "cut.partial" / "training.pt").exists()

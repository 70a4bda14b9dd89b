"""A fit that is killed goes on, and ends as one that was never killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pyro_ssl
from pyro_ssl.command.main import main
from tests.command.conftest import make_table, partly

ROOT = Path(pyro_ssl.__file__).parent.parent
OPTIONS = "--label-column y --drop id --model m2 --members 2 --max-steps 250 --quiet".split()


# Sends this process a signal, the first argument, before it replaces its first checkpoint.
SIGNALLED = """
import os, sys
left, sign = 2, int(sys.argv[1])
def watch(event, of):
    global left
    if event == "os.rename" and str(of[1]).endswith("training.pt"):
        left -= 1
        if not left:
            os.kill(os.getpid(), sign)
sys.addaudithook(watch)
from pyro_ssl.command.main import main
sys.exit(main(sys.argv[2:]))
"""


def arguments(folder, out, *options):
    return ["fit", str(folder / "data.csv"), *OPTIONS, "-o", str(folder / out), *options]


def fit(folder, out, *options, sign=None):
    """Begin a fit of its own process, which may be sent a signal in the middle of the training."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    program = ["-m", "pyro_ssl"] if sign is None else ["-c", SIGNALLED, str(int(sign))]
    return subprocess.Popen(
        [sys.executable, *program, *arguments(folder, out, *options)],
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background process ignores interrupts, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.fixture
def folder(tmp_path):
    partly(make_table(80)).to_csv(tmp_path / "data.csv", index=False)
    return tmp_path


def files_of(folder):
    (weights,) = folder.glob("weights-*")
    return weights.name, weights.read_bytes(), (folder / "history.csv").read_text()


def test_a_killed_fit_goes_on_to_the_same_bits(folder, capsys):
    killed = fit(folder, "cut", sign=signal.SIGKILL)
    _, err = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, err
    assert not (folder / "cut").exists()
    assert main(arguments(folder, "cut")) == 1
    said = "cut.partial is left from a fit that was cut short: use --resume"
    assert said in capsys.readouterr().err
    # The training goes on from the file, and does not begin anew.
    state = folder / "cut.partial" / "training.pt"
    content = state.read_bytes()
    state.write_bytes(content[:1000])
    assert main(arguments(folder, "cut", "--resume")) == 1
    assert "training.pt" in capsys.readouterr().err
    assert state.exists()
    state.write_bytes(content)
    resumed, whole = fit(folder, "cut", "--resume"), fit(folder, "whole")
    for process in (resumed, whole):
        _, err = process.communicate()
        assert process.returncode == 0, err
    assert files_of(folder / "cut") == files_of(folder / "whole")
    assert not (folder / "cut.partial").exists()
    assert not (folder / "whole.partial").exists()


@pytest.mark.parametrize(
    ("sign", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_an_interrupt_keeps_the_training_and_says_so(folder, sign, code, said):
    cut = fit(folder, "cut", sign=sign)
    _, err = cut.communicate()
    assert cut.returncode == code
    assert "cut.partial keeps the training: --resume continues it" in err
    assert err.endswith(f"pyro-ssl: error: {said}\n")
    assert (folder / "cut.partial" / "training.pt").exists()

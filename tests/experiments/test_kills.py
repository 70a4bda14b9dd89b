"""Runs that are killed: resumed to the same numbers, no process left, and what to do is said."""

import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from benchmarks.kill import Killer, contents, differences, kill
from experiments.engine.results import RunFolder
from pyro_ssl.errors import ResultsError
from tests.experiments.test_mnist_m2 import TINY

COMMAND = f"tests.experiments.unfigured {' '.join(TINY)} --device cpu"


def test_ten_kills_at_any_operation_or_moment_change_no_number(tmp_path):
    row = kill(COMMAND, 10, random.Random(0), tmp_path)
    assert (row["kills"], row["differing_files"]) == (10, "")
    assert row["ends"] >= 1
    # Table, results, checkpoint, configuration, and four figures.
    assert row["files"] == 8


def test_a_kill_before_every_kind_of_operation_is_before_it(tmp_path):
    first = Killer(COMMAND, tmp_path).run(operation=1)
    assert first.code == -signal.SIGKILL
    assert not list(tmp_path.rglob("seed_*"))


def test_other_numbers_differ(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "seed_0.csv").write_text("epoch,seconds,loss\n0,1.5,0.25\n")
    torch.save({"model": {"w": torch.ones(2)}, "history": [{"seconds": 1}]}, folder / "seed_0.pt")
    (folder / "seed_0.json").write_text('{"test_accuracy": 0.5, "seconds_per_epoch": 1}')
    before = contents(folder)
    (folder / "seed_0.csv").write_text("epoch,seconds,loss\n0,9,0.25\n")
    (folder / "seed_0.json").write_text('{"test_accuracy": 0.5, "seconds_per_epoch": 7}')
    torch.save({"model": {"w": torch.ones(2)}, "history": [{"seconds": 2}]}, folder / "seed_0.pt")
    assert not differences(folder, before)
    (folder / "seed_0.csv").write_text("epoch,seconds,loss\n0,1.5,0.250000001\n")
    (folder / "seed_0.json").write_text('{"test_accuracy": 0.25, "seconds_per_epoch": 1}')
    torch.save({"model": {"w": torch.ones(2) + 1e-7}}, folder / "seed_0.pt")
    (folder / "other.csv").write_text("a\n1\n")
    assert differences(folder, before) == ["other.csv", "seed_0.csv", "seed_0.json", "seed_0.pt"]


# --- Runs side by side, whose processes are named by their locks.


def side_by_side(root, *more):
    """Begin a run of two seeds, each in a process of its own."""
    arguments = [*TINY, "--epochs", "100000", "--compile", "never", "--seeds", "0", "1"]
    arguments += ["--jobs", "2", "--results-root", str(root)]
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.mnist_m2", *arguments, *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def workers(folder, process):
    """Wait until both seeds train anew, and return the process of each."""
    files = [folder / f"seed_{seed}.csv" for seed in (0, 1)]
    before = {file: file.read_text() if file.exists() else "" for file in files}
    while not all(file.exists() and file.read_text() != before[file] for file in files):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    locks = [(folder / f".seed_{seed}.lock").read_text() for seed in (0, 1)]
    return [int(re.match(r"process (\d+) on \S+ since ", lock)[1]) for lock in locks]


def are_gone(folder):
    """Wait until nobody holds the lock of either seed, as is so when its process has ended."""
    # A fifth of a second is enough where nothing else runs.
    deadline = time.monotonic() + 300
    for seed in (0, 1):
        while True:
            try:
                with RunFolder(folder, {}).lock(seed):
                    break
            except ResultsError as error:
                if time.monotonic() > deadline:
                    os.kill(int(re.search(r"process (\d+)", str(error))[1]), signal.SIGKILL)
                    pytest.fail(f"still there after five minutes: {error}")
                time.sleep(0.05)


def test_no_process_outlives_its_parent_and_all_that_end_it_say_how_to_go_on(tmp_path):
    folder = tmp_path / "mnist_m2" / "m2-digits-20"
    # A worker is killed, as when memory is out: the other ends too, with a line and no traceback.
    run = side_by_side(tmp_path)
    pids = workers(folder, run)
    assert len({*pids, run.pid}) == 3
    os.kill(pids[1], signal.SIGKILL)
    _, said = run.communicate()
    assert run.returncode == 1
    (line,) = said.splitlines()
    assert line.startswith("error: a process that computed a part of this died")
    assert line.endswith("--resume")
    are_gone(folder)
    # The parent is killed, and cannot tell its workers.
    run = side_by_side(tmp_path, "--resume")
    workers(folder, run)
    run.kill()
    run.communicate()
    are_gone(folder)


def test_termination_saves_and_says_how_to_go_on(tmp_path):
    command = COMMAND.replace("--epochs 3", "--epochs 100000 --compile never")
    ending = Killer(command, tmp_path).run(operation=60, sign=signal.SIGTERM)
    assert ending.code == 128 + signal.SIGTERM
    assert "seed_0.pt holds the last whole epoch" in ending.said
    assert "interrupted. Go on with:" in ending.said
    assert "Traceback" not in ending.said

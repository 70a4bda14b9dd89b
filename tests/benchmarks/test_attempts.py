import os
import signal
import subprocess
import sys
import time

import pytest

# Two fits that do not end, each of which leaves its process's number in a folder.
PROGRAM = """
import os, time
from pathlib import Path

def run(fit, commit):
    (Path(__file__).parent / str(os.getpid())).touch()
    time.sleep(1e6)
"""
BEGIN = """
import endless
from benchmarks.attempts import attempts

list(attempts(endless.run, [1, 2], 2))
"""


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_no_fit_outlives_a_comparison_that_was_killed(tmp_path):
    # Processes find the function by its name in this file.
    (tmp_path / "endless.py").write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), str(tmp_path), *sys.path])}
    killed = subprocess.Popen([sys.executable, "-c", BEGIN], env=env)
    while len(pids := [int(f.name) for f in tmp_path.iterdir() if f.name.isdigit()]) < 2:
        assert killed.poll() is None
        time.sleep(0.05)
    assert killed.pid not in pids
    killed.kill()
    killed.wait()
    # A fifth of a second is enough where nothing else runs.
    deadline = time.monotonic() + 300
    while any(map(is_alive, pids)):
        if time.monotonic() > deadline:
            for pid in filter(is_alive, pids):
                os.kill(pid, signal.SIGKILL)
            pytest.fail("a process was still there after five minutes")
        time.sleep(0.05)


def test_a_fit_that_fails_lets_the_others_go_on(monkeypatch):
    from benchmarks.attempts import attempts

    def run(fit, commit):
        if fit == 2:
            raise ValueError("two")
        return [{"fit": fit, "commit": commit}]

    found = {fit: (rows, error) for fit, rows, error in attempts(run, [1, 2, 3], 1)}
    assert found[2] == ([], "ValueError: two")
    assert [found[n][0][0]["fit"] for n in (1, 3)] == [1, 3]

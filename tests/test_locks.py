"""Locks between processes: who holds them, and that nobody does once that process has ended."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

import pyro_ssl
from pyro_ssl import locks
from pyro_ssl.errors import ResultsError
from pyro_ssl.locks import held

ROOT = Path(pyro_ssl.__file__).parent.parent
HOLD = """
import sys, time
from pathlib import Path
from pyro_ssl.locks import held
with held(Path(sys.argv[1]), "seed 3"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process, which holds a lock until it is killed or its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_held_lock_names_its_holder_and_is_free_when_that_was_killed(holder, tmp_path, recwarn):
    path = tmp_path / "lock"
    who = rf"seed 3 is being written by process {holder.pid} on {socket.gethostname()} since \d+-"
    with pytest.raises(ResultsError, match=who), held(path, "seed 3"):
        pass
    assert str(holder.pid) in path.read_text()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    # The file is still there, and would name whatever process has that number now.
    path.write_text(path.read_text().replace(str(holder.pid), str(os.getppid())))
    with held(path, "seed 3"):
        assert f"process {os.getpid()} on " in path.read_text()
    assert not path.exists()
    assert not recwarn.list


def test_a_lock_ends_with_its_block_whatever_ends_that(tmp_path):
    path = tmp_path / "folder" / "lock"
    with pytest.raises(ZeroDivisionError), held(path, "it"):
        raise ZeroDivisionError
    assert not path.exists()
    with (
        held(path, "it"),
        pytest.raises(ResultsError, match=rf"it is being written by process {os.getpid()} "),
        held(path, "it"),
    ):
        pass


def test_what_a_process_of_another_computer_left_is_said(tmp_path):
    path = tmp_path / "lock"
    path.write_text("process 12 on elsewhere since 2026-01-01 00:00:00")
    with pytest.warns(UserWarning, match="left by process 12 on elsewhere since"), held(path, "it"):
        pass


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"nonsense", b"x" * 100_000])
def test_any_content_of_the_file_is_replaced(tmp_path, content):
    path = tmp_path / "lock"
    path.write_bytes(content)
    said = pytest.warns(UserWarning, match="was left by") if content else nullcontext()
    with said, held(path, "it"):
        assert path.read_text().startswith(f"process {os.getpid()} on ")


def test_a_file_of_another_process_by_now_is_not_deleted(tmp_path):
    path = tmp_path / "lock"
    with held(path, "it"):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


def test_systems_without_locks_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with pytest.warns(UserWarning, match="cannot be locked"), held(tmp_path / "lock", "it"):
        pass


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="cannot be written"), held(tmp_path / "file/lock", "it"):
        pass
    (tmp_path / "lock").mkdir()
    with pytest.raises(ResultsError, match="cannot be written"), held(tmp_path / "lock", "it"):
        pass

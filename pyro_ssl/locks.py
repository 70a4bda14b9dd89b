"""Locks on files that only one process may write; a lock names its holder."""

import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyro_ssl.errors import ResultsError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold the lock `path`, a file that names this process, and delete it at the end.

    The operating system releases the lock when its process ends, for whatever reason: a file left
    by a killed process is harmless, even if another process has its number later. On systems
    without such locks (Windows, some network file systems), a warning says so.

    Args:
        path: the file of the lock.
        what: the object that is locked, for messages.

    Raises:
        ResultsError: naming the process that holds it, or if the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _open_locked(path, what)
        _say_whose(file, path)
    except OSError as error:
        raise ResultsError(
            f"{path} cannot be written ({error}): choose another folder, by --results-root or --out"
        ) from error
    try:
        yield
    finally:
        # Before others can have the lock, and not if the file is already another process's.
        with suppress(OSError):
            if _is_open(path, file):
                path.unlink()
        os.close(file)


def _open_locked(path: Path, what: str) -> int:
    """Return the opened file, locked if the system has locks."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file, path, what)
        except BaseException:
            os.close(file)
            raise
        if _is_open(path, file):
            return file
        # Its last holder has deleted it in the meantime.
        os.close(file)


def _lock(file: int, path: Path, what: str) -> None:
    if fcntl is None:
        warnings.warn(
            f"{what} cannot be locked on this system: run it only once at a time", stacklevel=4
        )
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ResultsError(
            f"{what} is being written by {_read(file) or 'another process'}: wait until that has "
            "ended, or end it"
        ) from error
    except OSError as error:
        warnings.warn(
            f"{what} cannot be locked ({error}): run it only once at a time", stacklevel=4
        )


def _say_whose(file: int, path: Path) -> None:
    """Write the holder into the file; warn if a process of another computer left it."""
    former, host = _read(file), socket.gethostname()
    if former and not former.partition(" since ")[0].endswith(f" on {host}"):
        warnings.warn(
            f"{path} was left by {former}, not on this computer, {host}: if that process "
            "still runs there, end one of the two",
            stacklevel=4,
        )
    os.ftruncate(file, 0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    os.pwrite(file, f"process {os.getpid()} on {host} since {since}".encode(), 0)


def _read(file: int) -> str:
    return os.pread(file, 1000, 0).decode(errors="replace").strip()


def _is_open(path: Path, file: int) -> bool:
    """Return whether the opened file is the one at `path`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False

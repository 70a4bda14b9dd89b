"""Temporary files that take a file's place in one step, and those that a killed process left."""

import hashlib
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pyro_ssl.errors import ResultsError, one_line

try:
    import fcntl
except ImportError:  # Windows, where temporary files of writers that died stay.
    fcntl = None  # type: ignore[assignment]

# Temporary files have a number of this machine in their names: others see no locks, maybe.
_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_ANY = "?" * 8


@contextmanager
def replacing(
    path: Path, failures: tuple[type[Exception], ...] = (OSError, RuntimeError)
) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which takes its place once it is written.

    After any error the temporary file is gone. What a killed process left is deleted by the next
    one that writes to the folder.

    Args:
        path: the file.
        failures: errors that say that it cannot be written; others pass as they are.

    Raises:
        ResultsError: if it cannot be written.
    """
    # Several threads and processes may write the same file.
    temporary = path.with_name(f"{path.name}.{_HOST}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_stale(path.parent)
        with _held(temporary):
            yield temporary
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        _flush_folder(path.parent)
    except failures as error:
        raise ResultsError(
            f"{path} cannot be written: {one_line(error)}: make room there, or take another "
            "place; a file that was there is unchanged"
        ) from error


def is_being_written(path: Path) -> bool:
    """Return whether somebody else writes a file, as far as its folder shows."""
    return any(path.parent.glob(f"{path.name}.{_ANY}-{_ANY}.tmp"))


@contextmanager
def _held(file: Path) -> Iterator[None]:
    """Make a file and lock it for that time; then delete it, unless it has another name by then.

    The lock ends with the process, however that ends.
    """
    opened = _locked(file)
    if fcntl is None:
        # Windows renames no open file.
        opened.close()
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()
        opened.close()


def _locked(file: Path) -> IO[bytes]:
    while True:
        opened = file.open("ab")
        with suppress(OSError):
            # Where a file system has no locks, nobody deletes what is stale.
            if fcntl is not None:
                fcntl.flock(opened, fcntl.LOCK_EX)
        if file.exists():
            return opened
        # Another process found it before it was locked, and deleted it.
        opened.close()


def _clear_stale(folder: Path) -> None:
    """Delete the temporary files whose writers, on this machine, live no more."""
    for file in folder.glob(f"*.{_HOST}-{_ANY}.tmp") if fcntl is not None else ():
        with suppress(OSError), file.open("r+b") as opened:
            # An error if its writer holds it.
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()


def _flush_folder(folder: Path) -> None:
    """Let the names in a folder outlive a loss of power, where the system can."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)

"""Temporary files that atomically replace a file, and clean-up of those of killed processes."""

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
except ImportError:  # Windows, where temporary files of dead writers stay.
    fcntl = None  # type: ignore[assignment]

# Names of temporary files contain a number of this machine, since others may not see its locks.
_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_ANY = "?" * 8


@contextmanager
def replacing(
    path: Path, failures: tuple[type[Exception], ...] = (OSError, RuntimeError)
) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which replaces `path` after it is written.

    After any error, the temporary file is deleted. The next writer in the folder deletes files that
    killed processes left.

    Args:
        path: the file.
        failures: errors which mean that it cannot be written; all others are passed on.

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
    """Return whether another process writes a file, as far as its folder shows."""
    return any(path.parent.glob(f"{path.name}.{_ANY}-{_ANY}.tmp"))


@contextmanager
def _held(file: Path) -> Iterator[None]:
    """Create and lock a file; at the end delete it, unless it has been renamed.

    The lock ends with the process, for whatever reason the process ends.
    """
    opened = _locked(file)
    if fcntl is None:
        # Windows cannot rename open files.
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
            # On a file system without locks, nobody deletes stale files.
            if fcntl is not None:
                fcntl.flock(opened, fcntl.LOCK_EX)
        if file.exists():
            return opened
        # Another process found the file before it was locked, and deleted it.
        opened.close()


def _clear_stale(folder: Path) -> None:
    """Delete the temporary files of this machine whose writers no longer exist."""
    for file in folder.glob(f"*.{_HOST}-{_ANY}.tmp") if fcntl is not None else ():
        with suppress(OSError), file.open("r+b") as opened:
            # Raises an error if its writer holds it.
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()


def _flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power, if the system can."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)

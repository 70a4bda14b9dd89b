"""Downloads that leave nothing behind if they fail, and descriptions of folders in words."""

import os
import pickle
import tarfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from pyro_ssl.errors import one_line as one_line

# Errors of a download, and of reading its files; OSError includes urllib's URLError.
FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    AssertionError,
    EOFError,
    HTTPException,
    zlib.error,
    tarfile.TarError,
    pickle.UnpicklingError,
)


def download(folder: Path, fetch: Callable[[Path], Path]) -> None:
    """Call `fetch` on an empty folder, and move the fetched files into `folder`.

    If it fails, no file and no new folder remains. Existing files are kept.

    Args:
        folder: destination of the files; it is created if it is missing.
        fetch: takes an empty folder, and returns the folder in it that holds the fetched files.

    Raises:
        OSError: if `folder` cannot be written.
        Exception: any error that `fetch` raises.
        OSError: if `folder` cannot be written.
        Exception: what `fetch` raises.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with _temporary(folder) as temporary:
            source = fetch(Path(temporary))
            for file in sorted(source.rglob("*")):
                target = folder / file.relative_to(source)
                if file.is_file() and not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(file, target)
    except BaseException:
        for place in made:
            with suppress(OSError):
                place.rmdir()
        raise


def _temporary(folder: Path) -> TemporaryDirectory[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return TemporaryDirectory(prefix=".download-", dir=folder)
    except OSError as error:
        raise OSError(f"{folder} cannot be written: {error.strerror or error}") from error


def contents(folder: Path, most: int = 8) -> str:
    """Return a folder's content as the end of a sentence: "which holds a, b and 3 more"."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return "which does not exist"
    except OSError as error:
        return f"which cannot be read ({error.strerror or error})"
    if not names:
        return "which is empty"
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"which holds {', '.join(names[:most])}{rest}"

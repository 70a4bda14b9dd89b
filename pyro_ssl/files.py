"""Files that are written atomically, and files of states with a check against damage.

If the process is killed while it writes, either the old file or the new one remains. The file of a
state ends with the SHA-256 of everything before it, so that no flipped bit goes unnoticed.
"""

import hashlib
import io
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from pyro_ssl.errors import CheckpointError, ConfigError, ResultsError, one_line
from pyro_ssl.json_files import unheld
from pyro_ssl.plain import plain
from pyro_ssl.reading import REMEDY
from pyro_ssl.replacing import replacing

_BLOCK = 1 << 20
# The end of a state's file, which is a zip archive: a comment with the SHA-256.
_SEAL = b"pyro_ssl sha256 "
_SEALED = len(_SEAL) + 64
# The last record of a zip archive without a comment, and an attribute of folders in it.
_ZIP_END, _ZIP_END_SIZE, _ZIP_FOLDER = b"PK\x05\x06", 22, 0x10


def as_path(path: Any, name: str = "path") -> Path:
    """Return the path of a file, given as a string or a path.

    Raises:
        ConfigError: if it is neither.
    """
    if not isinstance(path, str | os.PathLike) or "\0" in str(path):
        raise ConfigError(f"{name} is {path!r:.100}, expected the path of a file")
    return Path(path)


def write_text(text: str, path: Path) -> None:
    """Replace the content of the file `path` by `text`, in UTF-8, atomically.

    Raises:
        ResultsError: if the file cannot be written.
    """
    try:
        content = text.encode()
    except UnicodeError as error:
        raise ResultsError(f"{path} cannot be written: {one_line(error)}") from error
    write_bytes(content, path)


def write_bytes(content: bytes, path: Path) -> None:
    """Replace the content of `path` by `content` atomically, after reading it back as a check.

    Raises:
        ResultsError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)
        if temporary.read_bytes() != content:
            raise OSError("what is read is not what was written")


def write_state(state: Mapping[Any, Any], path: Path) -> None:
    """Write a mapping of tensors and plain values to `path` atomically, after reading it back.

    NumPy's scalars become Python's numbers.

    Raises:
        ConfigError: naming a value that `read_state` would refuse.
        ResultsError: if the file cannot be written.
    """
    import torch
    from torch.utils.serialization import config

    state = plain(dict(state))
    with replacing(path, (OSError, RuntimeError, zipfile.BadZipFile)) as temporary:
        try:
            with config.patch("save.compute_crc32", True):  # type: ignore[attr-defined]
                torch.save(state, temporary)
            with temporary.open("rb") as file:
                # The archive's checksums are computed from the data in memory.
                _check_undamaged(file)
            _seal(temporary)
            # A memory-mapped file takes no memory.
            torch.load(temporary, map_location="cpu", weights_only=True, mmap=True)
        except (AttributeError, TypeError, ValueError, pickle.PickleError) as error:
            raise ConfigError(unheld(path, state, _is_state, "tensors")) from error


def read_state(path: Path) -> Any:
    """Return what `write_state` wrote, with tensors on the CPU, without running the file's code.

    Files of earlier versions have no SHA-256; the checksums of their zip archives are checked.

    Raises:
        CheckpointError: if the file is missing, damaged, or holds other objects.
    """
    try:
        return _load(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"there is no checkpoint {path} to resume from or to load") from error
    except Exception as error:
        # On damaged bytes, the reader may raise nearly any error.
        reason = one_line(error)
        if isinstance(error, pickle.UnpicklingError):
            reason = "it holds more than tensors and plain values, and nothing else is ever loaded"
        raise CheckpointError(
            f"{path} is truncated or not a checkpoint ({reason}): {REMEDY}"
        ) from error


def sha256_of(file: IO[bytes], size: int = -1) -> str:
    """Return the SHA-256 of an open file's next `size` bytes, or of all that follow if -1."""
    found = hashlib.sha256()
    while size and (block := file.read(_BLOCK if size < 0 else min(_BLOCK, size))):
        found.update(block)
        size -= len(block) if size > 0 else 0
    return found.hexdigest()


def _seal(path: Path) -> None:
    """Append the SHA-256 of a zip archive to it, as the archive's comment."""
    with path.open("r+b") as file:
        # The last number of an archive is the length of its comment.
        file.seek(-2, os.SEEK_END)
        file.write(_SEALED.to_bytes(2, "little"))
        file.seek(0)
        digest = sha256_of(file)
        file.seek(0, os.SEEK_END)
        file.write(_SEAL + digest.encode())


def _check_undamaged(file: IO[bytes]) -> None:
    """Check an archive's SHA-256, or the checksums in archives of earlier versions.

    Raises:
        BadZipFile: if they differ, or it is not an archive.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _SEALED, 0))
    end = file.read()
    file.seek(0)
    if end.startswith(_SEAL):
        if sha256_of(file, size - _SEALED).encode() != end[len(_SEAL) :]:
            raise zipfile.BadZipFile("its SHA-256 differs from the stored one")
        return
    if not (end[-_ZIP_END_SIZE:].startswith(_ZIP_END) and end.endswith(b"\0\0")):
        raise zipfile.BadZipFile("it is not a complete archive of torch.save")
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
        if damaged or any(part.external_attr & _ZIP_FOLDER for part in archive.infolist()):
            raise zipfile.BadZipFile(f"the checksum of its part {damaged} differs")


def _load(path: Path) -> Any:
    import torch

    if path.exists() and not path.is_file():
        raise OSError("it is not a file")
    with path.open("rb") as file:
        _check_undamaged(file)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)


def _is_state(value: Any) -> bool:
    import torch

    file = io.BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception:
        return False
    return True

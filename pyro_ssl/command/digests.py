"""The SHA-256 of the files that a model was trained on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_ssl.errors import DataError
from pyro_ssl.files import sha256_of


def digest_of(files: Sequence[Path], root: Path) -> dict[str, Any]:
    """Return the digest, the number and the size of files.

    For one file, this is the file's own SHA-256, as printed by `sha256sum`. For several, it is that
    of a text with a line for each file: its SHA-256, two spaces, and its path relative to `root`.

    Raises:
        DataError: if a file cannot be read.
    """
    each = [_sha256(file) for file in files]
    found = each[0] if len(each) == 1 else _of_several(files, each, root)
    size = sum(file.stat().st_size for file in files)
    return {"sha256": found, "files": len(files), "bytes": size}


def _of_several(files: Sequence[Path], each: Sequence[str], root: Path) -> str:
    found = hashlib.sha256()
    for file, sha in zip(files, each, strict=True):
        name = file.relative_to(root) if file.is_relative_to(root) else file.name
        found.update(f"{sha}  {Path(name).as_posix()}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return sha256_of(opened)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}") from error

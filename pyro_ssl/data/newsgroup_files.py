"""scikit-learn's file of 20 Newsgroups, read without running any code in it.

The file is a pickle: scikit-learn's own loader would run any code in it. The digest of the file is
not known, since the file holds paths of the machine that made it; the digest of its documents is.
"""

import hashlib
import io
import pickle
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pyro_ssl.data.downloads import FAILURES, contents, download, one_line
from pyro_ssl.errors import DataError

FILE = "20news-bydate_py3.pkz"

# SHA-256 of the documents with their groups, see `_digest`.
_DOCUMENTS = "7577a2ddeae3ad7caba7613e30fe04454eef2e22c25f7ce2644df6c6ed511b12"

# An upper limit on the bytes of the documents; a compressed file could hold any number of them.
_MOST = 2**27

# Names in a file written by scikit-learn, in any version of scikit-learn and NumPy.
_MENTIONED = {"Bunch", "_reconstruct", "_frombuffer", "ndarray", "dtype"}
_MODULES = {
    "sklearn.utils",
    "sklearn.utils._bunch",
    "sklearn.datasets.base",
    "numpy",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
}


@contextmanager
def checked_home(folder: Path) -> Iterator[str]:
    """Yield a `data_home` for scikit-learn's `fetch_20newsgroups` whose file has been checked.

    It is a new, temporary folder with the documents of the file in `folder`. If the file is
    missing, scikit-learn downloads it into `folder`.

    Args:
        folder: the folder of the file.

    Raises:
        DataError: if the file is missing and cannot be downloaded, cannot be read, requests that
            code is run, or has other documents.
    """
    if not (folder / FILE).is_file():
        _download(folder)
    parts = _read(folder / FILE)
    with TemporaryDirectory(prefix="20news-") as home:
        # zlib's format, as scikit-learn expects, but without compression, which takes seconds.
        (Path(home) / FILE).write_bytes(zlib.compress(pickle.dumps(parts), 0))
        yield home


def _download(folder: Path) -> None:
    from sklearn.datasets import fetch_20newsgroups

    def fetch(temporary: Path) -> Path:
        fetch_20newsgroups(data_home=str(temporary))
        return temporary

    try:
        download(folder, fetch)
    except FAILURES as error:
        raise DataError(
            f"20 Newsgroups was looked for in {folder}, {contents(folder)}, and could not be "
            f"downloaded ({one_line(error)}): put scikit-learn's {FILE} there"
        ) from error


def _read(file: Path) -> dict[str, Any]:
    """Return the training and the test part of the file, in scikit-learn's form."""
    remedy = "delete it, so that it is downloaded again, or put scikit-learn's own there"
    try:
        found = _Plain(io.BytesIO(_decompressed(file.read_bytes()))).load()
        parts = {name: _documents(found[name]) for name in ("train", "test")}
    except _NotPlainError as error:
        raise DataError(
            f"{file} was refused: it would have run {error}, which no file of 20 Newsgroups does; "
            f"nothing of it has been run. {remedy.capitalize()}"
        ) from error
    except Exception as error:  # Damaged bytes may cause any error.
        raise DataError(
            f"{file} cannot be read as scikit-learn's file of 20 Newsgroups ({one_line(error)}): "
            f"{remedy}"
        ) from error
    digest = _digest(parts)
    if digest != _DOCUMENTS:
        raise DataError(
            f"{file} was refused: its documents have the SHA-256 {digest}, those of 20 Newsgroups "
            f"{_DOCUMENTS}: {remedy}"
        )
    return parts


def _decompressed(content: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    found = decompressor.decompress(content, _MOST)
    if decompressor.unconsumed_tail:
        raise ValueError(f"it holds more than {_MOST} bytes")
    return found


class _NotPlainError(Exception):
    """A file requests a function or class."""


class _Inert(dict):
    """Replaces all objects in the file, and keeps the arguments of their constructors."""

    state: Any = None

    def __new__(cls, *args: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *args: Any) -> None:
        super().__init__()
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Plain(pickle.Unpickler):
    """Reads texts, numbers and lists, and runs nothing that the file names."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES and name in _MENTIONED:
            return _Inert
        raise _NotPlainError(f"{module}.{name}")


def _documents(part: Any) -> Any:
    """Return a part of the file with its texts and groups, and nothing else."""
    from sklearn.utils import Bunch

    texts, names = [str(text) for text in part["data"]], [str(n) for n in part["target_names"]]
    array = part["target"]
    # The place of an array's bytes depends on the pickle protocol.
    numbers = bytes(array.args[0] if array.state is None else array.state[4])
    # 8 bytes per number, or 4 if the file was made on Windows.
    target = np.frombuffer(numbers, f"<i{len(numbers) // len(texts)}").astype(np.int64)
    if len(target) != len(texts):
        raise ValueError(f"{len(texts)} documents, but {len(target)} groups")
    places = np.array([names[group] for group in target.tolist()])
    return Bunch(data=texts, filenames=places, target_names=names, target=target, DESCR=None)


def _digest(parts: dict[str, Any]) -> str:
    """Return the SHA-256 of documents with their groups, independent of the order in each part."""
    found = hashlib.sha256()
    for name, part in parts.items():
        found.update(name.encode())
        groups = [part.target_names[group] for group in part.target.tolist()]
        for document in sorted(zip(groups, part.data, strict=True)):
            for text in document:
                found.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return found.hexdigest()

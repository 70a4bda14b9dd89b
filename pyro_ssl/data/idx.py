"""The four files of MNIST, and of data sets with the same layout, in any folder users put them."""

import gzip
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyro_ssl.data.downloads import FAILURES, download, one_line
from pyro_ssl.errors import DataError

# Images and labels for training, then for testing.
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

# Folders of a data set; the first is torchvision's, which has the name of its class.
_FOLDERS = {
    "mnist": ("MNIST", "mnist"),
    "fashion-mnist": ("FashionMNIST", "fashion-mnist", "fashion_mnist", "fashionmnist", "fashion"),
}

# The first test labels distinguish data sets whose files have the same names.
_FIRST_LABELS = {
    "mnist": [7, 2, 1, 0, 4, 1, 4, 9, 5, 9],
    "fashion-mnist": [9, 2, 1, 1, 6, 1, 4, 6, 5, 7],
}


def torchvision_folder(name: str, root: Path) -> Path:
    """Return the folder where torchvision keeps a data set's files."""
    return root / _FOLDERS[name][0] / "raw"


def places(name: str, root: Path) -> list[Path]:
    """Return the folders in which a data set is searched, in this order."""
    own = [root / folder / raw for folder in _FOLDERS[name] for raw in ("raw", "")]
    return [*own, root / "raw", root]


def find_files(name: str, root: Path) -> tuple[Path, ...] | None:
    """Return a data set's files in the order of `FILES`, or None if no folder holds all of them.

    Names may have a dot in place of the second dash, as on Kaggle, and may end in `.gz`; a file may
    be in a folder of its own name. Files count as another data set's by the name of `root` or by
    their first labels, unless something else says what they are.

    Args:
        name: the data set, `mnist` or `fashion-mnist`.
        root: folder of the data sets, or one of the data set's own folders.
    """
    for place in places(name, root):
        found = files_in(place)
        if len(found) == len(FILES):
            unnamed = place in (root, root / "raw")
            if not (unnamed and _are_of_another(name, root, found[FILES[3]])):
                return tuple(found[file] for file in FILES)
    return None


def files_in(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that are among `FILES`, in any spelling, by their usual name."""
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: (entry.name not in FILES, entry.name))
    except OSError:
        return {}
    found: dict[str, Path] = {}
    for entry in entries:
        usual = _usual_name(entry)
        if usual in FILES:
            # Kaggle's archive has each file in a folder of its own name.
            inner = [entry] if entry.is_file() else sorted(entry.glob("*"))
            for file in inner:
                if file.is_file() and _usual_name(file) == usual:
                    found.setdefault(usual, file)
    return found


def _usual_name(file: Path) -> str:
    return file.name.lower().removesuffix(".gz").replace(".", "-").replace("_", "-")


def _are_of_another(name: str, root: Path, labels: Path) -> bool:
    """Return whether files are another data set's, by their folder's name or their first labels."""
    folder = root.resolve()
    title = (folder.parent if folder.name == "raw" else folder).name.lower()
    other = any(word in title for word in ("fashion", "kmnist", "kuzushiji", "emnist", "qmnist"))
    if (name == "mnist" and other) or (name == "fashion-mnist" and title == "mnist"):
        return True
    try:
        first = read_idx(labels, 1)[:10].tolist()
    except DataError:
        return False
    return any(first == labels for one, labels in _FIRST_LABELS.items() if one != name)


def read_idx(file: Path, dims: int) -> Tensor:
    """Return the bytes of an IDX file, compressed by gzip or not, as a tensor.

    Args:
        file: the file.
        dims: number of dimensions, 3 for images and 1 for labels.

    Raises:
        DataError: if it is not such a file, or is incomplete.
    """
    try:
        data = file.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if data[:4] != bytes([0, 0, 8, dims]):
            raise ValueError(f"no IDX file of bytes in {dims} dimensions, it begins {data[:8]!r}")
        shape = np.frombuffer(data, ">u4", dims, 4).tolist()
        values = np.frombuffer(data, np.uint8, offset=4 + 4 * dims)
        if len(values) != math.prod(shape):
            raise ValueError(f"{len(values)} values, {' x '.join(map(str, shape))} expected")
    except FAILURES as error:
        raise DataError(
            f"{file} cannot be read ({one_line(error)}): delete it, and get it again"
        ) from error
    return torch.from_numpy(values.reshape(shape).copy())


def download_files(name: str, root: Path) -> None:
    """Download a data set's files with torchvision, to torchvision's folder."""
    from torchvision import datasets

    title = _FOLDERS[name][0]

    def fetch(temporary: Path) -> Path:
        getattr(datasets, title)(str(temporary), download=True)
        return torchvision_folder(name, temporary)

    download(torchvision_folder(name, root), fetch)

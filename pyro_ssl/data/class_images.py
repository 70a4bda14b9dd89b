"""Colour photographs with one class each: CIFAR-10, and your own folders."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_ssl.data.datasets import ImageDataset, data_root
from pyro_ssl.data.downloads import FAILURES, contents, download, one_line
from pyro_ssl.data.pictures import class_images, image_files, read_images, warn_of_left_out
from pyro_ssl.errors import DataError

_CIFAR10, _CIFAR10_ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"


def load_cifar10(root: str | Path | None = None) -> ImageDataset:
    """Load CIFAR-10 with torchvision, which downloads it if it is missing.

    Args:
        root: folder of the data sets, see `data_root`; it holds `cifar-10-batches-py`,
            or is that folder.

    Returns:
        The data set, training images `[50000, 3, 32, 32]` as bytes.

    Raises:
        DataError: if the files are missing and cannot be downloaded, or are corrupt.
    """
    parts = _cifar10_parts(data_root(root))
    (train_xs, train_ys), (test_xs, test_ys) = (
        (torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets))
        for part in parts
    )
    return ImageDataset("cifar10", train_xs, train_ys, test_xs.float() / 255, test_ys, 10)


def _cifar10_parts(root: Path) -> list[Any]:
    """Return torchvision's training and test part."""
    from torchvision import datasets

    names = ("", "cifar10", "CIFAR10", "cifar-10-python")
    places = [root / name for name in names] + [root.parent] * (root.name == _CIFAR10)
    folder = next((place for place in places if (place / _CIFAR10).is_dir()), root)

    def fetch(temporary: Path) -> Path:
        datasets.CIFAR10(str(temporary), download=True)
        return temporary

    try:
        if not ((folder / _CIFAR10).is_dir() or (folder / _CIFAR10_ARCHIVE).is_file()):
            download(folder, fetch)
        return [
            datasets.CIFAR10(str(folder), train=train, download=True) for train in (True, False)
        ]
    except FAILURES as error:
        raise DataError(
            f"{_CIFAR10} of CIFAR-10 was looked for in {folder}, {contents(folder)}, and could not "
            f"be downloaded ({one_line(error)}): get {_CIFAR10_ARCHIVE} from "
            f"https://www.cs.toronto.edu/~kriz/cifar.html and unpack it in {folder}"
        ) from error


def load_class_folders(
    folder: str | Path, size: int, name: str | None = None
) -> tuple[ImageDataset, tuple[str, ...]]:
    """Load images from `folder/train/CLASS/*` and `folder/test/CLASS/*`.

    Classes are numbered in the order of their names. Hidden and empty folders are not classes, and
    hidden files are not images: `.ipynb_checkpoints`, `.DS_Store`, `__MACOSX`, `Thumbs.db`. A
    warning names other files that are left out. Images look as in an image viewer: rotated by EXIF,
    transparent ones on white, and 16 bits scaled to 8. They are cut to the largest square in their
    middle and scaled.

    Args:
        folder: the folder.
        size: height and width in pixels.
        name: name of the data set; the folder's name if None.

    Returns:
        The data set, training images as bytes, and the names of its classes.

    Raises:
        DataError: if a part is missing or has no images, the two parts have different classes, a
            folder holds only other files, or an image cannot be read.
    """
    folder = Path(folder).expanduser().resolve()
    classes = {part: _classes(folder / part) for part in ("train", "test")}
    names = list(classes["train"])
    if names != list(classes["test"]):
        raise DataError(
            f"{folder} has images of the classes {', '.join(names)} in train, but of "
            f"{', '.join(classes['test'])} in test: give both parts the same folders, each with "
            "at least one image"
        )
    found: list[Tensor] = []
    for files in classes.values():
        found.append(read_images([file for one in files.values() for file in one], size, None))
        found.append(torch.tensor([names.index(name) for name in files for _ in files[name]]))
    train_xs, train_ys, test_xs, test_ys = found
    tests = test_xs.float() / 255
    dataset = ImageDataset(name or folder.name, train_xs, train_ys, tests, test_ys, len(names))
    return dataset, tuple(names)


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Return the image files of each class, in the order of the classes' names."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: put images there, in a folder for each class")
    found = class_images(folder)
    warn_of_left_out(folder, [file.name for file in image_files(folder)])
    if not found:
        raise DataError(f"{folder} has no images in folders named after their classes")
    return found

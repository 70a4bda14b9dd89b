"""Colour photographs with one class each: CIFAR-10, and your own folders."""

import pickle
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from pyro_ssl.data.attribute_images import read_images
from pyro_ssl.data.datasets import ImageDataset, data_root
from pyro_ssl.errors import DataError

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def load_cifar10(root: str | Path | None = None) -> ImageDataset:
    """Load CIFAR-10 by torchvision, which downloads it if it is missing.

    Args:
        root: folder of the data sets, see `data_root`; it holds `cifar-10-batches-py`.

    Returns:
        The data set, training images `[50000, 3, 32, 32]` as bytes.

    Raises:
        DataError: if the files are missing and cannot be downloaded, or are corrupt.
    """
    from torchvision import datasets

    folder, parts = data_root(root), []
    for train in (True, False):
        try:
            parts.append(datasets.CIFAR10(str(folder), train=train, download=True))
        except (URLError, OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"CIFAR-10 was looked for in {folder / 'cifar-10-batches-py'} and could not be "
                f"downloaded ({reason}): get cifar-10-python.tar.gz from "
                f"https://www.cs.toronto.edu/~kriz/cifar.html and unpack it in {folder}"
            ) from error
    (train_xs, train_ys), (test_xs, test_ys) = (
        (torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets))
        for part in parts
    )
    return ImageDataset("cifar10", train_xs, train_ys, test_xs.float() / 255, test_ys, 10)


def load_class_folders(
    folder: str | Path, size: int, name: str | None = None
) -> tuple[ImageDataset, tuple[str, ...]]:
    """Load images from `folder/train/CLASS/*` and `folder/test/CLASS/*`.

    Classes are numbered in the order of their names. Images are cut to the largest square in their
    middle and scaled.

    Args:
        folder: the folder.
        size: height and width in pixels.
        name: name of the data set; the folder's name if None.

    Returns:
        The data set, training images as bytes, and the names of its classes.

    Raises:
        DataError: if a folder is missing or has no images, the two parts differ in their classes,
            or a file is no image.
    """
    folder = Path(folder).resolve()
    classes = {part: _classes(folder / part) for part in ("train", "test")}
    if classes["train"] != classes["test"]:
        raise DataError(
            f"{folder} has the classes {', '.join(classes['train'])} in train, but "
            f"{', '.join(classes['test'])} in test: give both parts the same folders"
        )
    found: list[Tensor] = []
    for part, names in classes.items():
        files = [
            (file, number)
            for number, one in enumerate(names)
            for file in sorted((folder / part / one).iterdir())
            if file.suffix.lower() in _SUFFIXES
        ]
        if not files:
            raise DataError(f"{folder / part} has no images in the folders of its classes")
        found.append(read_images([file for file, _ in files], size, None))
        found.append(torch.tensor([number for _, number in files]))
    train_xs, train_ys, test_xs, test_ys = found
    tests = test_xs.float() / 255
    names = classes["train"]
    dataset = ImageDataset(name or folder.name, train_xs, train_ys, tests, test_ys, len(names))
    return dataset, tuple(names)


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder: put images there, those of each class in a folder of its name"
        )
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())

"""Colour photographs with binary attributes: CelebA, and your own folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from pyro_ssl.data.datasets import ImageDataset, data_root
from pyro_ssl.data.downloads import FAILURES, contents, one_line
from pyro_ssl.data.known import with_minus_one
from pyro_ssl.data.pictures import read_images
from pyro_ssl.errors import DataError

# The 18 of CelebA's 40 attributes that Joy et al. (2021) use, as listed in the authors' code.
CELEBA_18 = (
    "Arched_Eyebrows", "Bags_Under_Eyes", "Bangs", "Black_Hair", "Blond_Hair", "Brown_Hair",
    "Bushy_Eyebrows", "Chubby", "Eyeglasses", "Heavy_Makeup", "Male", "No_Beard", "Pale_Skin",
    "Receding_Hairline", "Smiling", "Wavy_Hair", "Wearing_Necktie", "Young",
)  # fmt: skip

_CELEBA_FILES = (
    "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt", "identity_CelebA.txt",
    "list_bbox_celeba.txt", "list_landmarks_align_celeba.txt",
)  # fmt: skip

# Side of the square that is cut out of CelebA's images of 178 by 218; the face stays inside.
_CELEBA_CROP = 148

# The column of a table of attributes with the part of each row, training or test.
_SPLIT = "split"

# Placeholder for an empty entry until -1 has been interpreted.
_EMPTY = 2


def load_celeba(
    root: str | Path | None = None,
    size: int = 64,
    attributes: Iterable[str] | None = CELEBA_18,
    rows: int | None = None,
) -> tuple[ImageDataset, tuple[str, ...]]:
    """Load CelebA's training and test parts with torchvision; nothing is downloaded.

    Images are cut to the middle 148 by 148 pixels and scaled. The official validation part is not
    used: validation rows are split off the training part, as for any data set.

    Args:
        root: folder of the data sets, see `data_root`; it holds the folder `celeba`,
            or is that folder.
        size: height and width in pixels.
        attributes: names of the attributes to use, in this order; None for all 40.
        rows: number of first training images to use, with a tenth as many of the first test
            images; None for all.

    Returns:
        The data set, training images as bytes, and the names of its attributes.

    Raises:
        DataError: if the files are missing, or CelebA has no attribute of one of the names.
    """
    folder = data_root(root)
    if folder.name == "celeba" and not (folder / "celeba").is_dir():
        folder = folder.parent
    parts = _celeba_parts(folder)
    known = [name for name in parts[0].attr_names if name]
    names = tuple(known if attributes is None else attributes)
    for name in names:
        if name not in known:
            raise DataError(f"{name!r} is not an attribute of CelebA, expected some of {known}")
    columns = torch.tensor([known.index(name) for name in names])
    found = []
    for part, most in zip(parts, (rows, None if rows is None else -(-rows // 10)), strict=True):
        files = [folder / "celeba" / "img_align_celeba" / name for name in part.filename][:most]
        found += [read_images(files, size, _CELEBA_CROP), part.attr[: len(files), columns].long()]
    return _dataset("celeba", *found), names


def _celeba_parts(folder: Path) -> list[Any]:
    """Return torchvision's training and test part."""
    from torchvision import datasets

    try:
        return [
            datasets.CelebA(str(folder), split=split, target_type="attr")
            for split in ("train", "test")
        ]
    except FAILURES as error:
        place = folder / "celeba"
        lacking = ", ".join(name for name in _CELEBA_FILES if not (place / name).exists())
        reason = f"{lacking} lacking" if lacking else one_line(error)
        raise DataError(
            f"CelebA was looked for in {place}, {contents(place)}, and is not complete there "
            f"({reason}): get img_align_celeba.zip and {', '.join(_CELEBA_FILES[1:])} from "
            "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, put them into that folder, and "
            "unpack the archive there"
        ) from error


def load_attribute_folder(
    folder: str | Path,
    size: int = 64,
    table: str = "attributes.csv",
    minus_one: str | None = None,
) -> tuple[ImageDataset, tuple[str, ...]]:
    """Load your own folder of images and a CSV file of their attributes.

    The file's first column holds paths of images within the folder. An optional column `split` is
    `train` or `test`; without it, every fifth row is for testing. Each other column is an
    attribute: 1 if present, 0 if absent, -1 or empty if unknown; unknown attributes of test rows
    are not scored. Images are cut to the largest square in their middle and scaled. They look as in
    an image viewer, see `load_class_folders`.

    Args:
        folder: the folder.
        size: height and width in pixels.
        table: name of the CSV file in the folder.
        minus_one: meaning of -1: `unknown`, or `absent` in tables of 1 and -1, where only empty
            entries are unknown; None for `unknown`, with an error if the meaning is ambiguous.

    Returns:
        The data set, training images as bytes, and the names of its attributes.

    Raises:
        DataError: if the file or an image is missing or cannot be read, if an attribute has other
            values, or if it has only the values 1 and -1 and `minus_one` is None.
    """
    folder = Path(folder).expanduser().resolve()
    frame = _read_table(folder / table)
    names = tuple(str(column) for column in frame.columns[1:] if column != _SPLIT)
    ys = _attributes(folder / table, frame[list(names)], minus_one)
    testing = _testing(folder / table, frame)
    found: list[Tensor] = []
    for mask in (~testing, testing):
        files = [folder / str(frame.iloc[i, 0]) for i in mask.nonzero()[:, 0].tolist()]
        found += [read_images(files, size, None), ys[mask]]
    return _dataset(folder.name, *found), names


def _read_table(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path} cannot be read ({reason}): give a CSV file whose first column has paths of "
            "images, and whose other columns are attributes"
        ) from error
    if not set(frame.columns[1:]) - {_SPLIT}:
        raise DataError(f"{path} has no column of an attribute beside the paths of images")
    return frame


def _attributes(path: Path, given: pd.DataFrame, minus_one: str | None) -> Tensor:
    """Return attributes `[N, L]`, -1 where unknown."""
    values = given.apply(pd.to_numeric, errors="coerce")
    wrong = (given.notna() & ~values.isin([-1, 0, 1])).to_numpy()
    if wrong.any():
        row, column = (int(numbers[0]) for numbers in wrong.nonzero())
        raise DataError(
            f"{path}: {given.columns[column]} of row {row} is {str(given.iat[row, column])!r}, "
            "expected 0, 1, or -1 or nothing where it is unknown"
        )
    # An empty entry is unknown, whatever -1 means.
    ys = torch.tensor(values.fillna(_EMPTY).to_numpy(dtype="int64"))
    ys = with_minus_one({str(path): ys}, minus_one, list(given.columns))[str(path)]
    return ys.where(ys != _EMPTY, -1)


def _testing(path: Path, frame: pd.DataFrame) -> Tensor:
    """Return whether each row is for testing, `[N]`."""
    if _SPLIT not in frame:
        return torch.arange(len(frame)) % 5 == 4
    unknown = ~frame[_SPLIT].isin(["train", "test"])
    if unknown.any():
        row = int(unknown.to_numpy().nonzero()[0][0])
        raise DataError(
            f"{path}: split of row {row} is {str(frame[_SPLIT].iat[row])!r}, expected train or test"
        )
    return torch.tensor((frame[_SPLIT] == "test").to_numpy())


def _dataset(
    name: str, train: Tensor, train_ys: Tensor, test: Tensor, test_ys: Tensor
) -> ImageDataset:
    tests, attributes = test.float() / 255, train_ys.shape[1]
    return ImageDataset(name, train, train_ys, tests, test_ys, attributes, "unknown")

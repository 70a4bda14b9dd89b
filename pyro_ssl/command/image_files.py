"""Images: a folder of class folders, or a table of paths and labels."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyro_ssl.command.casting import as_text, blanked
from pyro_ssl.command.parts import Part
from pyro_ssl.command.recipe import Recipe
from pyro_ssl.command.tables import TableReader
from pyro_ssl.data.pictures import (
    SUFFIXES,
    class_images,
    image_files,
    read_images,
    seen_size,
    shown_entries,
    warn_of_left_out,
)
from pyro_ssl.errors import ConfigError, DataError

UNLABELLED = "unlabelled"
# Largest numbers of values and of images in a part.
_VALUES, _ROWS = 10_000_000, 1000
# Weights of the colours in a grey pixel (ITU-R BT.601).
_GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Pictures:
    """Image files with labels.

    Attributes:
        files: the files.
        names: names of the files in predictions.
        labels: `[N]`, None where unknown.
        root: the folder that the names are relative to.
        table: the files of the table that lists the images, if there is one.
    """

    files: list[Path]
    names: list[str]
    labels: NDArray[Any]
    root: Path
    table: tuple[Path, ...] = ()


def images_in_folder(folder: Path, unlabelled: str | None, flat: bool = False) -> Pictures:
    """Return the images in folders named after their classes, in the order of their names.

    Args:
        folder: the folder of these folders.
        unlabelled: name of the folder of images without a label; `unlabelled` if None.
        flat: allow images in `folder` itself; they have no label.

    Raises:
        DataError: if there are no images; if, unless `flat`, some are beside the folders; or if a
            folder holds only other files.
    """
    without = unlabelled or UNLABELLED
    beside = image_files(folder)
    if beside and not flat:
        raise DataError(
            f"{folder} holds images beside folders, such as {beside[0].name}: put each into the "
            f"folder of its class, or into {without}/ if that is not known"
        )
    files = [*beside]
    labels: list[str | None] = [None] * len(beside)
    if beside:
        others = (file for file in shown_entries(folder) if file not in beside)
        warn_of_left_out(folder, [file.name for file in others if not file.is_dir()])
    for name, found in class_images(folder).items():
        files += found
        labels += [None if name == without else name] * len(found)
    if not files:
        raise DataError(
            f"{folder} has no images ({', '.join(SUFFIXES)}) in folders named after their classes, "
            "and no .parquet or .npy files"
        )
    names = [file.relative_to(folder).as_posix() for file in files]
    return Pictures(files, names, np.array(labels, dtype=object), folder)


def images_in_table(table: TableReader, recipe: Recipe, labels_needed: bool = True) -> Pictures:
    """Return the images whose paths are in a table, relative to the table's folder.

    Args:
        table: the table.
        recipe: names of its columns of images and labels.
        labels_needed: whether the label column must exist.

    Raises:
        ConfigError: if no column of images is stated.
        DataError: if a column or a path is missing.
    """
    if recipe.image_column is None:
        raise ConfigError(f"{table.path} is a table: name its column of images by --image-column")
    needed = [recipe.image_column]
    if recipe.label_column is not None and (labels_needed or recipe.label_column in table.names):
        needed.append(recipe.label_column)
    for name in needed:
        if name not in table.names:
            raise DataError(f"{table.path} has no column {name!r}, expected one of {table.names}")
    folder = table.path.parent
    frames = [frame[needed] for frame in table.frames()]
    columns = [blanked(pd.concat([f[n] for f in frames]), recipe.missing) for n in needed]
    paths = as_text(columns[0])
    if paths.isna().any():
        row = int(paths.isna().to_numpy().argmax())
        raise DataError(f"{table.path} has no path in column {needed[0]!r} of row {row + 1}")
    labels = np.full(len(paths), None, dtype=object)
    if len(needed) > 1:
        known = (columns[1].notna() & (as_text(columns[1]) != recipe.unlabelled)).to_numpy()
        labels[known] = columns[1].to_numpy(dtype=object)[known]
    files = [folder / path for path in paths]
    return Pictures(files, paths.tolist(), labels, folder, tuple(table.files))


class ImageSource:
    """Images, as bytes `[N, channels, size, size]`.

    Args:
        recipe: size and channels of the images.
        pictures: files of the images.
    """

    def __init__(self, recipe: Recipe, pictures: Pictures) -> None:
        self.recipe, self.root, self._pictures = recipe, pictures.root, pictures
        self.files = [*pictures.table, *pictures.files]

    @classmethod
    def for_training(cls, recipe: Recipe, pictures: Pictures) -> "ImageSource":
        """Return images with their number of channels, and with their size unless it is stated.

        Raises:
            DataError: if a file is not an image, or if no size is stated and the images are not
                squares of one size.
        """
        if recipe.image_size is not None and recipe.image_size < 1:
            raise ConfigError(f"image_size is {recipe.image_size}, expected pixels, at least 1")
        seen = [seen_size(file) for file in pictures.files]
        grey = all(one.grey for one in seen)
        size = recipe.image_size
        if size is None:
            size = seen[0].width
            for file, one in zip(pictures.files, seen, strict=True):
                if (one.width, one.height) != (size, size):
                    raise DataError(
                        f"{file} has {one.width} x {one.height} pixels, and {pictures.files[0]} "
                        f"{seen[0].width} x {seen[0].height}, expected squares of one size: add, "
                        "for example, --image-size 32 to cut them to squares and scale them"
                    )
        return cls(replace(recipe, image_size=size, channels=1 if grey else 3), pictures)

    def parts(self) -> Iterator[Part]:
        """Return the images in parts.

        Raises:
            DataError: naming a file that is not an image.
        """
        size, found = self.recipe.image_size, self._pictures
        assert size is not None
        step = max(1, min(_ROWS, _VALUES // (3 * size * size)))
        for start in range(0, len(found.files), step):
            chosen = slice(start, start + step)
            images = read_images(found.files[chosen], size, None).numpy()
            names = pd.DataFrame({"image": found.names[chosen]}, dtype=object)
            yield Part(self._in_channels(images), found.labels[chosen], names)

    def _in_channels(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.recipe.channels == 3:
            return images
        if (images != images[:, :1]).any():
            warnings.warn(
                "the training images were grey, but some of these are coloured: they become grey",
                stacklevel=2,
            )
        grey = np.einsum("c,nchw->nhw", np.array(_GREY), images)
        return np.rint(grey)[:, None].astype(np.uint8)

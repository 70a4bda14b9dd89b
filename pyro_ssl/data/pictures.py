"""Image files: which files of a folder are some, and their pixels as they are shown."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyro_ssl.errors import DataError

# What torchvision's ImageFolder takes, and GIF.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

# Formats whose mode "I" stands for 16 bits.
_SIXTEEN_BITS = {"PNG", "PPM"}

# Modes without colours, but for how many bits they have.
_GREY = {"1", "L", "LA", "La", "I"}

_HIDDEN = {"@eaDir", "__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini"}

# What turns an image upright, as Pillow names it, by EXIF's number of its orientation.
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def is_hidden(path: Path) -> bool:
    """Return whether a file or folder is one that a system or an editor makes for itself."""
    return path.name.startswith(".") or path.name in _HIDDEN


def shown_entries(folder: Path) -> list[Path]:
    """Return what a folder holds in the order of names, hidden files and folders left out.

    Raises:
        DataError: if it cannot be listed.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if not is_hidden(entry))
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed ({error.strerror or error}), expected a folder of images"
        ) from error


def image_files(folder: Path) -> list[Path]:
    """Return the folder's own image files in the order of their names, hidden ones left out.

    Links that lead nowhere are among them, so that reading them names them.
    """
    found = (file for file in shown_entries(folder) if file.suffix.lower() in SUFFIXES)
    return [file for file in found if not file.is_dir()]


def class_images(folder: Path) -> dict[str, list[Path]]:
    """Return the images in each folder of `folder`, by its name, in the order of names.

    Hidden folders and files are left out, so are empty folders; a warning says what other files
    and folders are left out beside images.

    Raises:
        DataError: if a folder has other files only, or a link leads nowhere.
    """
    found = {}
    for entry in shown_entries(folder):
        if entry.is_symlink() and not entry.exists():
            raise DataError(f"{entry} is a link that leads nowhere: mend or remove it")
        if not entry.is_dir():
            continue
        images = image_files(entry)
        others = [file.name for file in shown_entries(entry) if file not in images]
        # A class is never left out silently for images further down, or of other kinds.
        if others and not images:
            raise DataError(
                f"{entry} has no images ({', '.join(SUFFIXES)}), but {', '.join(others[:3])}: "
                f"convert or move what are images, or move {entry.name} elsewhere if it is no class"
            )
        warn_of_left_out(entry, others)
        if images:
            found[entry.name] = images
    return found


def warn_of_left_out(folder: Path, names: list[str]) -> None:
    """Warn of what a folder holds beside images, if it holds any."""
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        warnings.warn(
            f"{', '.join(names[:3])}{more} in {folder} left out, which are no images "
            f"({', '.join(SUFFIXES)}) in a folder of their class: convert or move what are images",
            stacklevel=3,
        )


def read_images(files: list[Path], size: int, crop: int | None) -> Tensor:
    """Return images as bytes `[N, 3, size, size]`, cut to a square in their middle and scaled.

    They are as a viewer shows them: turned as EXIF says, transparent ones before white, and 16 bits
    scaled to 8.

    Args:
        files: the images' files, one image in each.
        size: height and width of the result.
        crop: side of the square in pixels; None for the largest that fits.

    Raises:
        DataError: naming a file that cannot be read as an image.
    """
    from torchvision.transforms import functional

    images = torch.empty(len(files), 3, size, size, dtype=torch.uint8)
    for image, file in zip(images, files, strict=True):
        with _opened(file) as picture:
            colour = _as_shown(picture)
        side = min(colour.size) if crop is None else crop
        square = functional.center_crop(colour, [side, side])
        image.copy_(functional.pil_to_tensor(functional.resize(square, [size, size])))
    return images


class SeenSize(NamedTuple):
    """What an image's file says before its pixels are read.

    Attributes:
        width: pixels, as it is shown.
        height: pixels, as it is shown.
        grey: whether it has no colours.
    """

    width: int
    height: int
    grey: bool


def seen_size(file: Path) -> SeenSize:
    """Return the size of an image.

    Raises:
        DataError: if the file cannot be read as an image.
    """
    with _opened(file) as picture:
        width, height = picture.size
        if _orientation(picture) in (5, 6, 7, 8):
            width, height = height, width
        return SeenSize(width, height, picture.mode.partition(";")[0] in _GREY)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Give a Pillow image, and what goes wrong with it as an error that names the file."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            yield picture
    except Exception as error:  # Whatever damaged bytes may lead to in one of Pillow's readers.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{file} cannot be read as an image ({reason}): remove it, or convert it to an RGB "
            "image of 8 bits"
        ) from error


def _as_shown(picture: Any) -> Any:
    """Return a Pillow image in RGB as a viewer shows it."""
    from PIL import Image

    frames = getattr(picture, "n_frames", 1)
    # Of a telephone's photograph (MPO) the others are previews.
    if frames > 1 and picture.format != "MPO":
        raise ValueError(f"{frames} images in one file, expected one: save each as a file")
    picture.load()
    turns = _TURNS.get(_orientation(picture))
    upright = picture if turns is None else picture.transpose(Image.Transpose[turns])
    if upright.mode.startswith("I;16") or (upright.mode == "I" and picture.format in _SIXTEEN_BITS):
        scaled = np.rint(np.asarray(upright) / 257.0).astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    if upright.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {upright.mode}, whose range is unknown")
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        white = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB")
    return upright.convert("RGB")


def _orientation(picture: Any) -> Any:
    """Return EXIF's number of an image's orientation, 1 if it says nothing that can be read."""
    try:
        return picture.getexif().get(0x0112, 1)
    except Exception:  # Whatever a camera wrote there: the pixels have been read.
        return 1

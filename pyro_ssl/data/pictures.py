"""Image files: the images of a folder, and their pixels as an image viewer shows them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyro_ssl.errors import DataError

# The formats of torchvision's ImageFolder, and GIF.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

# Formats whose mode "I" means 16 bits.
_SIXTEEN_BITS = {"PNG", "PPM"}

# Modes without colours, which differ in their numbers of bits.
_GREY = {"1", "L", "LA", "La", "I"}

_HIDDEN = {"@eaDir", "__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini"}

# Pillow's operation that turns an image upright, by the number of its EXIF orientation.
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
    """Return the entries of a folder in the order of names, without hidden files and folders.

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
    """Return the folder's own image files in the order of their names, without hidden ones.

    Broken links are included, so that reading them gives an error that names them.
    """
    found = (file for file in shown_entries(folder) if file.suffix.lower() in SUFFIXES)
    return [file for file in found if not file.is_dir()]


def class_images(folder: Path) -> dict[str, list[Path]]:
    """Return the images in each folder of `folder`, by its name, in the order of names.

    Hidden folders and files, and empty folders, are left out; a warning names other files and
    folders that are left out beside images.

    Raises:
        DataError: if a folder holds only other files, or a link is broken.
    """
    found = {}
    for entry in shown_entries(folder):
        if entry.is_symlink() and not entry.exists():
            raise DataError(f"{entry} is a broken link: repair or remove it")
        if not entry.is_dir():
            continue
        images = image_files(entry)
        others = [file.name for file in shown_entries(entry) if file not in images]
        # A class must not be left out silently because its images are further down, or other files.
        if others and not images:
            raise DataError(
                f"{entry} has no images ({', '.join(SUFFIXES)}), but {', '.join(others[:3])}: "
                f"convert or move its images, or move {entry.name} elsewhere if it is not a class"
            )
        warn_of_left_out(entry, others)
        if images:
            found[entry.name] = images
    return found


def warn_of_left_out(folder: Path, names: list[str]) -> None:
    """Warn about the other content of a folder of images, if there is any."""
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        warnings.warn(
            f"{', '.join(names[:3])}{more} in {folder} left out, which are not images "
            f"({', '.join(SUFFIXES)}) in a folder of their class: convert or move any images",
            stacklevel=3,
        )


def read_images(files: list[Path], size: int, crop: int | None) -> Tensor:
    """Return images as bytes `[N, 3, size, size]`, cut to a square in their middle and scaled.

    They look as in an image viewer: rotated by EXIF, transparent ones on white, and 16 bits scaled
    to 8.

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
    """The properties of an image that can be read before its pixels.

    Attributes:
        width: width in pixels, as shown.
        height: height in pixels, as shown.
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
    """Yield a Pillow image; turn any error with it into one that names the file."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            yield picture
    except Exception as error:  # Damaged bytes may cause any error in Pillow's readers.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{file} cannot be read as an image ({reason}): remove it, or convert it to an RGB "
            "image of 8 bits"
        ) from error


def _as_shown(picture: Any) -> Any:
    """Return a Pillow image in RGB as a viewer shows it."""
    from PIL import Image

    frames = getattr(picture, "n_frames", 1)
    # In a telephone's photograph (MPO), the other images are previews.
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
    """Return EXIF's number of an image's orientation, or 1 if it cannot be read."""
    try:
        return picture.getexif().get(0x0112, 1)
    except Exception:  # A camera may have written anything there, and the pixels have been read.
        return 1

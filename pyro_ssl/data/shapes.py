"""Images of a single shape with binary attributes that are known exactly."""

import math
from typing import Annotated, Any

import torch
from torch import Tensor

from pyro_ssl.data.arrays import as_tensor
from pyro_ssl.data.datasets import ImageDataset
from pyro_ssl.errors import DataError
from pyro_ssl.option_kinds import Natural, Range
from pyro_ssl.options import checked

Side = Annotated[int, Range(16, 2**31 - 1)]

SHAPE_ATTRIBUTES = ("large", "filled", "red", "left", "high", "rotated")

# Number of images drawn at a time, to limit the memory.
_BLOCK = 1000


@checked
def draw_shapes(
    num: Natural, seed: int = 0, size: Side = 64, attributes: Any = None
) -> tuple[Tensor, Tensor]:
    """Draw squares that differ in six binary attributes and in some other properties.

    Attributes, in the order of `SHAPE_ATTRIBUTES`: large or small; filled or an outline; red or
    blue; centre in the left or the right half; centre in the upper or the lower half; standing on a
    corner or on a side. Everything else is drawn for each image: exact size, place (in its
    quarter), angle (up to 10 degrees), shade, and grey level of the background.

    Args:
        num: number of images N.
        seed: seed of all draws; no global generator is used. With the same seed and `num`, an
            image's other properties do not depend on `attributes`: if one attribute changes, the
            image is otherwise the same.
        size: height and width in pixels, at least 16.
        attributes: attributes `[N, 6]`, each 0 or 1; fair coins if None.

    Returns:
        Images `[N, 3, size, size]` as bytes, and attributes `[N, 6]`, int64.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if `attributes` have another shape or other values.
    """
    count = len(SHAPE_ATTRIBUTES)
    generator = torch.Generator().manual_seed(seed)
    coins = torch.randint(2, (num, count), generator=generator)
    rest = torch.rand(num, 7, generator=generator)
    attributes = coins if attributes is None else as_tensor(attributes, "attributes")
    right = attributes.shape == (num, count)
    if not right or not bool(((attributes == 0) | (attributes == 1)).all()):
        values = f" and values {attributes.unique().tolist()[:5]}" if right else ""
        raise DataError(
            f"attributes has shape {list(attributes.shape)}{values}, expected shape "
            f"[{num}, {count}] and values 0 and 1"
        )
    attributes = attributes.cpu().long()
    images = torch.empty(num, 3, size, size, dtype=torch.uint8)
    blocks = zip(images.split(_BLOCK), attributes.split(_BLOCK), rest.split(_BLOCK), strict=True)
    for block, chosen, open_properties in blocks:
        block.copy_(_render(chosen.bool(), open_properties, size).mul(255).round())
    return images, attributes


@checked
def shapes_dataset(
    train_rows: Natural = 20_000, test_rows: Natural = 4_000, size: Side = 64
) -> ImageDataset:
    """Return images of `draw_shapes` as a data set called "shapes", the same in every call.

    Args:
        train_rows: number of training images.
        test_rows: number of test images.
        size: height and width in pixels.

    Raises:
        ConfigError: if a number is out of range.
    """
    train, train_ys = draw_shapes(train_rows, 0, size)
    test, test_ys = draw_shapes(test_rows, 1, size)
    train_xs, test_xs = train.float() / 255, test.float() / 255
    return ImageDataset("shapes", train_xs, train_ys, test_xs, test_ys, len(SHAPE_ATTRIBUTES))


def _render(attributes: Tensor, rest: Tensor, size: int) -> Tensor:
    """Return images in [0, 1], `[N, 3, size, size]`."""
    large, filled, red, left, high, rotated = (a[:, None, None] for a in attributes.unbind(1))
    extent, across, down, turn, shade, tint, grey = (r[:, None, None] for r in rest.unbind(1))
    # Lengths are in units of the image's width.
    half = torch.where(large, 0.16, 0.09) + 0.03 * extent
    x = torch.where(left, 0.30, 0.58) + 0.12 * across
    y = torch.where(high, 0.30, 0.58) + 0.12 * down
    angle = torch.where(rotated, math.pi / 4, 0.0) + math.pi / 18 * (2 * turn - 1)
    at = (torch.arange(size) + 0.5) / size
    dx, dy = at - x, at[:, None] - y
    along = dx * angle.cos() + dy * angle.sin()
    beside = dy * angle.cos() - dx * angle.sin()
    # Negative inside the square; a pixel at its edge is partly covered.
    distance = torch.maximum(along.abs(), beside.abs()) - half
    covered = (0.5 - size * distance).clamp(0, 1)
    hollow = (0.5 - size * (distance + 0.04)).clamp(0, 1)
    covered = torch.where(filled, covered, covered - hollow)
    strong, weak = 0.7 + 0.3 * shade, 0.3 * tint
    colour = torch.stack([torch.where(red, strong, weak), weak, torch.where(red, weak, strong)], 1)
    background = 0.3 * grey.unsqueeze(1)
    return background + covered.unsqueeze(1) * (colour - background)

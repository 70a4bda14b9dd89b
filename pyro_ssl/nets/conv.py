"""Between an image and the fully connected networks: flattening, or convolutions.

An image encoder maps images to vectors, an image decoder vectors to images. Both accept leading
batch dimensions of any number and return their input's dtype, as all networks do.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from pyro_ssl.errors import ConfigError
from pyro_ssl.nets.mlp import ACTIVATIONS
from pyro_ssl.options import check_at_least, check_one_of

# Convolutions halve the image until its sides are at most this long.
_SMALLEST = 8
# How many times channels double.
_DOUBLINGS = 3


class FlatEncoder(nn.Module):
    """The pixels of an image as a vector.

    Args:
        input_shape: shape of an image.

    Attributes:
        out_features: number of its pixels.
    """

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.out_features = math.prod(input_shape)

    def forward(self, xs: Tensor) -> Tensor:
        """Return images `[..., *input_shape]` as vectors `[..., out_features]`."""
        return xs.flatten(-len(self.input_shape))


class FlatDecoder(nn.Module):
    """A vector as the pixels of an image.

    Args:
        input_shape: shape of an image.

    Attributes:
        in_features: number of its pixels.
    """

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.in_features = math.prod(input_shape)

    def forward(self, hs: Tensor) -> Tensor:
        """Return vectors `[..., in_features]` as images `[..., *input_shape]`."""
        return hs.unflatten(-1, self.input_shape)


class ConvEncoder(nn.Module):
    """Convolutions that halve an image until its sides are at most 8 pixels.

    Kernels are 4 by 4; an activation follows each convolution.

    Args:
        input_shape: channels, height and width.
        channels: channels after the first convolution; each further one doubles them, up to eight
            times that number.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.

    Attributes:
        out_features: length of the vector that an image becomes.

    Raises:
        ConfigError: if images of that shape cannot be halved so often.
    """

    def __init__(
        self, input_shape: tuple[int, ...], channels: int = 32, activation: str = "relu"
    ) -> None:
        super().__init__()
        widths, (height, width) = _plan(input_shape, channels, activation)
        self.activation = activation
        self.layers = nn.ModuleList(
            nn.Conv2d(i, o, kernel_size=4, stride=2, padding=1)
            for i, o in pairwise([input_shape[0], *widths])
        )
        self.out_features = widths[-1] * height * width

    def forward(self, xs: Tensor) -> Tensor:
        """Return vectors `[..., out_features]` of images `[..., channels, height, width]`."""
        hs, activate = xs.reshape(-1, *xs.shape[-3:]), ACTIVATIONS[self.activation]
        for layer in self.layers:
            hs = activate(layer(hs))
        return hs.reshape(*xs.shape[:-3], self.out_features).to(xs.dtype)


class ConvDecoder(nn.Module):
    """The layers of `ConvEncoder` in reverse order: an activation, then a convolution, each time.

    Args:
        input_shape: channels, height and width of the image.
        channels: those of `ConvEncoder`'s first convolution.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.

    Attributes:
        in_features: length of the vector.

    Raises:
        ConfigError: as `ConvEncoder`.
    """

    def __init__(
        self, input_shape: tuple[int, ...], channels: int = 32, activation: str = "relu"
    ) -> None:
        super().__init__()
        widths, (height, width) = _plan(input_shape, channels, activation)
        self.activation = activation
        self.smallest = (widths[-1], height, width)
        self.in_features = math.prod(self.smallest)
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(i, o, kernel_size=4, stride=2, padding=1)
            for i, o in pairwise([*widths[::-1], input_shape[0]])
        )

    def forward(self, hs: Tensor) -> Tensor:
        """Return images `[..., channels, height, width]` of vectors `[..., in_features]`."""
        images, activate = hs.reshape(-1, *self.smallest), ACTIVATIONS[self.activation]
        for layer in self.layers:
            images = layer(activate(images))
        return images.reshape(*hs.shape[:-1], *images.shape[1:]).to(hs.dtype)


def image_nets(
    input_shape: tuple[int, ...],
    channels: int | None,
    activation: str,
    output_shape: tuple[int, ...] | None = None,
) -> tuple[FlatEncoder | ConvEncoder, FlatDecoder | ConvDecoder]:
    """Return a network from images to vectors, and one from vectors to images.

    Args:
        input_shape: shape of what is encoded.
        channels: those of `ConvEncoder` and `ConvDecoder`; None for `FlatEncoder` and
            `FlatDecoder`.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        output_shape: shape of what is decoded; `input_shape` if None.

    Raises:
        ConfigError: as `ConvEncoder`, if there are `channels`.
    """
    outputs = input_shape if output_shape is None else output_shape
    if channels is None:
        return FlatEncoder(input_shape), FlatDecoder(outputs)
    return (
        ConvEncoder(input_shape, channels, activation),
        ConvDecoder(outputs, channels, activation),
    )


def _plan(
    input_shape: tuple[int, ...], channels: int, activation: str
) -> tuple[list[int], tuple[int, int]]:
    """Return the channels of each halving, and the height and width that are left."""
    if activation == "maxout":
        raise ConfigError("activation is 'maxout', which convolutions do not have: choose another")
    check_one_of("activation", activation, [name for name in ACTIVATIONS if name != "maxout"])
    check_at_least("channels", channels, 1)
    if len(input_shape) != 3:
        raise ConfigError(
            f"input_shape is {input_shape}, convolutions expect (channels, height, width)"
        )
    sides = torch.Size(input_shape[1:])
    widths: list[int] = []
    while not widths or max(sides) > _SMALLEST:
        if sides[0] % 2 or sides[1] % 2:
            raise ConfigError(
                f"input_shape is {input_shape}: its sides cannot be halved until they are at most "
                f"{_SMALLEST}; pad the images, to 32 or 64 say"
            )
        sides = torch.Size(side // 2 for side in sides)
        widths.append(channels * 2 ** min(len(widths), _DOUBLINGS))
    return widths, (sides[0], sides[1])

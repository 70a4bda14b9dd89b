"""Networks between an image or a signal and a vector: flattening, or convolutions.

An encoder maps images to vectors, a decoder maps vectors to images. Like all networks here, both
accept any number of leading batch dimensions and return their input's dtype. Inputs of convolutions
are images (channels, height, width) or signals (channels, length), of any size.
"""

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError
from pyro_ssl.nets.mlp import ACTIVATIONS, Activation
from pyro_ssl.nets.strided import doubled, halved
from pyro_ssl.option_kinds import Shape, Size
from pyro_ssl.options import checked

# Convolutions halve the image until its sides are at most this long.
_SMALLEST = 8
# Number of times that channels double.
_DOUBLINGS = 3


class FlatEncoder(nn.Module):
    """Flattens the pixels of an image to a vector.

    Args:
        input_shape: shape of an image.

    Attributes:
        out_features: number of pixels.
    """

    @checked
    def __init__(self, input_shape: Shape) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.out_features = math.prod(input_shape)

    def forward(self, xs: Tensor) -> Tensor:
        """Return images `[..., *input_shape]` as vectors `[..., out_features]`."""
        return xs.flatten(-len(self.input_shape))


class FlatDecoder(nn.Module):
    """Reshapes a vector to the pixels of an image.

    Args:
        input_shape: shape of an image.

    Attributes:
        in_features: number of pixels.
    """

    @checked
    def __init__(self, input_shape: Shape) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.in_features = math.prod(input_shape)

    def forward(self, hs: Tensor) -> Tensor:
        """Return vectors `[..., in_features]` as images `[..., *input_shape]`."""
        return hs.unflatten(-1, self.input_shape)


class ConvEncoder(nn.Module):
    """Convolutions that halve an image until its sides are at most 8 pixels; or halve a signal.

    Kernels are 4 by 4, or 4 long; an activation follows each convolution. Half of an odd side is
    rounded up: the image gets one row or column of zeros at its lower or right border.

    Args:
        input_shape: channels, height and width, or channels and length.
        channels: channels after the first convolution; each further convolution doubles them, up to
            eight times that number.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.

    Attributes:
        out_features: length of the vector that an image becomes.

    Raises:
        ConfigError: if the shape is neither, or the activation is not for convolutions.
    """

    @checked
    def __init__(
        self, input_shape: Shape, channels: Size = 32, activation: Activation = "relu"
    ) -> None:
        super().__init__()
        widths, sizes = _plan(input_shape, channels, activation)
        self.activation = activation
        self._sides = len(sizes[0])
        kind = nn.Conv1d if self._sides == 1 else nn.Conv2d
        self.layers = nn.ModuleList(
            kind(i, o, kernel_size=4, stride=2, padding=1)
            for i, o in pairwise([input_shape[0], *widths])
        )
        self.out_features = widths[-1] * math.prod(sizes[-1])

    def forward(self, xs: Tensor) -> Tensor:
        """Return vectors `[..., out_features]` of images `[..., *input_shape]`."""
        lead = xs.shape[: -self._sides - 1]
        hs, activate = xs.reshape(-1, *xs.shape[len(lead) :]), ACTIVATIONS[self.activation]
        for layer in self.layers:
            hs = activate(halved(_evened(hs, self._sides), layer))
        return hs.reshape(*lead, self.out_features).to(xs.dtype)


class ConvDecoder(nn.Module):
    """The layers of `ConvEncoder` in reverse order; an activation precedes each convolution.

    If a side of the encoder's image was odd, the last pixels are cut off.

    Args:
        input_shape: channels, height and width of the image, or channels and length of the signal.
        channels: channels of `ConvEncoder`'s first convolution.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.

    Attributes:
        in_features: length of the vector.

    Raises:
        ConfigError: as for `ConvEncoder`.
    """

    @checked
    def __init__(
        self, input_shape: Shape, channels: Size = 32, activation: Activation = "relu"
    ) -> None:
        super().__init__()
        widths, sizes = _plan(input_shape, channels, activation)
        self.activation = activation
        self.smallest = (widths[-1], *sizes[-1])
        self.in_features = math.prod(self.smallest)
        self._sizes = sizes[-2::-1]
        kind = nn.ConvTranspose1d if len(sizes[0]) == 1 else nn.ConvTranspose2d
        self.layers = nn.ModuleList(
            kind(i, o, kernel_size=4, stride=2, padding=1)
            for i, o in pairwise([*widths[::-1], input_shape[0]])
        )

    def forward(self, hs: Tensor) -> Tensor:
        """Return images `[..., *input_shape]` of vectors `[..., in_features]`."""
        images, activate = hs.reshape(-1, *self.smallest), ACTIVATIONS[self.activation]
        for layer, sides in zip(self.layers, self._sizes, strict=True):
            images = _cut(doubled(activate(images), layer), sides)
        return images.reshape(*hs.shape[:-1], *images.shape[1:]).to(hs.dtype)


def image_nets(
    input_shape: tuple[int, ...],
    channels: int | None,
    activation: str,
    output_shape: tuple[int, ...] | None = None,
) -> tuple[FlatEncoder | ConvEncoder, FlatDecoder | ConvDecoder]:
    """Return a network from images to vectors, and one from vectors to images.

    Args:
        input_shape: shape of the encoder's input.
        channels: channels of `ConvEncoder` and `ConvDecoder`; None for `FlatEncoder` and
            `FlatDecoder`.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        output_shape: shape of the decoder's output; `input_shape` if None.

    Raises:
        ConfigError: as for `ConvEncoder`, if `channels` are given.
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
) -> tuple[list[int], list[tuple[int, ...]]]:
    """Return the channels of each halving, and the sides before the first and after each."""
    if activation == "maxout":
        raise ConfigError("activation is 'maxout', which convolutions do not have: choose another")
    if len(input_shape) not in (2, 3):
        raise ConfigError(
            f"input_shape is {input_shape}, convolutions expect (channels, height, width) of an "
            "image or (channels, length) of a signal: use channels=None"
        )
    sizes = [tuple(input_shape[1:])]
    widths: list[int] = []
    while not widths or max(sizes[-1]) > _SMALLEST:
        sizes.append(tuple((side + 1) // 2 for side in sizes[-1]))
        widths.append(channels * 2 ** min(len(widths), _DOUBLINGS))
    return widths, sizes


def _evened(images: Tensor, sides: int) -> Tensor:
    """Return images whose last `sides` dimensions are even, with zeros added at their end."""
    odd = [side % 2 for side in images.shape[-sides:]]
    return F.pad(images, [n for o in reversed(odd) for n in (0, o)]) if any(odd) else images


def _cut(images: Tensor, sides: tuple[int, ...]) -> Tensor:
    """Return the beginning, of these lengths, of each of the images' last dimensions."""
    for dim, side in enumerate(sides, -len(sides)):
        if images.shape[dim] != side:
            images = images.narrow(dim, 0, side)
    return images

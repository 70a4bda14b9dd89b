"""Residual networks: classifiers of images that are deeper than convolutions alone can be."""

import math
from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError
from pyro_ssl.option_kinds import Dropout, OneOf, Shape, Size
from pyro_ssl.options import checked


class WideResNet(nn.Module):
    """A wide residual network, from images to a vector such as the logits of classes.

    A convolution, three groups of n residual blocks, the second and third of which halve the sides
    and double the channels, batch norm, the mean over all pixels, and a linear layer. A block adds
    to its input the result of twice batch norm, ReLU, 3 by 3 convolution. The name WRN-d-k of the
    literature has the depth d = 6 n + 4 and the width k.

    With `norm="group"`, group norm takes the place of batch norm, in groups of at most 8 channels:
    what is made of an image then depends on no other image, in training neither.

    Source: Zagoruyko, Komodakis, "Wide residual networks", BMVC 2016, table 1; Wu, He, "Group
    normalization", ECCV 2018.

    Args:
        input_shape: channels, height and width of an image.
        outputs: length of the vector.
        depth: number of layers d, 6 n + 4.
        width: factor k of the channels.
        channels: channels of the first convolution; of the groups times k, 2 k and 4 k.
        stride: stride of the first convolution: 2 for a quarter of the time.
        dropout: probability of dropping an entry between the convolutions of a block.
        norm: `batch` or `group`.

    Raises:
        ConfigError: if the shape is not that of images, or there is no such depth.
    """

    @checked
    def __init__(
        self,
        input_shape: Shape,
        outputs: Size,
        depth: Size = 10,
        width: Size = 2,
        channels: Size = 16,
        stride: Size = 1,
        dropout: Dropout = 0.0,
        norm: Annotated[str, OneOf(("batch", "group"))] = "batch",
    ) -> None:
        super().__init__()
        if len(input_shape) != 3:
            raise ConfigError(
                f"input_shape is {input_shape}, expected channels, height and width of an image"
            )
        if depth < 10 or depth % 6 != 4:
            raise ConfigError(f"depth is {depth}, expected 6 n + 4: 10, 16, 22, 28, ...")
        widths = [channels, *(channels * width * 2**group for group in range(3))]
        self.first = _convolution(input_shape[0], channels, stride)
        blocks: list[nn.Module] = []
        for group, (before, after) in enumerate(pairwise(widths)):
            for block in range((depth - 4) // 6):
                halves = 2 if group and not block else 1
                blocks.append(_Block(after if block else before, after, halves, dropout, norm))
        self.blocks = nn.Sequential(*blocks)
        self.norm = _norm(norm, widths[-1])
        self.last = nn.Linear(widths[-1], outputs)

    def forward(self, xs: Tensor) -> Tensor:
        """Return vectors `[B, outputs]` of images `[B, *input_shape]`."""
        hs = F.relu(self.norm(self.blocks(self.first(xs))))
        return self.last(hs.mean((-2, -1)))


class _Block(nn.Module):
    """Two convolutions whose result is added to the input, changed in shape where needed."""

    def __init__(self, before: int, after: int, stride: int, dropout: float, norm: str) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_norm(norm, before), _norm(norm, after)])
        self.first = _convolution(before, after, stride)
        self.second = _convolution(after, after)
        self.dropout = nn.Dropout(dropout)
        same = before == after and stride == 1
        self.shortcut = None if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, xs: Tensor) -> Tensor:
        hs = F.relu(self.norms[0](xs))
        shortcut = xs if self.shortcut is None else self.shortcut(hs)
        hs = self.dropout(F.relu(self.norms[1](self.first(hs))))
        return shortcut + self.second(hs)


def _norm(norm: str, channels: int) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(channels // math.gcd(8, channels), channels)


def _convolution(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    made = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made

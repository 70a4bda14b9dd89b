"""Random changes of images that keep their class, drawn anew for each image."""

import math
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError
from pyro_ssl.option_kinds import NotNegative, Range
from pyro_ssl.options import check_fields

Share = Annotated[float, Range(0, below=1)]
Degrees = Annotated[float, Range(0, 180)]


@dataclass(frozen=True)
class Augmentation:
    """Moves, turns, deforms and covers images at random.

    It is a function of images `[B, C, H, W]` and returns as many, of the same shape, dtype and
    device, without a gradient. Each image has its own draws, from torch's global generator; pixels
    from beyond the border are 0. No value is read on the host, so that a compiled step or a CUDA
    graph can contain it.

    Sources: affine and elastic distortions of digits are those of Simard, Steinkraus, Platt, "Best
    practices for convolutional neural networks applied to visual document analysis", ICDAR 2003;
    covered squares are Cutout (DeVries, Taylor 2017).

    Attributes:
        rotation: largest angle, in degrees, in either direction.
        scale: largest relative change of each side's length: .1 for a factor from 1/1.1 to 1.1.
        shear: largest angle of the shear along the rows, in degrees.
        translation: largest shift along each side, as a share of its length.
        flip: whether half of the images are mirrored, left to right.
        elastic: standard deviation of each pixel's own displacement, in pixels.
        smoothing: standard deviation, in pixels, of the Gaussian by which these displacements are
            smoothed: the larger, the more alike those of neighbours.
        covered: side of a square that is set to 0 at a random place, as a share of the image's.
        changed: share of the images that are changed, drawn for each image; the others are returned
            as they are. Changed images are a little blurred, since their pixels lie between those
            that they are made of: a network that sees no other images is worse on sharp ones.

    Raises:
        ConfigError: if a number is out of range.
    """

    rotation: Degrees = 0.0
    scale: NotNegative = 0.0
    shear: Annotated[float, Range(0, below=90)] = 0.0
    translation: Share = 0.0
    flip: bool = False
    elastic: NotNegative = 0.0
    smoothing: Annotated[float, Range(above=0)] = 4.0
    covered: Share = 0.0
    changed: Annotated[float, Range(0, 1)] = 1.0

    def __post_init__(self) -> None:
        check_fields(self)

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Check that inputs are images.

        Raises:
            ConfigError: if their shape is not that of channels, rows and columns.
        """
        if len(input_shape) != 3:
            raise ConfigError(
                f"inputs have shape {input_shape}, but an Augmentation is of images "
                "(channels, height, width): leave it out"
            )

    @torch.no_grad()
    def __call__(self, xs: Tensor) -> Tensor:
        """Return changed images.

        Args:
            xs: images `[B, C, H, W]`, floating.
        """
        # Matrix products of places must not lose digits to autocast.
        kind = xs.device.type
        exact = torch.amp.is_autocast_available(kind)
        with torch.autocast(kind, enabled=False) if exact else nullcontext():
            changed = xs
            if any(getattr(self, f.name) for f in fields(self)[:6]):
                places = self._places(xs)
                changed = F.grid_sample(xs, places, padding_mode="zeros", align_corners=False)
            if self.covered:
                changed = changed * self._seen(xs)
            if self.changed == 1:
                return changed
            drawn = xs.new_empty(len(xs), 1, 1, 1).uniform_() < self.changed
            return torch.where(drawn, changed, xs)

    def _places(self, xs: Tensor) -> Tensor:
        """Return where each pixel is taken from, `[B, H, W, 2]`, as `grid_sample` counts it."""
        rows, _, height, width = xs.shape
        half = torch.stack([xs.new_full((), side / 2) for side in (width, height)])
        y, x = (torch.arange(n, dtype=xs.dtype, device=xs.device) + 0.5 for n in (height, width))
        of_centre = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1) - half
        matrix, shift = self._affine(xs, half)
        places = of_centre.view(1, -1, 2) @ matrix.mT + shift.unsqueeze(1)
        places = places.view(rows, height, width, 2)
        if self.elastic:
            noise = xs.new_empty(rows, 2, height, width).normal_()
            smooth = self._smoother(xs, height) @ noise @ self._smoother(xs, width).mT
            places = places + self.elastic * smooth.movedim(1, -1)
        return places / half

    def _affine(self, xs: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
        """Return what places are multiplied by, `[B, 2, 2]`, and moved by, `[B, 2]`, in pixels."""
        rows = len(xs)
        angle = self._between(xs, math.radians(self.rotation), rows)
        factors = self._between(xs, math.log1p(self.scale), rows, 2).exp()
        if self.flip:
            mirror = 1 - 2 * torch.randint(2, (rows,), device=xs.device).to(xs.dtype)
            factors = torch.stack([factors[:, 0] * mirror, factors[:, 1]], -1)
        slant = self._between(xs, math.radians(self.shear), rows).tan()
        cos, sin = angle.cos(), angle.sin()
        turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
        one, zero = torch.ones_like(slant), torch.zeros_like(slant)
        lean = torch.stack([torch.stack([one, slant], -1), torch.stack([zero, one], -1)], -2)
        shift = 2 * half * self._between(xs, self.translation, rows, 2)
        return turn @ lean * factors.unsqueeze(-2), shift

    def _smoother(self, xs: Tensor, side: int) -> Tensor:
        """Return a matrix `[side, side]` that keeps the variance of independent numbers at 1."""
        at = torch.arange(side, dtype=xs.dtype, device=xs.device)
        weights = (-0.5 * ((at[:, None] - at) / self.smoothing).square()).exp()
        return weights / weights.square().sum(-1, keepdim=True).sqrt()

    def _seen(self, xs: Tensor) -> Tensor:
        """Return 0 within a square of each image and 1 elsewhere, `[B, 1, H, W]`."""
        within = []
        for side in xs.shape[-2:]:
            at = torch.arange(side, dtype=xs.dtype, device=xs.device) + 0.5
            centre = side * xs.new_empty(len(xs), 1).uniform_()
            within.append((at - centre).abs() < self.covered * side / 2)
        down, across = within
        return 1 - (down[:, :, None] & across[:, None, :]).unsqueeze(1).to(xs.dtype)

    @staticmethod
    def _between(xs: Tensor, most: float, *shape: int) -> Tensor:
        """Return numbers from -most to most, uniform."""
        return most * (2 * xs.new_empty(shape).uniform_() - 1)

"""Features of images and signals, for linear classifiers and forests."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# Values, and likewise frequencies, of a row at most, but for one of each channel.
MOST = 800
# Standardised values beyond this are outliers.
LARGEST = 10.0


def array_features(values: Tensor) -> Tensor:
    """Return features of images or signals, `[N, D]`, float64.

    They are, one after the other,

    - the values, clipped to [-10, 10]; where a row has more than 800, the means of neighbouring
      ones, in an image or signal so small that it has at most 800;
    - `log(1 + |spectrum|)` of each channel: of these images, by the discrete Fourier transform in
      two dimensions; of whole signals, then likewise at most 800. It is the same wherever in a row
      something is: few labels show it at few places.

    Args:
        values: standardised, `[N, C, H, W]` or `[N, C, T]`.
    """
    clipped = values.double().clamp(-LARGEST, LARGEST)
    small = _pooled(clipped)
    signals = clipped.dim() == 3
    seen = clipped if signals else small
    spectrum = torch.fft.rfftn(seen, dim=tuple(range(2, seen.dim()))).abs().log1p()
    parts = [small, _pooled(spectrum) if signals else spectrum]
    return torch.cat([part.flatten(1) for part in parts], 1)


def pooled_sides(channels: int, sides: tuple[int, ...]) -> tuple[int, ...]:
    """Return sides, all cut in proportion, with which `channels` have at most `MOST` values.

    No side is below 1.
    """
    for longest in range(max(sides), 0, -1):
        found = tuple(-(-side * longest // max(sides)) for side in sides)
        if channels * math.prod(found) <= MOST:
            return found
    return tuple(1 for _ in sides)


def _pooled(values: Tensor) -> Tensor:
    sides = pooled_sides(values.shape[1], tuple(values.shape[2:]))
    if sides == tuple(values.shape[2:]):
        return values
    if len(sides) == 2:
        return F.adaptive_avg_pool2d(values, (sides[0], sides[1]))
    return F.adaptive_avg_pool1d(values, sides[0])

"""Features of images and signals, for linear classifiers and forests."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# Largest number of pooled values of a row, and of frequencies (at least one for each channel).
MOST = 800
# Standardised values are clipped to this.
LARGEST = 10.0


def array_features(values: Tensor) -> Tensor:
    """Return features of images or signals, `[N, D]`, float64.

    The features are, in this order,

    - the values, clipped to [-10, 10]; a row of more than 800 values is first shrunk to at most 800
      by averaging neighbours;
    - `log(1 + |spectrum|)` of each channel, by the discrete Fourier transform: of shrunk images in
      two dimensions; of whole signals, whose spectrum is then shrunk to at most 800. The spectrum
      does not depend on the position of a pattern, and few labels show it at few positions.

    Args:
        values: standardised values, `[N, C, H, W]` or `[N, C, T]`.
    """
    clipped = values.double().clamp(-LARGEST, LARGEST)
    small = _pooled(clipped)
    signals = clipped.dim() == 3
    seen = clipped if signals else small
    spectrum = torch.fft.rfftn(seen, dim=tuple(range(2, seen.dim()))).abs().log1p()
    parts = [small, _pooled(spectrum) if signals else spectrum]
    return torch.cat([part.flatten(1) for part in parts], 1)


def pooled_sides(channels: int, sides: tuple[int, ...]) -> tuple[int, ...]:
    """Return sides, shrunk in proportion, with which `channels` have at most `MOST` values.

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

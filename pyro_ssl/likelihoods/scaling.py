"""Scaling of raw data for a likelihood, and its inverse."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Scaling:
    """An affine map of each value, `(x - shift) / scale`, fitted on training rows.

    Attributes:
        shift: `[*input_shape]`, float64.
        scale: `[*input_shape]`, float64, positive.
        density: whether p(x|.) of each value is a density, which depends on the unit of the value
            (the probability of a count or of a category does not), `[*input_shape]`, bool.
    """

    shift: Tensor
    scale: Tensor
    density: Tensor

    @classmethod
    def identity(cls, input_shape: tuple[int, ...]) -> "Scaling":
        """Return the map that changes nothing."""
        ones = torch.ones(input_shape, dtype=torch.float64)
        return cls(torch.zeros_like(ones), ones, torch.zeros_like(ones, dtype=torch.bool))

    @classmethod
    def standard(cls, xs: Tensor) -> "Scaling":
        """Return the map to mean 0 and standard deviation 1 of each value over rows `[N, ...]`.

        Missing values (NaN) are left out. A constant value keeps its unit.
        """
        rows = xs.double().cpu()
        loc = torch.nan_to_num(rows.nanmean(0))
        scale = (rows - loc).square().nanmean(0).sqrt()
        return cls._of(loc, scale)

    @classmethod
    def robust(cls, xs: Tensor) -> "Scaling":
        """Return the map by median and quartiles, which a few outliers do not change.

        The scale is the interquartile range divided by 1.349, which is the standard deviation of a
        normal distribution. If the quartiles are equal, the standard deviation is used.
        """
        rows = xs.double().cpu()
        low, loc, high = (torch.nanquantile(rows, q, 0) for q in (0.25, 0.5, 0.75))
        spread = (high - low) / 1.349
        scale = torch.where(spread > 0, spread, cls.standard(xs).scale)
        return cls._of(torch.nan_to_num(loc), scale)

    @classmethod
    def divided(cls, input_shape: tuple[int, ...], by: float, density: bool) -> "Scaling":
        """Return the division of all values by one number, such as bytes by 255."""
        same = cls.identity(input_shape)
        return cls(same.shift, same.scale * by, torch.full_like(same.density, density))

    @classmethod
    def concatenated(cls, parts: "list[Scaling]") -> "Scaling":
        """Return the map that applies `parts` to consecutive columns."""
        return cls(*(torch.cat([getattr(p, n) for p in parts]) for n in _NAMES))

    def apply(self, xs: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return raw inputs `[N, *input_shape]` scaled for the likelihood, of type `dtype`."""
        shift, scale = self.shift.to(xs.device), self.scale.to(xs.device)
        return ((xs.double() - shift) / scale).to(dtype)

    def undo(self, xs: Tensor) -> Tensor:
        """Return scaled inputs `[N, *input_shape]` in raw units, of the same dtype."""
        shift, scale = self.shift.to(xs.device), self.scale.to(xs.device)
        return (xs.double() * scale + shift).to(xs.dtype)

    def log_density(self, xs: Tensor) -> Tensor:
        """Return log p(x) of raw inputs minus log p(x) of scaled inputs, `[N]`, in nats.

        It is `-sum log scale` over the values that have densities and are not missing (NaN).

        Args:
            xs: the inputs, raw or scaled, `[N, *input_shape]`.
        """
        logs = torch.where(self.density, -self.scale.log(), 0.0).to(xs.device)
        each = (
            torch.where(xs.isnan(), 0.0, logs) if xs.is_floating_point() else logs.expand(xs.shape)
        )
        return each.flatten(1).sum(1)

    def to_dict(self) -> dict[str, Any]:
        """Return the scaling as plain lists, for checkpoints and JSON."""
        return {name: getattr(self, name).tolist() for name in _NAMES}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "Scaling":
        """Return the scaling that `to_dict` describes."""
        shift, scale = (torch.tensor(state[n], dtype=torch.float64) for n in _NAMES[:2])
        return cls(shift, scale, torch.tensor(state["density"], dtype=torch.bool))

    @classmethod
    def _of(cls, loc: Tensor, scale: Tensor) -> "Scaling":
        # A spread below the values' rounding errors counts as zero.
        works = (scale > 1e-12 * (1 + loc.abs())) & (scale < math.inf)
        scale = torch.where(works, scale, 1.0)
        return cls(loc, scale, torch.ones_like(scale, dtype=torch.bool))


_NAMES = ("shift", "scale", "density")

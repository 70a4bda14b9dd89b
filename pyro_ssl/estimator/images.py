"""Images and signals, as inputs of convolutional models and as features for other classifiers."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator.array_features import array_features
from pyro_ssl.likelihoods import Gaussian, Likelihood

Floats = NDArray[np.floating[Any]]

# Number of rows converted at a time.
_BLOCK = 2000
# Encoded values are clipped to this, in scales from the mean, so that no single one dominates.
_LARGEST = 100.0
# Share of a channel's lowest, and of its highest, values that do not affect its scale.
_TAIL = 0.005
# Largest number of rows, and approximate number of a channel's values, for its mean and scale.
_ROWS = 5000
_VALUES = 2_000_000
# Smallest scale of p(x|.) for standardised values: 1/20 of their spread.
_MIN_SCALE = 0.05
_KEYS = ("shape", "locs", "scales", "dtype", "bounds")


@dataclass(frozen=True)
class ArrayInputs:
    """Images `[N, C, H, W]` or signals `[N, C, T]`, of any size and number of channels.

    A channel is standardised by one mean and one scale. The lowest and the highest 0.5 % of its
    values are clipped for this, so that a few outliers change little. A constant channel keeps its
    unit. Values are numbers of any range; bytes differ from floats only in that `decode` rounds
    them to whole numbers from 0 to 255.

    Attributes:
        shape: shape of one row.
        locs: the mean of each channel, in raw units.
        scales: the scale of each channel, in raw units, positive.
        dtype: dtype of raw rows, as numpy names it.
        bounds: the range that `decode` clips to: (0, 255) for bytes, (0, 1) if all training rows
            were within it; None for none.
    """

    shape: tuple[int, ...]
    locs: tuple[float, ...]
    scales: tuple[float, ...]
    dtype: str
    bounds: tuple[float, float] | None

    @classmethod
    def infer(cls, X: Any) -> "ArrayInputs":  # noqa: N803
        """Fit means and scales on rows `[N, C, H, W]` or `[N, C, T]`, an array or a tensor.

        Raises:
            DataError: if values are missing, infinite or not numbers, or there are none.
        """
        rows = _checked(X)
        _warn_of_channels_last(rows.shape)
        each = [_location_and_scale(rows[:, channel]) for channel in range(rows.shape[1])]
        if all(scale == 0 for _, scale in each) and (rows == rows[:1]).all():
            raise DataError(
                f"X has {len(rows)} sample(s), all equal, expected rows that can be told apart"
            )
        locs, scales = zip(*each, strict=True)
        return cls(
            tuple(rows.shape[1:]),
            locs,
            tuple(scale or 1.0 for scale in scales),
            rows.dtype.str,
            _bounds(rows),
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one encoded row."""
        return self.shape

    @property
    def likelihood(self) -> Likelihood:
        """Independent normal distributions of standardised values, all with one scale.

        With ten labels per class of scikit-learn's digits, this gave a higher accuracy than a scale
        for each place, or than Bernoulli pixels.
        """
        return Gaussian(per="all", min_scale=_MIN_SCALE)

    def encode(self, X: Any) -> Tensor:  # noqa: N803
        """Return rows, standardised, as float32 `[N, *shape]`, clipped to [-100, 100].

        Raises:
            DataError: if rows have another shape, or values are missing, infinite or not numbers.
        """
        rows = _checked(X)
        if rows.shape[1:] != self.shape:
            raise DataError(
                f"X has rows of shape {rows.shape[1:]}, expected {self.shape} as in training: "
                "resize or crop them"
            )
        locs, scales = self._by_channel(torch.float64)
        # In blocks, since float64 takes eight times the memory of bytes.
        parts = np.array_split(rows, -(-len(rows) // _BLOCK) or 1)
        found = [(torch.from_numpy(part * 1.0) - locs) / scales for part in parts]
        return torch.cat([values.clamp(-_LARGEST, _LARGEST).float() for values in found])

    @property
    def continuous(self) -> bool:
        """Whether two equal rows are copies of each other."""
        return True

    def features(self, xs: Tensor, fill: Floats | None = None, logs: bool = True) -> Floats:
        """Return `array_features` of encoded rows, `[N, D]`; nothing is filled in."""
        parts = [array_features(rows) for rows in xs.cpu().split(_BLOCK)]
        found: Floats = torch.cat(parts).numpy()
        return found

    def decode(self, values: Tensor) -> NDArray[Any]:
        """Return encoded rows `[N, *shape]` in raw units, of training's dtype, within `bounds`."""
        locs, scales = self._by_channel(torch.float64)
        raw = (values.double().cpu() * scales + locs).numpy()
        if self.bounds is not None:
            raw = raw.clip(*self.bounds)
        dtype = np.dtype(self.dtype)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            raw = np.rint(raw).clip(limits.min, limits.max)
        elif dtype.kind == "b":
            raw = raw > 0.5
        return raw.astype(dtype)

    def log_jacobian(self, values: Tensor) -> Floats:
        """Return log p(raw) - log p(encoded) of encoded rows, `[N]`, in nats.

        This is the same for all rows: minus the sum of the log scales of their values.
        """
        each = math.prod(self.shape[1:]) * float(np.log(self.scales).sum())
        return np.full(len(values), -each)

    def to_frame(self) -> pd.DataFrame:
        """Return a table of the channels: number, family, share missing, mean and scale."""
        columns = {"column": range(self.shape[0]), "family": "real", "missing": 0.0}
        columns |= {"values": math.prod(self.shape[1:]), "mean": self.locs, "scale": self.scales}
        return pd.DataFrame(columns)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, for `from_dict`."""
        bounds = None if self.bounds is None else list(self.bounds)
        found = {"shape": list(self.shape), "locs": list(self.locs), "scales": list(self.scales)}
        return {"kind": "images", **found, "dtype": self.dtype, "bounds": bounds}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "ArrayInputs":
        """Return the inputs that `to_dict` describes.

        Raises:
            ConfigError: if the state has other keys.
        """
        if set(state) != {"kind", *_KEYS}:
            raise ConfigError(f"the state has the keys {sorted(state)}, expected kind, {_KEYS}")
        shape, locs, scales = (tuple(state[name]) for name in _KEYS[:3])
        bounds = None if state["bounds"] is None else tuple(state["bounds"])
        return cls(shape, locs, scales, state["dtype"], bounds)

    def _by_channel(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return means and scales, `[C, 1, ...]`."""
        shape = (-1, *(1 for _ in self.shape[1:]))
        locs, scales = (torch.tensor(v, dtype=dtype).view(shape) for v in (self.locs, self.scales))
        return locs, scales


def is_array(X: Any) -> bool:  # noqa: N803
    """Return whether rows are images or signals: an array or a tensor of 3 or 4 dimensions."""
    return len(getattr(X, "shape", ())) in (3, 4)


def as_numpy(X: Any) -> NDArray[Any]:  # noqa: N803
    """Return an array or a tensor as an array."""
    if isinstance(X, Tensor):
        X = X.detach().cpu()  # noqa: N806
        return (X.float() if X.dtype == torch.bfloat16 else X).numpy()
    return np.asarray(X)


def _checked(X: Any) -> NDArray[Any]:  # noqa: N803
    rows = as_numpy(X)
    if rows.ndim not in (3, 4) or not rows.size:
        raise DataError(
            f"X has shape {rows.shape}, expected images [N, C, H, W] or signals [N, C, T], all "
            "above 0: for a single channel give X[:, None]"
        )
    if rows.dtype.kind not in "biuf":
        raise DataError(
            f"X has the dtype {rows.dtype}, expected numbers: convert it by X.astype(float)"
        )
    for start in range(0, len(rows) if rows.dtype.kind == "f" else 0, _BLOCK):
        finite = np.isfinite(rows[start : start + _BLOCK])
        if not finite.all():
            at = np.argwhere(~finite)[0]
            value = rows[start : start + _BLOCK][tuple(at)]
            raise DataError(
                f"X has the value {value} in row {start + at[0]}, expected finite numbers: images "
                "and signals cannot have missing values; fill them in, for example by the mean of "
                "neighbours, or give flat rows X.reshape(len(X), -1), a table, which can"
            )
    return rows


def _location_and_scale(values: NDArray[Any]) -> tuple[float, float]:
    """Return mean and standard deviation of one channel `[N, ...]`, with its tails clipped."""
    some = values[:: -(-len(values) // _ROWS)].ravel()
    if len(some) > _VALUES:
        # At random, since every tenth value could always be at the same places of a row.
        some = some[np.random.default_rng(0).integers(len(some), size=_VALUES)]
    some = some.astype(np.float64)
    low, high = np.quantile(some, [_TAIL, 1 - _TAIL])
    clipped = some.clip(low, high)
    # If nearly all values are equal, the others decide.
    chosen = clipped if clipped.std() > 1e-12 * (1 + abs(float(low))) else some
    loc, scale = float(chosen.mean()), float(chosen.std())
    return loc, scale if scale > 1e-12 * (1 + abs(loc)) else 0.0


def _bounds(rows: NDArray[Any]) -> tuple[float, float] | None:
    low, high = float(rows.min()), float(rows.max())
    if rows.dtype == np.uint8 or (rows.dtype.kind in "iu" and low >= 0 and 1 < high <= 255):
        return 0.0, 255.0
    return (0.0, 1.0) if low >= 0 and high <= 1 else None


def _warn_of_channels_last(shape: tuple[int, ...]) -> None:
    if len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] > 8 and shape[2] > 8:
        warnings.warn(
            f"X has shape {shape}, which is read as {shape[1]} channels of {shape[2]} x {shape[3]} "
            "pixels: if the last dimension is that of channels, give np.moveaxis(X, -1, 1)",
            stacklevel=2,
        )

"""One column of a table, and the maps from its entries to numbers and back."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from pyro_ssl.errors import ConfigError
from pyro_ssl.estimator.entries import (
    Category,
    Floats,
    as_float,
    distinct,
    to_numbers,
    without_least,
)
from pyro_ssl.estimator.restoring import restore_labels, restore_numbers
from pyro_ssl.likelihoods import Categorical, Gaussian, Likelihood, NegativeBinomial, Ordinal

FAMILIES = ("real", "positive", "count", "binary", "categorical", "ordinal", "covariate")
CODED = ("binary", "categorical", "ordinal")
OTHER = "other"
_CLIP = 10.0


@dataclass(frozen=True)
class Column:
    """The content of one column of a table, fitted on training rows, as plain values.

    The encoded value e of an entry x is, for the families::

        real, positive              e = (t(x) - shift) / scale
        count                       e = x, or as a real one
        binary, categorical, ordinal    the index of x among `categories`

    with t(x) = x, log x, log(1 + x), or asinh((x - centre) / spread), named by `transform`. Only
    counts with the transform "none" are modelled as counts.

    Attributes:
        name: the column's name in a data frame, or its number in an array.
        family: one of `FAMILIES` except the last, or "constant": the same in all rows, not
            modelled.
        dtype: pandas' name of the raw column's dtype.
        categories: distinct entries, in the order of their codes. If the last is "other", it stands
            for all entries that are not among the others.
        levels: all categories of a pandas categorical, in their order.
        ordered: whether the pandas categorical is ordered.
        transform: "none", "log" or "asinh"; for counts "none", "log1p" or "linear".
        centre: the asinh's centre.
        spread: the asinh's unit.
        shift: mean of the standardised quantity: t(x); log(1 + x) of a count; a code.
        scale: its standard deviation.
        raw_shift: mean of the numbers themselves, if t is a logarithm.
        raw_scale: their standard deviation.
        constant: the number in all rows of a constant column; None if it has `categories`, or if
            all entries are missing.
        missing: share of missing entries.
        parsed: whether numbers were strings: other strings are then missing, without a warning.
        covariate: whether the column is conditioned on and not modelled; the family decides how
            networks see it.
    """

    name: str | int
    family: str
    dtype: str
    categories: tuple[Category, ...] = ()
    levels: tuple[Category, ...] = ()
    ordered: bool = False
    transform: str = "none"
    centre: float = 0.0
    spread: float = 1.0
    shift: float = 0.0
    scale: float = 1.0
    raw_shift: float = 0.0
    raw_scale: float = 1.0
    constant: float | None = None
    missing: float = 0.0
    parsed: bool = False
    covariate: bool = False

    @property
    def stated(self) -> str:
        """The family in words, after "covariate" for a covariate."""
        return f"covariate {self.family}" if self.covariate else self.family

    @property
    def likelihood(self) -> Likelihood:
        """The family of the encoded values.

        A scale and a dispersion are learned for each column, and all rows share them. Scales are at
        least 0.1 of the column's standard deviation, so that no single column dominates the bound.
        """
        if self._is_real:
            return Gaussian(scale=None, per="dimension", min_scale=0.1)
        if self.family == "count":
            return NegativeBinomial(per="dimension")
        if self.family == "ordinal":
            return Ordinal(len(self.categories))
        return Categorical(len(self.categories))

    @property
    def _is_real(self) -> bool:
        """Whether encoded values are standardised real numbers."""
        return self.family in ("real", "positive") or (
            self.family == "count" and self.transform != "none"
        )

    @property
    def order(self) -> tuple[int, int]:
        """The sort key of columns: those of one likelihood are neighbours, covariates come last."""
        groups = ("real positive", "count", "binary categorical", "ordinal")
        group = next(n for n, names in enumerate(groups) if self.family in names.split())
        group = 0 if self._is_real else group
        return group + len(groups) * self.covariate, len(self.categories)

    def encode(self, series: pd.Series) -> tuple[Floats, list[Any]]:
        """Return encoded values `[N]`, NaN where missing, and the entries that were refused.

        Refused entries become missing: unseen categories, numbers outside the family's support, and
        entries that are not numbers in a column of numbers.

        Raises:
            DataError: if a column of numbers holds infinity.
        """
        if self.family in CODED:
            return self._codes(series)
        raw = to_numbers(series, self.name)
        outside = series.notna().to_numpy() & np.isnan(raw) & (not self.parsed)
        if self.family == "count":
            raw = np.rint(raw)
        if self.family in ("count", "positive"):
            below = raw < 0 if self.family == "count" else raw <= 0
            raw, outside = np.where(below, np.nan, raw), outside | below
        refused = list(pd.unique(series[outside])) if outside.any() else []
        return (self._standardised(raw) if self._is_real else raw), refused

    def decode(self, values: Floats) -> pd.Series:
        """Return the entries for encoded values `[N]`, of the raw column's dtype if possible.

        Numbers of a column of whole numbers are rounded, dates to milliseconds, and codes to the
        code of a category.
        """
        if self.categories:
            return restore_labels(values, self.categories, self.dtype, self.levels, self.ordered)
        if self.family == "constant":
            number = np.nan if self.constant is None else self.constant
            return restore_numbers(np.full(len(values), number), self.dtype)
        raw = self._raw(values)
        if self.family == "count":
            raw = np.maximum(np.rint(raw), 0)
        return restore_numbers(raw, self.dtype)

    def log_jacobian(self, values: Floats) -> Floats:
        """Return log |d encoded / d raw| at encoded values `[N]`, 0 where there is no density."""
        if not self._is_real or self.covariate:
            return np.zeros(len(values))
        at = values * self.scale + self.shift
        logs = np.full(len(values), -np.log(self.scale))
        if self.transform in ("log", "log1p"):
            logs -= at
        elif self.transform == "asinh":
            # The derivative of asinh(u) is 1 / cosh(asinh(u)).
            far = np.abs(at)
            logs -= np.log(self.spread / 2) + far + np.log1p(np.exp(-2 * far))
        return np.where(np.isnan(values), 0.0, logs)

    def design(self, values: Floats, fill: Floats | None = None, logs: bool = True) -> list[Floats]:
        """Return columns `[N]` for other classifiers, from encoded values; see `Columns.design`."""
        missing = 1.0 - ~np.isnan(values)
        if fill is not None:
            values = np.where(np.isnan(values), fill, values)
        known = ~np.isnan(values)
        found = []
        if self.family == "categorical" and len(self.categories) > 2:
            found = [(values == code).astype(np.float64) for code in range(len(self.categories))]
        elif not self._is_real and self.family != "constant":
            numbers = np.log1p(values) if self.family == "count" else values
            found = [(numbers - self.shift) / self.scale]
        elif self._is_real and not logs and self.transform in ("log", "log1p"):
            found = [(self._raw(values) - self.raw_shift) / self.raw_scale]
        elif self._is_real:
            found = [values]
        found = [np.where(known, np.clip(column, -_CLIP, _CLIP), 0.0) for column in found]
        return found + [missing] * (self.missing > 0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        state = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in state.items()}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "Column":
        """Return the column that `to_dict` describes.

        Raises:
            ConfigError: if there are other keys.
        """
        known = {f.name for f in fields(cls)}
        if not {"name", "family", "dtype"} <= state.keys() <= known:
            raise ConfigError(
                f"a column's keys are {sorted(state)}, expected name, family, dtype, and any of "
                f"{', '.join(sorted(known))}"
            )
        given: dict[str, Any] = {k: tuple(v) if type(v) is list else v for k, v in state.items()}
        return cls(**given)

    def _codes(self, series: pd.Series) -> tuple[Floats, list[Any]]:
        values, places = distinct(series, self.name)
        known = {category: code for code, category in enumerate(self.categories)}
        numeric = not any(isinstance(c, str) for c in self.categories if c is not OTHER)
        rest = known[OTHER] if self.categories[-1] == OTHER else np.nan
        codes = np.array([_code(value, known, numeric, rest) for value in values] + [np.nan])
        seen = np.bincount(places[places >= 0], minlength=len(values)) > 0
        refused = [v for v, c, s in zip(values, codes, seen, strict=False) if s and np.isnan(c)]
        if self.parsed:
            refused = [v for v in refused if not np.isnan(as_float(v))]
        return codes[places], refused

    def _standardised(self, raw: Floats) -> Floats:
        if self.transform == "log":
            raw = np.log(raw)
        elif self.transform == "log1p":
            raw = np.log1p(raw)
        elif self.transform == "asinh":
            raw = np.arcsinh((raw - self.centre) / self.spread)
        return (raw - self.shift) / self.scale

    def _raw(self, values: Floats) -> Floats:
        if not self._is_real:
            return values
        at = values * self.scale + self.shift
        if self.transform == "log":
            return np.exp(at)
        if self.transform == "log1p":
            return np.expm1(at)
        return self.centre + self.spread * np.sinh(at) if self.transform == "asinh" else at


def _code(value: Category, known: dict[Category, int], numeric: bool, rest: float) -> float:
    """Return the code of an entry; if `numeric`, the code of its number."""
    if value in known:
        return known[value]
    if numeric:
        number = float(without_least(np.array(as_float(value))))
        return rest if np.isnan(number) else known.get(number, rest)
    return rest

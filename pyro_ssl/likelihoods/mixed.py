"""Rows whose columns are of different kinds, with missing entries."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Annotated, Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods.base import Likelihood, as_likelihood, register_likelihood
from pyro_ssl.likelihoods.scaling import Scaling
from pyro_ssl.option_kinds import Into, NotEmpty

# Families, each an object or a name.
Families = Annotated[tuple[Annotated[Likelihood, Into(as_likelihood)], ...], NotEmpty()]


@register_likelihood
@dataclass(frozen=True)
class Mixed(Likelihood):
    """A family for each column of a table, in which entries may be missing (NaN).

    Columns are independent given the decoder's outputs. A missing entry contributes neither value
    nor gradient to log p(x|.): only the known part of a row is modelled. The encoder sees zeros
    instead of a missing entry's features, and, after all features, the mask of known entries.

    Neighbouring columns of one family are computed at once: put columns of one kind side by side.

    Source: Nazabal, Olmos, Ghahramani, Valera, "Handling incomplete heterogeneous data using VAEs"
    (HI-VAE), Pattern Recognition 2020, sections 2.1 and 2.2, eq. 2 and 3.

    Differs from the paper: the mask is among the encoder's inputs; the prior of z is the model's.

    Args:
        columns: the family of each column, an object or a name; families of single values only.
        missing: accept missing entries; False leaves out the mask.

    Raises:
        ConfigError: if a column's family is invalid.
    """

    columns: Families
    missing: bool = True

    by_value: ClassVar[bool] = False
    support: ClassVar[str] = "in each column what its family takes, or NaN"
    unit: ClassVar[str] = "nats per row, over its known entries, densities and probabilities"

    def check_options(self) -> None:
        """Check that each column has a family of single values.

        Raises:
            ConfigError: naming a column whose family is invalid.
        """
        for number, column in enumerate(self.columns):
            if not column.by_value:
                raise ConfigError(
                    f"columns[{number}] is {column}, expected a family of single values, such as "
                    "Gaussian(), Poisson() or Categorical(3)"
                )

    @property
    def takes_missing(self) -> bool:
        """Whether NaN stands for a missing value."""
        return self.missing

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the number of all columns' outputs.

        Raises:
            ConfigError: if inputs are not rows of this number of columns.
        """
        if tuple(input_shape) != (len(self.columns),):
            raise ConfigError(
                f"input_shape is {input_shape}, but Mixed has {len(self.columns)} columns: "
                f"expected ({len(self.columns)},)"
            )
        return (sum(run.outputs for run in _runs(self.columns)),)

    def num_shared(self, input_shape: tuple[int, ...]) -> int:
        """Return the number of learned numbers that all rows share."""
        return sum(run.shared for run in _runs(self.columns))

    def distribution(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return the rows' distribution, batch shape `[...]`, see `MixedColumns`."""
        parts = self._each(outputs, shared, lambda run, *args: run.family.values(*args))
        return MixedColumns(parts, [run.family.filler for run in _runs(self.columns)])

    def mean(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> Tensor:
        """Return the means, for categories the most probable ones, `[..., columns]`."""
        return torch.cat(self._each(outputs, shared, lambda run, *args: run.family.mean(*args)), -1)

    def feature_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the number of all columns' features, plus that of the mask's entries."""
        mask = len(self.columns) if self.missing else 0
        return (sum(run.features for run in _runs(self.columns)) + mask,)

    def features(self, xs: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return the columns' features, zero where missing, then the mask of known entries."""
        found, known = [], ~xs.isnan()
        for run, block, mask in self._blocks(xs, known):
            filled = torch.where(mask, block, run.family.filler)
            features = run.family.features(filled, (run.count,))
            each = run.features // run.count
            # First come the first features of all columns of the family, then the second ones.
            found.append(torch.where(torch.cat([mask] * each, -1), features, 0.0))
        if self.missing:
            found.append(known.to(xs.dtype))
        return torch.cat(found, -1)

    def inside(self, xs: Tensor) -> Tensor:
        """Return whether each entry is missing or inside the support of its family."""
        missing = xs.isnan() & self.missing
        found = [
            run.family.inside(torch.where(mask, run.family.filler, block)) & (mask | ~block.isnan())
            for run, block, mask in self._blocks(xs, missing)
        ]
        return torch.cat(found, -1)

    def _taken(self, at: list[int]) -> str:
        family = self.columns[at[0]]
        missing = " (NaN where it is missing)" if self.missing else ""
        return f"column {at[0]}, {type(family).__name__}, takes{missing} {family.support}"

    def fit_scaling(self, xs: Tensor) -> Scaling:
        """Return the scaling of each column, fitted on its known entries."""
        blocks = self._blocks(xs, xs)
        return Scaling.concatenated([run.family.fit_scaling(block) for run, block, _ in blocks])

    def _blocks(self, xs: Tensor, mask: Tensor) -> "list[tuple[_Run, Tensor, Tensor]]":
        runs = _runs(self.columns)
        counts = [run.count for run in runs]
        return list(zip(runs, xs.split(counts, -1), mask.split(counts, -1), strict=True))

    def _each(self, outputs: Tensor, shared: Tensor | None, call: Callable[..., Any]) -> list[Any]:
        """Return `call(run, outputs, input_shape, shared)` for each run of columns."""
        runs = _runs(self.columns)
        blocks = outputs.split([run.outputs for run in runs], -1)
        owned: list[Tensor | None] = [None] * len(runs)
        if shared is not None:
            pieces = shared.split([run.shared for run in runs])
            owned = [p if run.shared else None for run, p in zip(runs, pieces, strict=True)]
        together = zip(runs, blocks, owned, strict=True)
        return [call(run, block, (run.count,), piece) for run, block, piece in together]


@dataclass(frozen=True)
class _Run:
    """Neighbouring columns of one family, with their numbers of outputs and features."""

    family: Likelihood
    count: int

    @property
    def outputs(self) -> int:
        return self.family.output_shape((self.count,))[0]

    @property
    def shared(self) -> int:
        return self.family.num_shared((self.count,))

    @property
    def features(self) -> int:
        return self.family.feature_shape((self.count,))[0]


@lru_cache(maxsize=64)
def _runs(columns: tuple[Likelihood, ...]) -> tuple[_Run, ...]:
    return tuple(_Run(family, len(list(same))) for family, same in groupby(columns))


class MixedColumns(dist.TorchDistribution):
    """Rows of independent columns; missing entries (NaN) contribute nothing.

    Args:
        parts: distributions of neighbouring columns, batch shapes `[..., columns]`.
        fillers: for each part, a number inside its support, at which density and gradient are
            finite.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, parts: list[dist.TorchDistribution], fillers: list[float]) -> None:
        self.parts, self.fillers = parts, fillers
        self._counts = [part.batch_shape[-1] for part in parts]
        event_shape = torch.Size([sum(self._counts)])
        super().__init__(parts[0].batch_shape[:-1], event_shape, validate_args=False)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> "MixedColumns":
        """Return the distribution with another batch shape."""
        sizes = zip(self.parts, self._counts, strict=True)
        parts = [part.expand(torch.Size((*batch_shape, count))) for part, count in sizes]
        return MixedColumns(parts, self.fillers)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p of the known entries in nats, `[...]`, of rows `[..., columns]`."""
        blocks = zip(self.parts, self.fillers, value.split(self._counts, -1), strict=True)
        found = []
        for part, filler, block in blocks:
            known = ~block.isnan()
            each = part.log_prob(torch.where(known, block, filler))
            found.append(torch.where(known, each, 0.0).sum(-1))
        return torch.stack(found).sum(0)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw rows `[*sample_shape, ..., columns]`, categories as floating-point numbers."""
        drawn = [part.sample(sample_shape) for part in self.parts]
        floats = [t.dtype for t in drawn if t.is_floating_point()]
        dtype = floats[0] if floats else torch.get_default_dtype()
        return torch.cat([t.to(dtype) for t in drawn], -1)

"""Synthetic counts of genes in cells of several types and batches."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from pyro_ssl.option_kinds import Range, Size
from pyro_ssl.options import check_fields, checked, converted

Floats = NDArray[np.floating[Any]]

# Types of one lineage differ in few genes, lineages differ in more.
_LINEAGES = 3
_LINEAGE_GENES, _TYPE_GENES = 0.2, 0.06
_LINEAGE_EFFECT, _TYPE_EFFECT = 0.8, 1.2
# Variation that all cells share, whatever their type, such as the cell cycle.
_PROGRAMS, _PROGRAM_EFFECT = 4, 0.35
_BATCH_EFFECT = 0.5


@dataclass(frozen=True)
class Cells:
    """Cells and the distribution that they were drawn from.

    Attributes:
        counts: counts of genes, `[N, G]`, whole numbers.
        types: types of the cells, `[N]`, 0 to K - 1.
        batches: batches of the cells, `[N]`.
        shares: mean expression of each gene in each type and batch, as shares of a cell's counts
            before the cell's own variation, `[K, B, G]`.
    """

    counts: NDArray[np.int64]
    types: NDArray[np.int64]
    batches: NDArray[np.int64]
    shares: Floats

    def __post_init__(self) -> None:
        check_fields(self)


@checked
def draw_cells(
    cells: Size = 2000,
    genes: Annotated[int, Range(10, 2**31 - 1)] = 300,
    types: Annotated[int, Range(2, 2**31 - 1)] = 10,
    batches: Size = 2,
    mean_size: Annotated[float, Range(above=0, most=1e9)] = 400.0,
    seed: Annotated[int, Range(0)] = 0,
) -> Cells:
    """Draw cells of types with unequal frequencies, in batches with batch effects.

    ::

        log rate_g = base_g + lineage_g + type_g + batch_g + sum_p activity_p loading_pg
        counts_g ~ NegativeBinomial(mean = size softmax(log rate)_g, r_g)

    Types belong to three lineages: types within a lineage differ in 6 % of the genes, lineages in
    20 %. A batch multiplies each gene's expression by a factor, the same in all types. Four
    programs, whose activities are standard normal in each cell, change all genes a little. The
    logarithm of a size is normal with a standard deviation of 0.5; sizes in a batch are 1.5 times
    as large as in the batch before it.

    Args:
        cells: number of cells N.
        genes: number of genes G.
        types: number of types K.
        batches: number of batches B.
        mean_size: median number of counts in a cell of the first batch.
        seed: seed of all draws.

    Raises:
        ConfigError: if a number is out of range.
    """
    converted("cells", cells, Annotated[int, Range(types)])
    rng = np.random.default_rng(seed)
    profiles = _profiles(rng, genes, types)
    effects = _BATCH_EFFECT * rng.standard_normal((batches, genes))
    loadings = _PROGRAM_EFFECT * rng.standard_normal((_PROGRAMS, genes))
    inverse_dispersions = np.exp(rng.normal(np.log(2.0), 0.5, genes))
    frequencies = rng.dirichlet(np.full(types, 5.0))
    # No type is rare.
    frequencies = 0.5 / types + 0.5 * frequencies
    of_type, of_batch = rng.choice(types, cells, p=frequencies), rng.integers(batches, size=cells)
    sizes = mean_size * 1.5**of_batch * np.exp(0.5 * rng.standard_normal(cells))
    logs = profiles[of_type] + effects[of_batch]
    logs = logs + rng.standard_normal((cells, _PROGRAMS)) @ loadings
    means = sizes[:, None] * _softmax(logs)
    counts = rng.poisson(rng.gamma(inverse_dispersions, means / inverse_dispersions))
    shares = _softmax(profiles[:, None] + effects)
    return Cells(counts, of_type, of_batch, shares)


def _profiles(rng: np.random.Generator, genes: int, types: int) -> Floats:
    """Return log expressions of the types, `[K, G]`."""
    base = rng.standard_normal(genes)

    def sparse(number: int, share: float, effect: float) -> Floats:
        chosen = rng.random((number, genes)) < share
        found: Floats = chosen * effect * rng.standard_normal((number, genes))
        return found

    lineages = sparse(_LINEAGES, _LINEAGE_GENES, _LINEAGE_EFFECT)
    own = sparse(types, _TYPE_GENES, _TYPE_EFFECT)
    found: Floats = base + lineages[np.arange(types) % _LINEAGES] + own
    return found


def _softmax(logs: Floats) -> Floats:
    shares = np.exp(logs - logs.max(-1, keepdims=True))
    found: Floats = shares / shares.sum(-1, keepdims=True)
    return found

"""Synthetic cells."""

import numpy as np
import pytest
from scipy import sparse

from pyro_ssl.data import draw_cells
from pyro_ssl.errors import ConfigError


def test_cells_follow_their_seed():
    one, again, other = (draw_cells(50, 20, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.counts, again.counts)
    assert (one.counts != other.counts).any()
    assert one.counts.shape == (50, 20)
    assert one.counts.dtype.kind == "i"
    assert sparse.csr_matrix(one.counts).data.min() >= 1


def test_a_batch_multiplies_each_gene_by_the_same_factor_in_all_types():
    shares = draw_cells(100, 40, types=6, batches=3, seed=0).shares
    assert shares.shape == (6, 3, 40)
    np.testing.assert_allclose(shares.sum(-1), 1)
    factors = np.log(shares[:, 1] / shares[:, 0])
    # Up to the sum of the shares of a cell.
    factors -= factors.mean(1, keepdims=True)
    np.testing.assert_allclose(factors, factors[:1].repeat(6, 0), atol=1e-12)
    assert factors.std() > 0.3


def test_types_of_one_lineage_are_more_alike():
    shares = np.log(draw_cells(10, 2000, types=9, seed=0).shares[:, 0])
    shares -= shares.mean(1, keepdims=True)
    apart = ((shares[:, None] - shares) ** 2).sum(-1)
    same = np.subtract.outer(np.arange(9), np.arange(9)) % 3 == 0
    assert apart[same & ~np.eye(9, dtype=bool)].mean() < 0.8 * apart[~same].mean()


def test_counts_vary_more_than_poisson_counts_and_sizes_between_batches():
    drawn = draw_cells(6000, 30, types=2, seed=0)
    of_one = drawn.counts[(drawn.types == 0) & (drawn.batches == 0)]
    sizes = of_one.sum(1)
    normed = of_one / sizes[:, None] * np.median(sizes)
    assert (normed.var(0) > 1.5 * normed.mean(0)).mean() > 0.9
    medians = [np.median(drawn.counts[drawn.batches == b].sum(1)) for b in (0, 1)]
    assert medians[1] / medians[0] == pytest.approx(1.5, rel=0.1)
    assert np.log(sizes).std() == pytest.approx(0.5, abs=0.1)


def test_numbers_that_are_too_small_are_named():
    with pytest.raises(ConfigError, match="genes is 3, expected a whole number, at least 10"):
        draw_cells(genes=3)
    with pytest.raises(ConfigError, match="cells is 4, expected a whole number, at least 10"):
        draw_cells(cells=4)

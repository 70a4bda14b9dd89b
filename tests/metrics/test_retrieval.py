import itertools

import numpy as np
import pytest

from pyro_ssl.errors import DataError
from pyro_ssl.metrics.retrieval import hamming_distances, pack_codes, precision_at


@pytest.mark.parametrize("bits", [1, 8, 63, 64, 65, 130])
def test_packed_distances_are_the_numbers_of_differing_bits(bits):
    rng = np.random.default_rng(bits)
    codes, query = rng.random((50, bits)) < 0.5, rng.random((1, bits)) < 0.5
    expected = (codes != query).sum(1)
    assert np.array_equal(hamming_distances(pack_codes(query)[0], pack_codes(codes)), expected)


def test_precision_is_the_mean_over_all_orders_of_equally_near_codes():
    rng = np.random.default_rng(0)
    codes, labels = rng.random((6, 2)) < 0.5, rng.integers(0, 2, 6)
    queries, query_labels = rng.random((3, 2)) < 0.5, rng.integers(0, 2, 3)
    for k in (1, 3, 6):
        shares = []
        for query, label in zip(queries, query_labels, strict=True):
            distances = (codes != query).sum(1)
            of_order = [
                (labels[sorted(order, key=lambda i: distances[i])[:k]] == label).mean()
                for order in map(list, itertools.permutations(range(6)))
            ]
            shares.append(np.mean(of_order))
        found = precision_at(k, pack_codes(codes), labels, pack_codes(queries), query_labels)
        assert found == pytest.approx(np.mean(shares))


def test_a_million_codes_are_searched():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**63, (1_000_000, 1)).astype(np.uint64)
    labels = rng.integers(0, 20, 1_000_000)
    found = precision_at(100, codes, labels, codes[:3], labels[:3])
    # Each finds itself; the others of random codes have its label one time in twenty.
    assert 0.01 < found < 0.2


@pytest.mark.parametrize("k", [0, 5])
def test_k_is_within_the_codes(k):
    codes = pack_codes(np.ones((4, 3), dtype=bool))
    with pytest.raises(DataError, match=rf"k is {k}, expected 1 to 4"):
        precision_at(k, codes, np.zeros(4, dtype=int), codes, np.zeros(4, dtype=int))

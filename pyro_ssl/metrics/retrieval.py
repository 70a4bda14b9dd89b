"""Retrieval by binary codes: packed bits, Hamming distance, precision of the nearest codes."""

import numpy as np
from numpy.typing import NDArray

from pyro_ssl.errors import DataError

Packed = NDArray[np.uint64]
Labels = NDArray[np.integer]


def pack_codes(codes: NDArray[np.bool_]) -> Packed:
    """Return codes of B bits `[N, B]` as machine words `[N, ceil(B / 64)]`, padded with zeros."""
    codes = np.asarray(codes, dtype=bool)
    words = -(-codes.shape[1] // 64)
    padded = np.zeros((len(codes), 64 * words), dtype=bool)
    padded[:, : codes.shape[1]] = codes
    return np.packbits(padded, axis=1).view(np.uint64)


def hamming_distances(query: Packed, codes: Packed) -> NDArray[np.int64]:
    """Return the number of bits in which each of the packed `codes` differs from `query`, `[N]`."""
    return np.bitwise_count(codes ^ query).sum(-1, dtype=np.int64)


def precision_at(
    k: int, codes: Packed, labels: Labels, queries: Packed, query_labels: Labels
) -> float:
    """Return the mean share of the k nearest codes that have the query's label.

    Distances take few values, so that many codes are as near as the k-th one. The share is the
    exact expectation if codes of equal distance are ordered at random.

    Args:
        k: number of nearest codes.
        codes: packed codes to search, `[N, words]`.
        labels: their labels `[N]`.
        queries: packed codes to search for, `[Q, words]`.
        query_labels: their labels `[Q]`.

    Raises:
        DataError: if k is not from 1 to N, or there are no queries.
    """
    if not 1 <= k <= len(codes):
        raise DataError(f"k is {k}, expected 1 to {len(codes)}, the number of codes")
    if not len(queries):
        raise DataError("there are no queries")
    longest = 64 * codes.shape[1]
    shares = np.empty(len(queries))
    for i, (query, label) in enumerate(zip(queries, query_labels, strict=True)):
        distances = hamming_distances(query, codes)
        number = np.bincount(distances, minlength=longest + 1)
        relevant = np.bincount(distances[labels == label], minlength=longest + 1)
        # Of each distance, as many codes as are still missing after the nearer ones.
        taken = np.diff(np.minimum(number.cumsum(), k), prepend=0)
        shares[i] = (taken * relevant / np.maximum(number, 1)).sum() / k
    return float(shares.mean())

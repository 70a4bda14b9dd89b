"""Retrieval by binary codes: packed bits, Hamming distance, precision of the nearest codes."""

import numpy as np
from numpy.typing import NDArray

from pyro_ssl.data.arrays import as_tensor
from pyro_ssl.errors import DataError
from pyro_ssl.option_kinds import Natural
from pyro_ssl.options import checked

Packed = NDArray[np.uint64]
Labels = NDArray[np.integer]


def pack_codes(codes: NDArray[np.bool_]) -> Packed:
    """Return codes of B bits `[N, B]` as machine words `[N, ceil(B / 64)]`, padded with zeros.

    Raises:
        DataError: if `codes` are not rows of zeros and ones.
    """
    codes = np.asarray(as_tensor(codes, "codes"))
    if codes.ndim != 2 or not np.isin(codes, (0, 1)).all():
        raise DataError(f"codes has shape {list(codes.shape)}, expected bits [codes, bits], 0 or 1")
    codes = codes.astype(bool)
    words = -(-codes.shape[1] // 64)
    padded = np.zeros((len(codes), 64 * words), dtype=bool)
    padded[:, : codes.shape[1]] = codes
    return np.packbits(padded, axis=1).view(np.uint64)


def hamming_distances(query: Packed, codes: Packed) -> NDArray[np.int64]:
    """Return the number of bits in which each of the packed `codes` differs from `query`, `[N]`."""
    return np.bitwise_count(codes ^ query).sum(-1, dtype=np.int64)


@checked
def precision_at(
    k: Natural, codes: Packed, labels: Labels, queries: Packed, query_labels: Labels
) -> float:
    """Return the mean share of the k nearest codes that have the query's label.

    Distances take few values, so many codes are as near as the k-th one. The share is the exact
    expectation if codes at equal distances are in random order.

    Args:
        k: number of nearest codes.
        codes: packed codes to search, `[N, words]`.
        labels: their labels `[N]`.
        queries: packed codes to search for, `[Q, words]`.
        query_labels: their labels `[Q]`.

    Raises:
        DataError: if k is not from 1 to N, or there are no queries.
    """
    words = codes.shape[1:]
    if codes.ndim != 2 or queries.shape[1:] != words or codes.dtype != queries.dtype:
        raise DataError(
            f"codes has shape {list(codes.shape)}, queries {list(queries.shape)}: expected both as "
            "pack_codes returns them, of equally many bits"
        )
    if not 1 <= k <= len(codes):
        raise DataError(f"k is {k}, expected 1 to {len(codes)}, the number of codes")
    if not len(queries):
        raise DataError("there are no queries")
    for name, given, rows in (("labels", labels, codes), ("query_labels", query_labels, queries)):
        if given.shape != rows.shape[:1]:
            raise DataError(f"{name} has shape {list(given.shape)}, expected [{len(rows)}]")
    longest = 64 * codes.shape[1]
    shares = np.empty(len(queries))
    for i, (query, label) in enumerate(zip(queries, query_labels, strict=True)):
        distances = hamming_distances(query, codes)
        number = np.bincount(distances, minlength=longest + 1)
        relevant = np.bincount(distances[labels == label], minlength=longest + 1)
        # At each distance, as many codes as are missing after the nearer ones.
        taken = np.diff(np.minimum(number.cumsum(), k), prepend=0)
        shares[i] = (taken * relevant / np.maximum(number, 1)).sum() / k
    return float(shares.mean())

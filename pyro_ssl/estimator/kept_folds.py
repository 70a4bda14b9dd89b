"""Folds that last over several fits, so that no model is judged on a row that it has seen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_ssl.estimator.members import Codes, Fold

# The fold number of rows that every model sees.
NOWHERE = -1
# The fold number of a new row.
_NEW = -2


def numbers_of(folds: Sequence[Fold], rows: Codes) -> Codes:
    """Return the number of the fold in which each labelled row is held out, `[L]`.

    Args:
        folds: the folds.
        rows: indices of the labelled rows, sorted.
    """
    found = np.full(len(rows), NOWHERE)
    for number, fold in enumerate(folds):
        found[np.searchsorted(rows, fold.held_out)] = number
    return found


def folds_of(numbers: Codes, rows: Codes, codes: Codes, count: int) -> list[Fold]:
    """Return the folds of labelled rows with known fold numbers.

    Args:
        numbers: fold number of each labelled row, `[L]`, or `NOWHERE`.
        rows: indices of the labelled rows, sorted.
        codes: their labels, `[L]`.
        count: number of folds.
    """
    found = []
    for number in range(count):
        out = numbers == number
        # Every class keeps at least one row.
        for code in np.setdiff1d(codes, codes[~out]):
            out[np.flatnonzero(codes == code)[0]] = False
        found.append(Fold(rows[~out], rows[out]))
    return found


def deal(codes: Codes, numbers: Codes, new: Codes, count: int) -> Codes:
    """Return fold numbers of new labelled rows: each joins the fold with the fewest of its class.

    The first row of a class is never held out.

    Args:
        codes: labels of the rows that have folds, `[L]`.
        numbers: their fold numbers.
        new: labels of the new rows.
        count: number of folds.
    """
    sizes: dict[int, NDArray[Any]] = {}
    for code in np.unique(codes):
        mine = numbers[codes == code]
        sizes[int(code)] = np.bincount(mine[mine >= 0], minlength=count)
    found = np.full(len(new), NOWHERE)
    for place, code in enumerate(new.tolist()):
        if code in sizes:
            found[place] = int(sizes[code].argmin())
            sizes[code][found[place]] += 1
        else:
            sizes[code] = np.zeros(count, dtype=np.int64)
    return found


def found_again(
    old: NDArray[Any], numbers: Codes, new: NDArray[Any], codes: Codes, count: int
) -> Codes:
    """Return fold numbers of labelled rows; rows that were there before keep their folds.

    Args:
        old: encoded inputs of the rows that have folds, `[L, C]`.
        numbers: their fold numbers.
        new: encoded inputs of all labelled rows now, `[M, C]`.
        codes: their labels, `[M]`.
        count: number of folds.
    """
    known: dict[bytes, list[int]] = {}
    for values, number in zip(old, numbers.tolist(), strict=True):
        known.setdefault(values.tobytes(), []).append(number)
    found = np.full(len(new), _NEW)
    for place, values in enumerate(new):
        numbers_left = known.get(values.tobytes())
        if numbers_left:
            found[place] = numbers_left.pop(0) if len(numbers_left) > 1 else numbers_left[0]
    fresh = found == _NEW
    found[fresh] = deal(codes[~fresh], found[~fresh], codes[fresh], count)
    return found

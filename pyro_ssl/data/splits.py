"""Splits of training rows into labelled, unlabelled and validation rows."""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from pyro_ssl.data.arrays import as_labels
from pyro_ssl.errors import DataError
from pyro_ssl.option_kinds import Range, Size
from pyro_ssl.options import check_fields, checked

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class LabelSplit:
    """A partition of the rows of a training set.

    Attributes:
        labelled: indices of rows whose labels the model may see, sorted, `[N_l]`.
        unlabelled: indices of rows that it sees without labels, sorted, `[N_u]`.
        validation: indices of rows with known labels that it never trains on, sorted, `[N_v]`.
    """

    labelled: Indices
    unlabelled: Indices
    validation: Indices

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that identify the three index sets."""
        text = hashlib.sha256()
        for part in (self.labelled, self.unlabelled, self.validation):
            text.update(len(part).to_bytes(8, "little"))
            text.update(part.astype("<i8").tobytes())
        return text.hexdigest()[:16]


@checked
def split_labels(
    ys: Any,
    num_classes: Size,
    labels: int | None,
    validation: int,
    seed: Annotated[int, Range(0)],
) -> LabelSplit:
    """Split rows into labelled, unlabelled and validation rows, stratified and seeded.

    Validation rows are drawn first, so that they do not depend on `labels`. Both draws are
    stratified, with as equal numbers per class as possible; classes with one row more are chosen at
    random. A class with too few rows left is labelled completely, and others get more labels.

    Args:
        ys: labels `[N]`, each in 0..`num_classes` - 1, as an array, a tensor or a list.
        num_classes: number of classes.
        labels: number of labelled rows; None labels all remaining rows.
        validation: number of validation rows.
        seed: seed of the draw.

    Raises:
        DataError: if a number is negative, a label is outside 0..K-1, there are fewer rows than
            `labels`, or a class has fewer rows than its share of `validation`.
    """
    if validation < 0 or (labels is not None and labels < 0):
        raise DataError(f"labels={labels} and validation={validation} must not be negative")
    known = _checked(ys, num_classes)
    rng = np.random.default_rng(seed)
    classes = [rng.permutation(np.flatnonzero(known == k)) for k in range(num_classes)]

    def even(total: int) -> Indices:
        wanted = np.full(num_classes, total // num_classes)
        wanted[rng.permutation(num_classes)[: total % num_classes]] += 1
        return wanted

    def draw(wanted: Indices) -> Indices:
        drawn = [classes[k][:n] for k, n in enumerate(wanted)]
        classes[:] = [classes[k][n:] for k, n in enumerate(wanted)]
        return np.sort(np.concatenate(drawn)).astype(np.int64)

    wanted = even(validation)
    for k, n in enumerate(wanted):
        if n > len(classes[k]):
            raise DataError(
                f"validation={validation} asks for {n} rows of class {k}, but only "
                f"{len(classes[k])} are left: ask for fewer validation rows"
            )
    validation_rows = draw(wanted)
    sizes = np.array([len(rows) for rows in classes])
    if labels is not None and labels > sizes.sum():
        raise DataError(f"labels={labels}, but only {sizes.sum()} rows are left: ask for fewer")
    labelled_rows = draw(sizes if labels is None else _fill(even(labels), sizes))
    unlabelled_rows = np.sort(np.concatenate(classes)).astype(np.int64)
    return LabelSplit(labelled_rows, unlabelled_rows, validation_rows)


def _checked(ys: Any, num_classes: int) -> Indices:
    """Return labels `[N]` as an array, each in 0..K-1."""
    known = as_labels(ys, "ys").cpu().numpy()
    if known.ndim != 1:
        raise DataError(f"ys has shape {list(known.shape)}, expected [rows], one label per row")
    if len(known) and not 0 <= known.min() <= known.max() < num_classes:
        raise DataError(
            f"ys ranges from {known.min()} to {known.max()}, expected labels in "
            f"0..{num_classes - 1}: leave rows of unknown labels out, or raise num_classes"
        )
    return known


def _fill(wanted: Indices, sizes: Indices) -> Indices:
    """Return `wanted` limited to `sizes`; the excess goes to the smallest classes with room."""
    filled = np.minimum(wanted, sizes)
    while missing := wanted.sum() - filled.sum():
        room = np.flatnonzero(filled < sizes)
        filled[room[np.argsort(filled[room], kind="stable")][:missing]] += 1
    return filled

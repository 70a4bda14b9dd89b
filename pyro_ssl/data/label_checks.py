"""Checks of labels, made once when data enters, and never in a training step."""

import torch
from torch import Tensor

from pyro_ssl.data.checks import check_tensor
from pyro_ssl.errors import DataError


def check_labels(
    ys: Tensor, num_rows: int, num_classes: int, unknown_ok: bool = False, name: str = "ys"
) -> None:
    """Check that `ys` are `num_rows` integer labels in 0..`num_classes` - 1.

    Args:
        ys: the labels `[num_rows]`.
        num_rows: number of rows of the inputs.
        num_classes: number of classes.
        unknown_ok: accept -1, an unknown label.
        name: their name in errors.

    Raises:
        DataError: naming the argument, what is wrong with it, and the remedy.
    """
    check_tensor(ys, name)
    if tuple(ys.shape) != (num_rows,):
        shape = list(ys.shape)
        raise DataError(f"{name} has shape {shape}, expected [{num_rows}], one label per row")
    _check_integers(ys, name)
    remedy = "renumber the labels, or raise num_classes"
    _check_range(ys, num_classes - 1, unknown_ok, name, remedy)


def check_attributes(
    ys: Tensor, num_rows: int, num_attributes: int, known: bool = False, name: str = "ys"
) -> None:
    """Check that `ys` are rows of binary attributes, 0 or 1, or -1 where unknown.

    Args:
        ys: the attributes `[num_rows, num_attributes]`.
        num_rows: number of rows of the inputs.
        num_attributes: number of attributes.
        known: require at least one known attribute in each row.
        name: their name in errors.

    Raises:
        DataError: naming the argument, what is wrong with it, and the remedy.
    """
    check_tensor(ys, name)
    if tuple(ys.shape) != (num_rows, num_attributes):
        raise DataError(
            f"{name} has shape {list(ys.shape)}, expected [{num_rows}, {num_attributes}], a row of "
            f"attributes for each input, or [{num_rows}], one label per row"
        )
    _check_integers(ys, name)
    remedy = "use 1 where the attribute is present, 0 where it is not"
    if num_attributes == 1:
        remedy += f", or, if these are labels of classes, give {name}[:, 0]"
    _check_range(ys, 1, True, name, remedy)
    empty = (ys < 0).all(-1)
    if known and bool(empty.any()):
        row = int(empty.nonzero()[0])
        raise DataError(
            f"{name}[{row}] knows no attribute: leave that row out, or count it as unlabelled"
        )


def check_known_labels(
    ys: Tensor, num_rows: int, num_classes: int, real_labels: bool, name: str = "ys"
) -> None:
    """Check labels of any kind, all of which must be known; of attributes, some in each row.

    Args:
        ys: labels `[num_rows]`, or attributes `[num_rows, num_classes]`.
        num_rows: number of rows of the inputs.
        num_classes: number of classes or attributes.
        real_labels: whether labels are real numbers.
        name: their name in errors.

    Raises:
        DataError: naming the argument, what is wrong with it, and the remedy.
    """
    check_tensor(ys, name)
    if real_labels:
        check_real_labels(ys, num_rows, known=True, name=name)
    elif ys.dim() == 2:
        check_attributes(ys, num_rows, num_classes, known=True, name=name)
    else:
        check_labels(ys, num_rows, num_classes, name=name)


def check_real_labels(ys: Tensor, num_rows: int, known: bool = False, name: str = "ys") -> None:
    """Check that `ys` are `num_rows` real labels, NaN where unknown.

    Args:
        ys: the labels `[num_rows]`, floating.
        num_rows: number of rows of the inputs.
        known: require that all labels are known.
        name: their name in errors.

    Raises:
        DataError: naming the argument, what is wrong with it, and the remedy.
    """
    check_tensor(ys, name)
    if tuple(ys.shape) != (num_rows,):
        shape = list(ys.shape)
        raise DataError(f"{name} has shape {shape}, expected [{num_rows}], one label per row")
    wrong = ~ys.isfinite() if known else ys.isinf()
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        unknown = "" if known else ", or NaN where the label is unknown"
        raise DataError(f"{name}[{row}] is {float(ys[row])}, expected finite labels{unknown}")


def _check_integers(ys: Tensor, name: str) -> None:
    if ys.dtype != torch.int64:
        raise DataError(f"{name} has dtype {ys.dtype}, expected torch.int64: use ys.long()")


def _check_range(ys: Tensor, highest: int, unknown_ok: bool, name: str, remedy: str) -> None:
    lowest = -1 if unknown_ok else 0
    outside = (ys < lowest) | (ys > highest)
    if bool(outside.any()):
        at = outside.nonzero()[0].tolist()
        unknown = ", or -1 where the label is unknown" if unknown_ok else ""
        raise DataError(
            f"{name}{at} is {int(ys[tuple(at)])}, expected a label in 0..{highest}{unknown}: "
            f"{remedy}"
        )

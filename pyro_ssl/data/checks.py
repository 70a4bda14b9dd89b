"""Checks of arrays, made once where data enters, and never in a training step."""

import math
from operator import index
from typing import Any

import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.option_kinds import is_readable, shown

# Rows are checked in blocks, since a file mapped to memory may be larger than the memory.
_BLOCK = 4096


def check_inputs(
    xs: Tensor,
    input_shape: tuple[int, ...],
    name: str = "xs",
    dtype: torch.dtype | None = None,
    bytes_ok: bool = False,
    real_ok: bool = False,
    missing_ok: bool = False,
) -> None:
    """Check that `xs` are finite floating-point inputs in [0, 1] of shape `[B, *input_shape]`.

    Args:
        xs: the inputs.
        input_shape: shape of one input.
        name: what to call them in an error.
        dtype: the model's dtype, if the inputs must have it.
        bytes_ok: accept bytes as well, which stand for their values / 255.
        real_ok: accept any real numbers.
        missing_ok: accept NaN as a missing value.

    Raises:
        DataError: naming what is wrong with which argument and the remedy.
    """
    check_tensor(xs, name)
    if xs.dim() == 0 or tuple(xs.shape[1:]) != tuple(input_shape):
        raise DataError(
            f"{name} has shape {list(xs.shape)}, expected [rows, "
            f"{', '.join(map(str, input_shape))}]: reshape it, or give the model its input_shape"
        )
    if bytes_ok and xs.dtype == torch.uint8:
        return
    if not xs.is_floating_point():
        expected = "floating point" if real_ok else "floating point in [0, 1]"
        raise DataError(
            f"{name} has dtype {xs.dtype}, expected {expected}: "
            "convert it by .float(), .astype('float32') in NumPy, and divide bytes by 255"
        )
    if dtype is not None and xs.dtype != dtype:
        raise DataError(f"{name} has dtype {xs.dtype}, the model {dtype}: use {name}.to({dtype})")
    if xs.numel() == 0:
        return
    low, high = _range(xs, name, missing_ok)
    if not real_ok and (low < 0 or high > 1):
        raise DataError(
            f"{name} ranges from {low:g} to {high:g}, expected [0, 1]: rescale it, "
            "bytes for instance by / 255"
        )


def _range(xs: Tensor, name: str, missing_ok: bool) -> tuple[float, float]:
    """Return the smallest and the largest value; check that all are finite."""
    low, high = math.inf, -math.inf
    what, remedy = "NaN or infinite", ", or, where NaN stands for a missing value, say missing=True"
    if missing_ok:
        what, remedy = "infinite", ""
    for number, block in enumerate(xs.split(_BLOCK)):
        bad = torch.isinf(block) if missing_ok else ~torch.isfinite(block)
        if bool(bad.any()):
            row = int(bad.flatten(1).any(1).nonzero()[0]) + number * _BLOCK
            raise DataError(
                f"{name} has {what} values, first in row {row}: remove such rows{remedy}"
            )
        known = block[~block.isnan()] if missing_ok else block
        if known.numel():
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    return low, high


def check_labels(
    ys: Tensor, num_rows: int, num_classes: int, unknown_ok: bool = False, name: str = "ys"
) -> None:
    """Check that `ys` are `num_rows` integer labels in 0..`num_classes` - 1.

    Args:
        ys: the labels `[num_rows]`.
        num_rows: number of rows of the inputs they belong to.
        num_classes: number of classes.
        unknown_ok: accept -1, an unknown label.
        name: what to call them in an error.

    Raises:
        DataError: naming what is wrong with which argument and the remedy.
    """
    check_tensor(ys, name)
    if tuple(ys.shape) != (num_rows,):
        shape = list(ys.shape)
        raise DataError(f"{name} has shape {shape}, expected [{num_rows}], one label a row")
    _check_integers(ys, name)
    remedy = "renumber the labels, or raise num_classes"
    _check_range(ys, num_classes - 1, unknown_ok, name, remedy)


def check_attributes(
    ys: Tensor, num_rows: int, num_attributes: int, known: bool = False, name: str = "ys"
) -> None:
    """Check that `ys` are rows of binary attributes, 0 or 1, or -1 where unknown.

    Args:
        ys: the attributes `[num_rows, num_attributes]`.
        num_rows: number of rows of the inputs they belong to.
        num_attributes: number of attributes.
        known: require at least one known attribute in each row.
        name: what to call them in an error.

    Raises:
        DataError: naming what is wrong with which argument and the remedy.
    """
    check_tensor(ys, name)
    if tuple(ys.shape) != (num_rows, num_attributes):
        raise DataError(
            f"{name} has shape {list(ys.shape)}, expected [{num_rows}, {num_attributes}], a row of "
            f"attributes for each input, or [{num_rows}], one label a row"
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
    """Check labels of any kind, all of which are known; of attributes, some in each row.

    Args:
        ys: labels `[num_rows]`, or attributes `[num_rows, num_classes]`.
        num_rows: number of rows of the inputs they belong to.
        num_classes: number of classes or attributes.
        real_labels: whether labels are real numbers.
        name: what to call them in an error.

    Raises:
        DataError: naming what is wrong with which argument and the remedy.
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
        num_rows: number of rows of the inputs they belong to.
        known: require that all are known.
        name: what to call them in an error.

    Raises:
        DataError: naming what is wrong with which argument and the remedy.
    """
    check_tensor(ys, name)
    if tuple(ys.shape) != (num_rows,):
        shape = list(ys.shape)
        raise DataError(f"{name} has shape {shape}, expected [{num_rows}], one label a row")
    wrong = ~ys.isfinite() if known else ys.isinf()
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        unknown = "" if known else ", or NaN where the label is unknown"
        raise DataError(f"{name}[{row}] is {float(ys[row])}, expected finite labels{unknown}")


def check_like(xs: Tensor, labelled: Tensor, name: str, may_differ: bool) -> None:
    """Check that rows have the device and dtype of `labelled_xs`.

    Args:
        xs: the rows.
        labelled: `labelled_xs`.
        name: what to call the rows in an error.
        may_differ: accept bytes, and rows in main memory, too.

    Raises:
        DataError: if they differ.
    """
    same_device = xs.device == labelled.device or (may_differ and not xs.is_cuda)
    same_dtype = xs.dtype == labelled.dtype or (may_differ and xs.dtype == torch.uint8)
    if not (same_device and same_dtype):
        raise DataError(
            f"{name} is {xs.dtype} on {xs.device}, labelled_xs {labelled.dtype} on "
            f"{labelled.device}: make them alike by .to(), by .astype() in NumPy"
        )


def check_num_classes(num_classes: Any) -> int:
    """Check that `num_classes` is a whole number of at least 1, and return it as an int.

    Raises:
        DataError: if it is none.
    """
    try:
        found = 0 if isinstance(num_classes, bool) else index(num_classes)
    except (TypeError, RuntimeError):
        found = 0
    if not 1 <= found < 2**31:
        raise DataError(
            f"num_classes is {shown(num_classes)}, expected a whole number of at least 1: the "
            "number of classes, or of binary attributes"
        )
    return found


def check_device(device: Any) -> torch.device:
    """Return a device that torch knows, given itself or its name.

    Raises:
        ConfigError: if it is none.
    """
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device is {shown(device)}, expected one of torch, as 'cuda'") from error


def check_tensor(values: Any, name: str) -> None:
    """Check that `values` are a dense tensor with values.

    Raises:
        DataError: if they are not.
    """
    if not isinstance(values, Tensor):
        raise DataError(
            f"{name} must be a torch.Tensor, got {type(values).__name__}: use torch.as_tensor"
        )
    if not is_readable(values):
        raise DataError(f"{name} is sparse, or has no values: expected a dense tensor with values")


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

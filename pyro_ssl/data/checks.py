"""Checks of arrays, made once when data enters, and never in a training step."""

import math
from operator import index
from typing import Any

import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.option_kinds import is_readable, shown

# Rows are checked in blocks, since a memory-mapped file may be larger than the memory.
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
        name: their name in errors.
        dtype: the model's dtype, if the inputs must have it.
        bytes_ok: also accept bytes, which stand for their values / 255.
        real_ok: accept any real numbers.
        missing_ok: accept NaN as a missing value.

    Raises:
        DataError: naming the argument, what is wrong with it, and the remedy.
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
    what, remedy = "NaN or infinite", ", or, if NaN stands for a missing value, use missing=True"
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


def check_like(xs: Tensor, labelled: Tensor, name: str, may_differ: bool) -> None:
    """Check that rows have the device and dtype of `labelled_xs`.

    Args:
        xs: the rows.
        labelled: `labelled_xs`.
        name: name of the rows in errors.
        may_differ: also accept bytes, and rows in main memory.

    Raises:
        DataError: if device or dtype differ.
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
        DataError: if it is not such a number.
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
    """Return the torch device with the given name; a device is returned unchanged.

    Raises:
        ConfigError: if there is no such device.
    """
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device is {shown(device)}, expected one of torch, as 'cuda'") from error


def check_tensor(values: Any, name: str) -> None:
    """Check that `values` are a dense tensor with values.

    Raises:
        DataError: if `values` are not such a tensor.
    """
    if not isinstance(values, Tensor):
        raise DataError(
            f"{name} must be a torch.Tensor, got {type(values).__name__}: use torch.as_tensor"
        )
    if not is_readable(values):
        raise DataError(f"{name} is sparse, or has no values: expected a dense tensor with values")

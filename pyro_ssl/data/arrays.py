"""Conversion of NumPy arrays, pandas objects and lists to tensors."""

import warnings
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pyro_ssl.data.checks import check_tensor
from pyro_ssl.errors import DataError

_NUMBERS = "expected numbers: encode text and categories as numbers first"
_CLASSES = (
    "expected whole numbers: number the classes, as numpy.unique(labels, return_inverse=True)[1] "
    "does, and use -1 where the label is unknown"
)

_REAL = "expected real numbers, NaN where the label is unknown"


def as_tensor(values: Any, name: str, remedy: str = _NUMBERS) -> Tensor:
    """Return a tensor of an array, a pandas object or a list; return a tensor unchanged.

    As in `torch.as_tensor`, the dtype is kept, Python's floats get torch's default dtype, and
    memory is shared if possible. In arrays of Python objects, None and pandas' NA become NaN.

    Args:
        values: the values, with at least one dimension.
        name: their name in errors.
        remedy: the remedy in errors about values that are not numbers.

    Raises:
        DataError: if the values are not an array of numbers.
    """
    if isinstance(values, Tensor):
        check_tensor(values, name)
        found = values
    elif isinstance(values, list | tuple) and values and isinstance(values[0], Tensor):
        try:
            found = torch.stack(list(values))
        except (RuntimeError, TypeError) as error:
            raise DataError(f"{name} is a list of tensors that differ ({error})") from error
    else:
        array = _as_array(values, name, remedy)
        found = _from_numpy(array, isinstance(values, np.memmap), name, remedy)
        if array.dtype == np.float64 and _is_of_python_numbers(values):
            found = found.to(torch.get_default_dtype())
    _check_rows(found.dim(), values, name)
    return found


def mapped(path: str | Path) -> Tensor:
    """Return the array of an `.npy` file, memory-mapped.

    Raises:
        DataError: if the file is missing, or is not an `.npy` file.
    """
    try:
        # Copy on write, since torch needs writable arrays; the file itself is never written.
        return torch.from_numpy(np.load(path, mmap_mode="c"))
    except Exception as error:  # Damaged bytes may cause any error in NumPy.
        raise DataError(
            f"{path} cannot be mapped ({error}): give an .npy file as numpy.save writes it"
        ) from error


def as_labels(ys: Any, name: str, real: torch.dtype | None = None) -> Tensor:
    """Return labels or attributes as int64, from any integer dtype; booleans become 0 and 1.

    Args:
        ys: a tensor, an array, a pandas object or a list.
        name: their name in errors.
        real: the dtype of labels that are real numbers, NaN where unknown; None for integers.

    Raises:
        DataError: if labels are not numbers, or if integers are expected and labels are continuous
            or NaN.
    """
    if real is not None:
        return _real_labels(ys, name).to(real)
    found = as_tensor(ys, name, _CLASSES)
    if not found.numel():
        return found.long()
    if found.is_complex():
        raise DataError(f"{name} has dtype {found.dtype}, {_CLASSES}")
    if found.is_floating_point():
        _refuse_floats(found, name)
    labels = found.long()
    if found.dtype == torch.uint64 and bool((labels < 0).any()):
        raise DataError(f"{name} has values of more than 63 bits, {_CLASSES}")
    return labels


def _real_labels(ys: Any, name: str) -> Tensor:
    found = as_tensor(ys, name, _REAL)
    if found.is_complex() or found.dtype == torch.bool:
        raise DataError(f"{name} has dtype {found.dtype}, {_REAL}")
    return found


def _refuse_floats(ys: Tensor, name: str) -> None:
    """Raise an error about floating-point labels, with the remedy for their kind."""
    unknown = ys.isnan()
    broken = ~unknown & (ys != ys.floor()) | ys.isinf()
    if bool(broken.any()):
        at = broken.nonzero()[0].tolist()
        raise DataError(
            f"{name} is continuous ({name}{at} is {float(ys[tuple(at)]):g}), expected classes as "
            "whole numbers: for RegressionM2, whose labels are real, use real_labels=True; to "
            f"predict ranges, number them, as numpy.digitize({name}, edges) does; -1 stands for an "
            "unknown label"
        )
    if bool(unknown.any()):
        at = unknown.nonzero()[0].tolist()
        raise DataError(
            f"{name}{at} is missing (NaN or None), and an unknown label is -1: use "
            f"numpy.nan_to_num({name}, nan=-1).astype(int), {name}.nan_to_num(-1).long() in torch, "
            f"{name}.fillna(-1).astype(int) in pandas"
        )
    raise DataError(
        f"{name} has dtype {ys.dtype}, expected torch.int64 or other integers: all its values are "
        f"whole numbers, so use {name}.long(), {name}.astype(int) in NumPy"
    )


def _as_array(values: Any, name: str, remedy: str) -> np.ndarray:
    """Return an array of numbers, or raise an error."""
    if np.ma.is_masked(values):
        raise DataError(f"{name} has masked entries: fill them by {name}.filled(value)")
    if hasattr(values, "toarray") and hasattr(values, "nnz"):
        raise DataError(f"{name} is a sparse matrix: use {name}.toarray()")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{name} is a {type(values).__name__} that is not an array ({reason}): give all rows "
            "the same shape, in main memory"
        ) from error
    _check_rows(array.ndim, values, name)
    if array.dtype.kind == "O":
        return _of_objects(array, name, remedy)
    return array


def _check_rows(dims: int, values: Any, name: str) -> None:
    if dims == 0:
        what = "None" if values is None else f"of type {type(values).__name__}"
        raise DataError(f"{name} is {what}, expected a tensor, an array or a list with its rows")


def _of_objects(array: np.ndarray, name: str, remedy: str) -> np.ndarray:
    """Return an array of Python objects as integers, or as floats if some are floats or missing."""
    missing = pd.isna(array)
    for at, value in np.ndenumerate(array):
        if not missing[at] and not isinstance(value, Real):
            shown = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
            raise DataError(f"{name}{list(at)} is {shown}, {remedy}")
    whole = not missing.any() and all(isinstance(value, Integral) for value in array.flat)
    try:
        return np.where(missing, np.nan, array).astype(np.int64 if whole else np.float64)
    except OverflowError as error:
        raise DataError(f"{name} has numbers that are too large ({error})") from error


def _from_numpy(array: np.ndarray, mapped: bool, name: str, remedy: str) -> Tensor:
    """Return a tensor that shares the array's memory, or a copy if torch cannot share it."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    # A memory-mapped file may be larger than the memory; nothing is written to it.
    if any(stride < 0 for stride in array.strides) or not (array.flags.writeable or mapped):
        array = array.copy()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable")
            return torch.from_numpy(array)
    except TypeError as error:
        example = f" ({array.flat[0]!s:.40}, ...)" if array.size else ""
        raise DataError(f"{name} has dtype {array.dtype}{example}, {remedy}") from error


def _is_of_python_numbers(values: Any) -> bool:
    """Return whether the first number in nested lists is Python's own, not NumPy's."""
    inner = values
    while isinstance(inner, list | tuple) and inner:
        inner = inner[0]
    return inner is not values and type(inner) in (int, float, bool)

"""Checks of a file's content before it is used, since the file may hold anything."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyro_ssl.errors import CheckpointError, PyroSSLError, one_line

REMEDY = "take another copy of it, or make it again"


@contextmanager
def refusing(path: Path, written_by: str = "") -> Iterator[None]:
    """Turn every error from using a file's content into one that names the file.

    Args:
        path: the file, or folder.
        written_by: the version of the library that wrote it, if the file says so.

    Raises:
        CheckpointError: instead of any other error. An error of this library keeps its class, and
            gets the path before its text.
    """
    try:
        yield
    except CheckpointError as error:
        if str(path) in str(error):
            raise
        raise CheckpointError(f"{path}: {error}") from error
    except PyroSSLError:
        raise
    except Exception as error:
        # Manipulated values may cause any error.
        raise CheckpointError(
            f"{path} is damaged, or was written by another version of the library{written_by} "
            f"({type(error).__name__}: {one_line(error)}): {REMEDY}"
        ) from error


def check_positive(value: Any, name: str) -> float:
    """Return a value that must be a positive number.

    Raises:
        CheckpointError: if it is not a positive number, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise CheckpointError(f"{name} is {value!r:.100}, expected a positive number: {REMEDY}")
    return float(value)


def check_kinds(values: Any, kinds: Mapping[str, Any], name: str) -> None:
    """Check the types of a mapping's values; additional values are ignored.

    Args:
        values: the mapping.
        kinds: the type of each value, or a tuple of types, as for `isinstance`.
        name: name of the mapping in errors.

    Raises:
        CheckpointError: naming a value that is missing or of another type.
    """
    if not isinstance(values, dict):
        raise CheckpointError(f"{name} is a {type(values).__name__}, expected a dict: {REMEDY}")
    if missing := [key for key in kinds if key not in values]:
        raise CheckpointError(f"{name} lacks {', '.join(missing)}: {REMEDY}")
    for key, kind in kinds.items():
        value = values[key]
        # In Python, truth values are whole numbers, too.
        is_truth = isinstance(value, bool) and kind is not bool
        if not isinstance(value, kind) or is_truth:
            raise CheckpointError(
                f"{name} has {key} = {value!r:.100}, of an invalid type: {REMEDY}"
            )

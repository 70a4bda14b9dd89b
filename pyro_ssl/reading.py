"""What a file says is checked before anything is made of it: it may say anything."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyro_ssl.errors import CheckpointError, PyroSSLError, one_line

REMEDY = "take another copy of it, or make it again"


@contextmanager
def refusing(path: Path, written_by: str = "") -> Iterator[None]:
    """Turn every error of using a file's content into one that names the file.

    Args:
        path: the file, or folder.
        written_by: the version of the library that wrote it, if it says so.

    Raises:
        CheckpointError: in place of all errors but those of this library; of its own kind with the
            path before the text.
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
        # What is made of tampered values may raise any error.
        raise CheckpointError(
            f"{path} is damaged, or was written by another version of the library{written_by} "
            f"({type(error).__name__}: {one_line(error)}): {REMEDY}"
        ) from error


def check_positive(value: Any, name: str) -> float:
    """Return a value that has to be a positive number.

    Raises:
        CheckpointError: if it is none, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise CheckpointError(f"{name} is {value!r:.100}, expected a positive number: {REMEDY}")
    return float(value)


def check_kinds(values: Any, kinds: Mapping[str, Any], name: str) -> None:
    """Check that a mapping has values of the kinds that it should have; others do not matter.

    Args:
        values: the mapping.
        kinds: the type of each value, or a tuple of types, as for `isinstance`.
        name: what the mapping is called in errors.

    Raises:
        CheckpointError: naming what is missing or of another kind.
    """
    if not isinstance(values, dict):
        raise CheckpointError(f"{name} is a {type(values).__name__}, expected a dict: {REMEDY}")
    if missing := [key for key in kinds if key not in values]:
        raise CheckpointError(f"{name} lacks {', '.join(missing)}: {REMEDY}")
    for key, kind in kinds.items():
        value = values[key]
        # Python's truth values are whole numbers, too.
        is_truth = isinstance(value, bool) and kind is not bool
        if not isinstance(value, kind) or is_truth:
            raise CheckpointError(
                f"{name} has {key} = {value!r:.100}, of a kind that it cannot have: {REMEDY}"
            )

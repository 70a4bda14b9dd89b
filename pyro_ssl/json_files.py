"""JSON files with the SHA-256 of their values, so that no change goes unnoticed."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pyro_ssl.errors import CheckpointError, ConfigError, one_line
from pyro_ssl.plain import plain
from pyro_ssl.reading import REMEDY

# The key of a file's SHA-256.
_CHECKSUM = "sha256_of_values"


def json_text(values: Mapping[str, Any], path: Path) -> str:
    """Return JSON of plain values with its SHA-256, for `read_json`.

    Args:
        values: the values; NumPy's scalars become Python's numbers.
        path: the file that will hold them, for errors.

    Raises:
        ConfigError: naming a value that JSON cannot hold.
    """
    values = plain(dict(values))
    if not _is_json(values):
        raise ConfigError(unheld(path, values, _is_json, "text"))
    values = json.loads(json.dumps(values))
    return json.dumps({**values, _CHECKSUM: _digest_of(values)}, indent=1)


def read_json(path: Path, missing: str = "give the path of what was saved") -> dict[str, Any]:
    """Return the values of a file written with `json_text`.

    A file of an earlier version, without a SHA-256, is read without a check.

    Args:
        path: the file.
        missing: the remedy if the file does not exist.

    Raises:
        CheckpointError: if the file is missing, damaged, or not such a file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"there is no {path}: {missing}") from error
    except Exception as error:
        # Too deeply nested JSON causes a RecursionError.
        raise CheckpointError(
            f"{path} is truncated or not our file ({one_line(error)}): {REMEDY}"
        ) from error
    if not isinstance(values, dict):
        found = type(values).__name__
        raise CheckpointError(f"{path} holds a {found}, expected a JSON object: {REMEDY}")
    digest = values.pop(_CHECKSUM, None)
    if digest is not None and digest != _digest_of(values):
        raise CheckpointError(
            f"{path} is damaged or was changed: its SHA-256 differs from the stored one; {REMEDY}"
        )
    return values


def unheld(path: Path, values: Any, holds: Callable[[Any], bool], kinds: str) -> str:
    """Return the text of an error that names the innermost of `values` that cannot be stored."""
    name, found = "", values
    while True:
        parts: Any = enumerate(found) if isinstance(found, list | tuple) else ()
        parts = found.items() if isinstance(found, Mapping) else parts
        inner = next(((key, part) for key, part in parts if not holds(part)), None)
        if inner is None:
            break
        name, found = (f"{name}[{inner[0]!r}]" if name else str(inner[0])), inner[1]
    return (
        f"{path} cannot hold {name or 'this'}, the {type(found).__name__} {found!r:.100}: use "
        f"numbers, {kinds}, or lists and dictionaries of them; nothing was written"
    )


def _is_json(value: Any) -> bool:
    try:
        json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _digest_of(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()

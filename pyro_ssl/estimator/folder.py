"""A folder of plain values and arrays, written atomically and read without running code.

It holds `model.json` and `weights-XXXXXXXX.npz`, whose name has part of its SHA-256. `model.json`
names the other file, so that replacing `model.json`, an atomic step, replaces both.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pyro_ssl.errors import CheckpointError, ConfigError, ResultsError, one_line
from pyro_ssl.files import write_bytes
from pyro_ssl.json_files import json_text, read_json
from pyro_ssl.reading import refusing
from pyro_ssl.replacing import is_being_written, replacing

VALUES = "model.json"
LIBRARY = "pyro_ssl"
VERSION = 1

# Parts of a sparse matrix.
_PARTS = ("data", "indices", "indptr", "shape")


def write_folder(
    path: Path,
    kind: str,
    values: Mapping[str, Any],
    arrays: Mapping[str, Any],
    check: Callable[[dict[str, Any], dict[str, Any]], None],
) -> None:
    """Write plain JSON values, and arrays or sparse matrices, to a folder.

    If the process is killed, the folder has either its former content or the new one. Weights that
    a killed process wrote, and that `model.json` does not name, are deleted.

    Args:
        path: the folder.
        kind: what is stored, "classifier" or "regressor".
        values: the values.
        arrays: the arrays.
        check: called with values and arrays as `read_folder` would return them, before anything is
            written; raises an error if they cannot be used.

    Raises:
        ConfigError: naming a value or an array that cannot be stored.
        ResultsError: if `path` is a file or a folder with other content, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise ResultsError(f"{path} is a file, expected a folder, or none yet: give another path")
    if path.is_dir() and not (path / VALUES).exists():
        odd = [p for p in path.iterdir() if not p.name.startswith((VALUES, "weights-"))]
        if odd:
            raise ResultsError(
                f"{path} holds {odd[0].name}, expected an empty folder, or one that save wrote: "
                "give another path"
            )
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **_flat(arrays))  # type: ignore[arg-type]
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    name = f"weights-{digest[:8]}.npz"
    head = {"format": f"{LIBRARY} {kind} {VERSION}", "weights": name, "sha256": digest}
    text = json_text({**head, **values}, path / VALUES)
    check(json.loads(text), _arrays_of(content))
    try:
        with replacing(path / VALUES) as temporary:
            temporary.write_text(text, encoding="utf-8")
            write_bytes(content, path / name)
    finally:
        _clear(path)


def read_folder(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values and the arrays of a folder.

    Args:
        path: the folder.
        kind: what is stored, "classifier" or "regressor".

    Raises:
        CheckpointError: if the folder is missing, truncated, not ours, or of a later version.
    """
    values = _read_values(path, f"{LIBRARY} {kind}")
    name = values.get("weights")
    if not isinstance(name, str) or Path(name).name != name:
        raise CheckpointError(f"{path / VALUES} names the weights {name!r}, expected a file's name")
    try:
        content = (path / name).read_bytes()
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path / name} cannot be read ({one_line(error)}): copy the whole folder, or save it "
            "again"
        ) from error
    if hashlib.sha256(content).hexdigest() != values.get("sha256"):
        raise CheckpointError(
            f"{path / name} is truncated or damaged: its SHA-256 is not the one in {VALUES}; "
            "copy the folder again, or save it again"
        )
    with refusing(path / name):
        return values, _arrays_of(content)


def _arrays_of(content: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return _nested({key: file[key] for key in file.files})


def _read_values(path: Path, wanted: str) -> dict[str, Any]:
    file = path / VALUES
    values = read_json(
        file, "expected a folder that save wrote; a file of a single model is for load_model"
    )
    found = values.get("format")
    kind, _, version = str(found).rpartition(" ")
    if kind != wanted or not version.isdecimal():
        raise CheckpointError(f"{file} has the format {found!r}, expected {wanted} {VERSION}")
    if int(version) > VERSION:
        raise CheckpointError(
            f"{file} has the format {found!r}, this version of pyro_ssl reads up to {VERSION}: "
            "upgrade pyro_ssl"
        )
    return values


def _clear(path: Path) -> None:
    """Delete weights that `model.json` does not name, unless it is being written."""
    weights = set(path.glob("weights-*.npz"))
    # A process that still writes such weights has a temporary file of model.json.
    if is_being_written(path / VALUES):
        return
    with suppress(CheckpointError, OSError):
        file = path / VALUES
        named = read_json(file).get("weights") if file.exists() else None
        for other in weights - {path / str(named)}:
            other.unlink()


def _flat(arrays: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for key, array in arrays.items():
        if sp.issparse(array):
            found |= {f"{key}//{part}": np.asarray(getattr(array, part)) for part in _PARTS}
        else:
            found[key] = np.asarray(array)
    for key, array in found.items():
        if array.dtype.hasobject:
            raise ConfigError(f"{key} is an array of {array.dtype}, which cannot be stored")
    return found


def _nested(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, array in arrays.items():
        name, _, part = key.rpartition("//")
        if not name or part not in _PARTS:
            found[key] = array
        elif part == "data":
            data, indices, indptr, shape = (arrays[f"{name}//{p}"] for p in _PARTS)
            found[name] = sp.csr_matrix((data, indices, indptr), shape=tuple(shape.tolist()))
    return found

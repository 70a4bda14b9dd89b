"""A folder of plain values and arrays, which is written in one step and read without running code.

It holds `model.json` and `weights-XXXXXXXX.npz`, whose name has part of its SHA-256. `model.json`
names the other file, so that replacing it, which is one step, replaces both.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pyro_ssl.errors import CheckpointError, ResultsError
from pyro_ssl.files import write_bytes, write_text

VALUES = "model.json"
LIBRARY = "pyro_ssl"
VERSION = 1

# Parts of a sparse matrix.
_PARTS = ("data", "indices", "indptr", "shape")


def write_folder(
    path: Path, kind: str, values: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Write plain JSON values, and arrays or sparse matrices, to a folder.

    A kill at any moment leaves the folder's former content or the new one.

    Args:
        path: the folder.
        kind: what is stored, "classifier" or "regressor".
        values: the values.
        arrays: the arrays.

    Raises:
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
    former = _former(path)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **_flat(arrays))  # type: ignore[arg-type]
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    name = f"weights-{digest[:8]}.npz"
    head = {"format": f"{LIBRARY} {kind} {VERSION}", "weights": name, "sha256": digest}
    text = json.dumps({**head, **values}, indent=1)
    write_bytes(buffer.getvalue(), path / name)
    write_text(text, path / VALUES)
    if former is not None and former != name:
        with suppress(OSError):
            (path / former).unlink()


def read_folder(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values and the arrays of a folder.

    Args:
        path: the folder.
        kind: what is stored, "classifier" or "regressor".

    Raises:
        CheckpointError: if the folder is missing, truncated, foreign or of a later version.
    """
    values = _read_values(path, f"{LIBRARY} {kind}")
    name = values.get("weights")
    if not isinstance(name, str) or Path(name).name != name:
        raise CheckpointError(f"{path / VALUES} names the weights {name!r}, expected a file's name")
    try:
        content = (path / name).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path / name} cannot be read ({error}): copy the whole folder, or save it again"
        ) from error
    if hashlib.sha256(content).hexdigest() != values.get("sha256"):
        raise CheckpointError(
            f"{path / name} is truncated or damaged: its SHA-256 is another than {VALUES} says; "
            "copy the folder again, or save it again"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return values, _nested({key: file[key] for key in file.files})


def _read_values(path: Path, wanted: str) -> dict[str, Any]:
    file = path / VALUES
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"there is no {file}: expected a folder that save wrote; a file of a single model is "
            "for load_model"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} is truncated or no file of ours ({error}): copy the folder again, or save it "
            "again"
        ) from error
    found = values.get("format") if isinstance(values, dict) else None
    kind, _, version = str(found).rpartition(" ")
    if kind != wanted or not version.isdigit():
        raise CheckpointError(f"{file} has the format {found!r}, expected {wanted} {VERSION}")
    if int(version) > VERSION:
        raise CheckpointError(
            f"{file} has the format {found!r}, this version of pyro_ssl reads up to {VERSION}: "
            "upgrade pyro_ssl"
        )
    return dict(values)


def _former(path: Path) -> str | None:
    """Return the name of the weights that a folder has now."""
    try:
        name = json.loads((path / VALUES).read_text())["weights"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    usual = isinstance(name, str) and Path(name).name == name and name.startswith("weights-")
    return name if usual else None


def _flat(arrays: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for key, array in arrays.items():
        if sp.issparse(array):
            found |= {f"{key}//{part}": np.asarray(getattr(array, part)) for part in _PARTS}
        else:
            found[key] = np.asarray(array)
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

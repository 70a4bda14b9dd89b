"""Parameters as JSON, and back; scikit-learn's estimators and kernels by class and parameters.

Nothing that a file names is imported, except for classes of scikit-learn.
"""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.gaussian_process.kernels import Kernel
from torch import Tensor

from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.plain import plain

_LIBRARY = "sklearn"
_REMEDY = "keep the estimator by joblib.dump(estimator, path), or pickle, instead"


def encoded(name: str, value: Any) -> Any:
    """Return a value as plain JSON values.

    Numbers, strings, None and lists stay; any other value becomes a dictionary whose only key is
    its kind.

    Args:
        name: name of the value in errors.
        value: a plain value, tuple, mapping, array, tensor, dtype, device, path, or estimator of
            scikit-learn.

    Raises:
        ConfigError: naming a value that cannot be stored.
    """
    value = plain(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        found = [encoded(name, v) for v in value]
        return found if isinstance(value, list) else {"tuple": found}
    if isinstance(value, Mapping):
        return {"mapping": [[encoded(name, k), encoded(name, v)] for k, v in value.items()]}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, np.ndarray) and (value.dtype.kind in "biufUO"):
        entries = [encoded(name, v) for v in value.ravel().tolist()]
        return {"array": [value.dtype.str, list(value.shape), entries]}
    if isinstance(value, Tensor):
        return {"tensor": encoded(name, value.detach().cpu().numpy())}
    if isinstance(value, PurePath | torch.device | torch.dtype):
        return _as_text(value)
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        kind = "dtype" if isinstance(value, np.dtype) else "scalar type"
        return {kind: np.dtype(value).str}
    if isinstance(value, BaseEstimator | Kernel):
        return {"estimator": _estimator_encoded(name, value)}
    raise ConfigError(f"{name} holds {value!r}, which cannot be stored: {_REMEDY}")


def _as_text(value: Any) -> dict[str, str]:
    if isinstance(value, torch.dtype):
        return {"torch dtype": str(value).removeprefix("torch.")}
    return {"path" if isinstance(value, PurePath) else "torch device": str(value)}


def decoded(value: Any) -> Any:
    """Return the value that `encoded` was called on.

    Raises:
        CheckpointError: if a value is of an unknown kind, or a class is not scikit-learn's.
    """
    if isinstance(value, list):
        return [decoded(v) for v in value]
    if not isinstance(value, dict):
        return value
    kind, content = next(iter(value.items())) if len(value) == 1 else ("", None)
    if kind not in _READERS:
        raise CheckpointError(
            f"a value of the file is of an unknown kind, {sorted(value)}: the file is damaged, or "
            "of a later version of pyro_ssl"
        )
    return _READERS[kind](content)


def check_no_folder(name: str, parameters: Mapping[str, Any], error: type[Exception]) -> None:
    """Check that an estimator has no folder of cached results, since these are pickles."""
    if parameters.get("memory") is not None:
        raise error(f"{name} has memory={parameters['memory']!r}, expected None: {_REMEDY}")


def _estimator_encoded(name: str, estimator: BaseEstimator | Kernel) -> dict[str, Any]:
    kind = type(estimator)
    if kind.__module__.partition(".")[0] != _LIBRARY or "<" in kind.__qualname__:
        raise ConfigError(
            f"{name} has a {kind.__module__}.{kind.__qualname__}, expected classes of scikit-learn "
            f"alone, the only ones that load imports: {_REMEDY}"
        )
    parameters = estimator.get_params(deep=False)
    check_no_folder(name, parameters, ConfigError)
    each = {k: encoded(f"{k} of {name}", v) for k, v in parameters.items()}
    return {"class": _public_path(kind), "parameters": each}


def _public_path(kind: type) -> str:
    """Return the class's path without private modules, which may change between versions."""
    parts = kind.__module__.split(".")
    public = [p for n, p in enumerate(parts) if not any(q.startswith("_") for q in parts[: n + 1])]
    module = importlib.import_module(".".join(public))
    same = getattr(module, kind.__name__, None) is kind
    return f"{'.'.join(public) if same else kind.__module__}.{kind.__name__}"


def _estimator(content: dict[str, Any]) -> Any:
    path = content["class"]
    module, _, name = path.rpartition(".")
    if module.partition(".")[0] != _LIBRARY:
        raise CheckpointError(f"the file names the class {path}, expected one of scikit-learn")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(f"this scikit-learn has no {path}: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, BaseEstimator | Kernel)):
        raise CheckpointError(f"the file names {path}, which is not an estimator of scikit-learn")
    parameters = {k: decoded(v) for k, v in content["parameters"].items()}
    check_no_folder(path, parameters, CheckpointError)
    return kind(**parameters)


def _array(content: list[Any]) -> Any:
    dtype, shape, entries = content
    values = [decoded(v) for v in entries]
    if np.dtype(dtype).kind != "O":
        return np.array(values, dtype=dtype).reshape(shape)
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found.reshape(shape)


def _torch_dtype(name: str) -> torch.dtype:
    found = getattr(torch, name)
    if not isinstance(found, torch.dtype):
        raise CheckpointError(f"the file names the dtype {name!r}, which torch does not have")
    return found


_READERS: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda content: tuple(decoded(v) for v in content),
    "mapping": lambda content: {decoded(k): decoded(v) for k, v in content},
    "bytes": bytes.fromhex,
    "array": _array,
    "tensor": lambda content: torch.from_numpy(decoded(content)),
    "path": Path,
    "torch device": torch.device,
    "torch dtype": _torch_dtype,
    "dtype": np.dtype,
    "scalar type": lambda content: np.dtype(content).type,
    "estimator": _estimator,
}

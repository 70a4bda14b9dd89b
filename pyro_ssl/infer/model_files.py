"""Files of models, without the state of a run."""

from pathlib import Path
from typing import Any

from pyro_ssl.errors import CheckpointError, ConfigError, one_line
from pyro_ssl.files import as_path, write_state
from pyro_ssl.infer.checkpoint import MODEL_FORMAT, OF_MODEL, checked, read_state
from pyro_ssl.infer.stored import (
    check_storable,
    class_named,
    restored_options,
    stored_options,
)
from pyro_ssl.models import PyroModel
from pyro_ssl.reading import check_kinds, refusing


def save_model(model: PyroModel, path: str | Path) -> None:
    """Write a model, without the state of a run, for `load_model`.

    Args:
        model: the model.
        path: the file.

    Raises:
        ConfigError: naming the reason, if `load_model` could not load the file.
        ResultsError: if the file cannot be written.
    """
    check_storable(model)
    state = {
        "model_class": type(model).__name__,
        "model_options": stored_options(model),
        "model": model.state_dict(),
    }
    write_state({"format": MODEL_FORMAT, **state}, as_path(path))


def load_model(
    path: str | Path, model_class: type[PyroModel] | None = None, **options: Any
) -> PyroModel:
    """Return the model of a `save_model` file or a checkpoint, in evaluation mode, on the CPU.

    If the run had `keep_best` and validation rows, the weights are those of the best epoch by
    `FitConfig.select`, otherwise those of the last epoch.

    Args:
        path: a file written by `save_model` or `fit`.
        model_class: the model's class, if it is not one of this library.
        options: networks and other objects that the model was constructed with, by the names of
            their options: the file holds only their weights and the names of their classes.

    Raises:
        CheckpointError: if the file is missing, damaged, or not a checkpoint of this library; if it
            is of a version whose models had other options; or if its model is of another class.
        ConfigError: naming an object that is missing among `options`, or that is not an option.
    """
    path = as_path(path)
    state = read_state(path)
    if state.get("format") == MODEL_FORMAT:
        check_kinds(state, OF_MODEL, str(path))
    else:
        state = checked(state, path)
    with refusing(path):
        best = state["best"] if state.get("config", {}).get("keep_best") else None
        kind = class_named(state["model_class"], model_class)
        arguments = restored_options(state["model_options"], options)
    try:
        model = kind(**arguments)
        model.load_state_dict(state["model"] if best is None else best["model"])
    except Exception as error:
        if isinstance(error, ConfigError) and options:
            # Errors about the caller's own arguments.
            raise
        version = "this library" if model_class is None else kind.__name__
        raise CheckpointError(
            f"{path} is damaged, or was written by another version of {version}: {one_line(error)}"
        ) from error
    return model.eval()

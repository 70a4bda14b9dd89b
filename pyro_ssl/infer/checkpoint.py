"""Checkpoints: all that a run needs to continue as if it had never stopped."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pyro_ssl.errors import CheckpointError
from pyro_ssl.files import write_state
from pyro_ssl.infer.config import FitConfig
from pyro_ssl.infer.stored import (
    check_storable,
    class_named,
    restored_options,
    stored,
    stored_options,
)
from pyro_ssl.infer.upgrade import BEFORE_BATCHES, upgraded
from pyro_ssl.models import PyroModel

FORMAT = "pyro_ssl checkpoint 5"
MODEL_FORMAT = "pyro_ssl model 2"
# Files of these formats are read as well.
EARLIER = {
    "pyro_ssl checkpoint 3": FORMAT,
    BEFORE_BATCHES: FORMAT,
    "pyro_ssl model 1": MODEL_FORMAT,
}
REQUIRED = (
    "format",
    "model_class",
    "model_options",
    "rows",
    "config",
    "compiles",
    "epoch",
    "history",
    "model",
    "optimiser",
    "rng",
    "best",
)

# Options that checkpoints may lack and whose defaults have changed since: what they were then.
FORMER_DEFAULTS: dict[str, Any] = {
    "learning_rate_schedule": "constant",
    "anneal": {},
    "batch_norm": False,
    "input_dropout": 0.0,
}

_REMEDY = "delete it, or start afresh with --overwrite"


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the states of torch's generators on the CPU and on `device`."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


@contextmanager
def own_random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the generators of `random_states`, and restore their states at the end.

    Other generators do not change; torch.manual_seed would seed those of all devices.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def set_random_states(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Restore what `random_states` returned."""
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write `state` to `path`; a kill at any moment leaves either the old file or the new one.

    Raises:
        ResultsError: if the file cannot be written.
    """
    write_state({"format": FORMAT, **state}, path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, tensors onto the CPU, without running code from the file.

    Raises:
        CheckpointError: if the file is missing, truncated, or no checkpoint of this library.
    """
    state = read_state(path)
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a {FORMAT!r} file: {_REMEDY}")
    missing = [key for key in REQUIRED if key not in state]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}: {_REMEDY}")
    return state


def read_state(path: Path) -> dict[str, Any]:
    """Read what `write_state` wrote, tensors onto the CPU, without running code from the file.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path} to resume from") from error
    except Exception as error:
        # The reader may raise nearly any error on damaged bytes.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is truncated or no checkpoint ({reason}): {_REMEDY}"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not a {FORMAT!r} file: {_REMEDY}")
    if state.get("format") in EARLIER:
        state = upgraded(state) | {"format": EARLIER[state["format"]]}
    return state


def check_belongs(
    state: dict[str, Any],
    model: PyroModel,
    config: FitConfig,
    rows: list[int],
    processes: int,
) -> None:
    """Check that a checkpoint's state belongs to this run.

    Args:
        state: what `load_checkpoint` returned.
        model: the run's model.
        config: the run's configuration.
        rows: numbers of labelled, unlabelled and validation rows.
        processes: how many processes train it.

    Raises:
        CheckpointError: naming what differs.
    """
    if len(state["rng"]) != processes:
        raise CheckpointError(
            f"the checkpoint was written by {len(state['rng'])} processes, this run has "
            f"{processes}: start as many as then"
        )
    if state["model_class"] != type(model).__name__:
        raise CheckpointError(
            f"the checkpoint is of a {state['model_class']}, not of a "
            f"{type(model).__name__}: resume with the model that wrote it"
        )
    about_rows = "rows labelled, unlabelled, validation"
    now: dict[str, Any] = {**asdict(config), **stored_options(model), about_rows: rows}
    # A checkpoint from before an option existed is taken to have what was then its default.
    defaults = {**asdict(FitConfig()), **stored(_default_options(type(model))), **FORMER_DEFAULTS}
    then = {**defaults, **state["config"], **state["model_options"], about_rows: state["rows"]}
    # The way a step is run changes results only by rounding. If the step size does not depend on
    # the number of epochs, that number may change too. Any other change makes another run.
    free = {"compile", "cuda_graph", "class_chunk"}
    if config.learning_rate_schedule in ("constant", "step"):
        free.add("epochs")
        # A run whose last epoch was cut short cannot go on as if that epoch had been whole.
        if then["steps"] is None or state["epoch"] * then["steps_per_epoch"] <= then["steps"]:
            free.add("steps")
    differing = [k for k in now if k not in free and now[k] != then.get(k)]
    if differing:
        changes = ", ".join(f"{k} ({then.get(k)} then, {now[k]} now)" for k in differing)
        raise CheckpointError(f"the checkpoint was written with another {changes}")


def _default_options(model_class: type[PyroModel]) -> dict[str, Any]:
    """Return the defaults of the options of a model class and of its bases."""
    options = {}
    for cls in reversed(model_class.__mro__):
        if issubclass(cls, PyroModel):
            for name, parameter in inspect.signature(cls.__init__).parameters.items():
                if parameter.default is not parameter.empty:
                    options[name] = parameter.default
    return options


def save_model(model: PyroModel, path: str | Path) -> None:
    """Write a model, without a run's state, for `load_model`.

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
    write_state({"format": MODEL_FORMAT, **state}, Path(path))


def load_model(
    path: str | Path, model_class: type[PyroModel] | None = None, **options: Any
) -> PyroModel:
    """Return the model of a `save_model` file or a checkpoint, in evaluation mode, on the CPU.

    If the run had `keep_best` and validation rows, the weights are those of the best epoch by
    `FitConfig.select`, else those of the last one.

    Args:
        path: a file written by `save_model` or `fit`.
        model_class: the class of a model that is not the library's.
        options: networks and other objects that the model was constructed with, by the names of
            their options: the file holds only their weights and the names of their classes.

    Raises:
        CheckpointError: if the file is missing, damaged, or no checkpoint of this library; if it is
            of a version whose models had other options; or if it holds a model of another class.
        ConfigError: naming an object that is missing among `options`, or that is no option.
    """
    state = read_state(Path(path))
    if state.get("format") != MODEL_FORMAT:
        state = load_checkpoint(Path(path))
    best = state["best"] if state.get("config", {}).get("keep_best") else None
    kind = class_named(state["model_class"], model_class)
    arguments = restored_options(state["model_options"], options)
    try:
        model = kind(**arguments)
        model.load_state_dict(state["model"] if best is None else best["model"])
    except (AttributeError, RuntimeError, TypeError) as error:
        version = "this library" if model_class is None else kind.__name__
        raise CheckpointError(f"{path} was written by another version of {version}: {error}") from (
            error
        )
    return model.eval()

"""Checkpoints: everything a run needs to go on as if it had never stopped."""

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
from pyro_ssl.infer.upgrade import upgraded
from pyro_ssl.models import PyroModel

FORMAT = "pyro_ssl checkpoint 4"
MODEL_FORMAT = "pyro_ssl model 2"
# Files of these formats are read as well.
EARLIER = {"pyro_ssl checkpoint 3": FORMAT, "pyro_ssl model 1": MODEL_FORMAT}
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
    """Return the state of every generator training draws from: torch's on CPU and on `device`."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


@contextmanager
def own_random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the generators that `random_states` is about, and put them back in the end.

    No other is touched; torch.manual_seed would seed every device's.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def set_random_states(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Put back what `random_states` returned."""
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write `state` to `path` so that a kill at any moment leaves the old file or the new one.

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
        # Damaged bytes surface as nearly any error of the reader, and nothing else runs here.
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
    """Check that a checkpoint's state is one of this run.

    Args:
        state: what `load_checkpoint` returned.
        model: the run's model.
        config: how it is trained.
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
    # An option that is younger than the checkpoint had what was its default.
    defaults = {**asdict(FitConfig()), **stored(_default_options(type(model))), **FORMER_DEFAULTS}
    then = {**defaults, **state["config"], **state["model_options"], about_rows: state["rows"]}
    # How a step is run changes no number but by rounding. Where the step size does not ask how
    # many epochs are to come, more of them continue the very same run; any other change would
    # make it another one.
    free = {"compile", "cuda_graph", "class_chunk"}
    if config.learning_rate_schedule in ("constant", "step"):
        free.add("epochs")
    differing = [k for k in now if k not in free and now[k] != then.get(k)]
    if differing:
        changes = ", ".join(f"{k} ({then.get(k)} then, {now[k]} now)" for k in differing)
        raise CheckpointError(f"the checkpoint was written with another {changes}")


def _default_options(model_class: type[PyroModel]) -> dict[str, Any]:
    """Return the options of a model that its constructor, or that of a base, has defaults for."""
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
        ConfigError: naming what stands in the way, if `load_model` could not read it again.
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

    It has the weights of the epoch of the highest validation accuracy (ELBO, if the model does
    not classify) if the run was to keep it and had validation rows, else those of the last epoch.

    Args:
        path: a file written by `save_model` or `fit`.
        model_class: the class of a model that is not the library's.
        options: networks and other objects that the model was constructed with, by the names of
            their options: the file holds their weights, and of themselves the class's name alone.

    Raises:
        CheckpointError: if the file is missing, damaged, no checkpoint of this library, one of a
            version whose models had other options, or holds a model of another class.
        ConfigError: naming the object that is missing among `options`, or is no option.
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

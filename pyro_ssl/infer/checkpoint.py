"""Checkpoints: everything that a run needs to continue as if it had never stopped."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pyro_ssl import files
from pyro_ssl.errors import CheckpointError
from pyro_ssl.files import as_path, write_state
from pyro_ssl.infer.config import FitConfig
from pyro_ssl.infer.restoring import check_rows, same
from pyro_ssl.infer.stored import stored, stored_options
from pyro_ssl.infer.upgrade import BEFORE_BATCHES, upgraded
from pyro_ssl.models import VAE, PyroModel
from pyro_ssl.reading import check_kinds, refusing

FORMAT = "pyro_ssl checkpoint 5"
MODEL_FORMAT = "pyro_ssl model 2"
# Earlier formats that can still be read.
EARLIER = {
    "pyro_ssl checkpoint 3": FORMAT,
    BEFORE_BATCHES: FORMAT,
    "pyro_ssl model 1": MODEL_FORMAT,
}
# The entries of checkpoints and of files of models, with their types.
OF_MODEL: dict[str, Any] = {"model_class": str, "model_options": dict, "model": dict}
REQUIRED: dict[str, Any] = {
    "format": str,
    **OF_MODEL,
    "rows": list,
    "config": dict,
    "compiles": bool,
    "epoch": int,
    "history": list,
    "optimiser": dict,
    "rng": list,
    "best": (dict, type(None)),
}
_OF_BEST: dict[str, Any] = {"epoch": int, "measure": str, "value": float, "model": dict}

# Former defaults, since changed, of options that earlier checkpoints may lack.
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

    Other generators do not change, whereas torch.manual_seed would seed those of all devices.
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


def save_checkpoint(state: dict[str, Any], path: str | Path) -> None:
    """Write `state` to `path`; a kill at any moment leaves either the old file or the new one.

    Raises:
        ConfigError: naming a value that `load_checkpoint` would refuse.
        ResultsError: if the file cannot be written.
    """
    write_state({"format": FORMAT, **state}, as_path(path))


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint, with tensors on the CPU, without running code from the file.

    Raises:
        CheckpointError: if the file is missing, truncated, or not a checkpoint of this library.
    """
    path = as_path(path)
    return checked(read_state(path), path)


def checked(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what `read_state` read, after checking that it has all entries of a checkpoint.

    Raises:
        CheckpointError: naming an entry that is missing or has the wrong type.
    """
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a {FORMAT!r} file: {_REMEDY}")
    check_kinds(state, REQUIRED, str(path))
    check_rows(state["history"], f"{path}'s history")
    if state["epoch"] < 0:
        raise CheckpointError(f"{path} is of epoch {state['epoch']}, expected 0 or more: {_REMEDY}")
    if state["best"] is not None:
        check_kinds(state["best"], _OF_BEST, f"{path}'s best epoch")
    return state


def read_state(path: Path) -> dict[str, Any]:
    """Read a mapping that `write_state` wrote, in the present format, without running its code.

    Tensors are on the CPU.

    Raises:
        CheckpointError: if the file is missing, damaged, or not a mapping.
    """
    state = files.read_state(path)
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not a {FORMAT!r} file: {_REMEDY}")
    found = state.get("format")
    if isinstance(found, str) and found in EARLIER:
        with refusing(path):
            state = upgraded(state) | {"format": EARLIER[found]}
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
        processes: number of processes that train the model.

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
    # For an option that is newer than the checkpoint, its default of that time is assumed.
    defaults = {**asdict(FitConfig()), **stored(_default_options(type(model))), **FORMER_DEFAULTS}
    then = {**defaults, **state["config"], **state["model_options"], about_rows: state["rows"]}
    for each in (then, now):
        if isinstance(each.get("m1"), Mapping):
            # M1M2's option of options, those of its lower layer.
            each["m1"] = {**stored(_default_options(VAE)), **each["m1"]}
    # How a step is executed changes results only by rounding. The number of epochs may change too
    # if the step size does not depend on it. Any other change makes another run.
    free = {"compile", "cuda_graph", "class_chunk"}
    if config.learning_rate_schedule in ("constant", "step"):
        free.add("epochs")
        # If the last epoch was cut short, the run cannot continue as if that epoch had been whole.
        if then["steps"] is None or state["epoch"] * then["steps_per_epoch"] <= then["steps"]:
            free.add("steps")
    differing = [k for k in now if k not in free and not same(now[k], then.get(k))]
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

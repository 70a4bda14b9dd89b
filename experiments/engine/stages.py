"""Training in stages of steps, each of which can be resumed from its checkpoint."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from pyro_ssl.errors import CheckpointError, NonFiniteError
from pyro_ssl.files import write_state
from pyro_ssl.infer.checkpoint import (
    own_random_state,
    random_states,
    read_state,
    set_random_states,
)

# Number of checkpoints of a stage.
_SAVES = 20


def run_stage(
    path: Path,
    parts: Mapping[str, nn.Module | Optimizer],
    steps: int,
    step: Callable[[], Tensor],
    seed: int,
    quiet: bool,
    rows: list[dict[str, Any]] | None = None,
    measure: Callable[[int], dict[str, Any]] | None = None,
    measurements: int = 1,
    data: str | None = None,
) -> float:
    """Make `steps` steps, from the checkpoint if there is one; a finished stage is only loaded.

    The global random state does not change.

    Args:
        path: file of the checkpoint.
        parts: networks and optimisers, whose states it holds.
        steps: number of steps.
        step: makes one step, and returns the loss.
        seed: seed of the steps' random draws.
        quiet: no progress bar.
        rows: results of `measure`, appended in place; the checkpoint holds them too.
        measure: called before the first step, and several times later, with the number of steps.
        measurements: number of measurements after the first.
        data: identifies the data.

    Returns:
        Seconds taken by all steps and measurements before the last checkpoint.

    Raises:
        NonFiniteError: if a loss stops being finite, naming step and file.
        CheckpointError: if the file is damaged, or of other networks or data.
    """
    rows = [] if rows is None else rows
    device = _device(parts)
    started = time.perf_counter()
    saves, measures = max(steps // _SAVES, 1), max(steps // measurements, 1)
    with (
        own_random_state(seed, device),
        tqdm(total=steps, desc=path.stem, unit="step", disable=quiet) as bar,
    ):
        done, seconds = _load(path, parts, rows, device, data) if path.exists() else (0, 0.0)
        started -= seconds
        bar.update(done)
        if measure is not None and not rows:
            rows.append(measure(0))
        while done < steps:
            loss = step()
            done += 1
            bar.update()
            measured = measure is not None and (done % measures == 0 or done == steps)
            saved = done % saves == 0 or done == steps
            if measured or saved:
                _check_finite(loss, path, done)
            if measure is not None and measured:
                rows.append(measure(done))
            if saved:
                seconds = time.perf_counter() - started
                state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
                state |= {"rows": rows, "done": done, "seconds": seconds, "data": data}
                write_state(state | {"rng": random_states(device)}, path)
    return seconds


def _check_finite(loss: Tensor, path: Path, done: int) -> None:
    """Raise an error if the loss of the last of `done` steps is not finite."""
    if not bool(torch.isfinite(loss)):
        raise NonFiniteError(
            f"the loss of {path.stem} is {loss.item()} at step {done}: {path} holds an earlier "
            "step, if any; try a smaller step size",
            "loss",
            0,
            done - 1,
        )


def _device(parts: Mapping[str, nn.Module | Optimizer]) -> torch.device:
    networks = (part for part in parts.values() if isinstance(part, nn.Module))
    return next(p.device for network in networks for p in network.parameters())


def _load(
    path: Path,
    parts: Mapping[str, nn.Module | Optimizer],
    rows: list[dict[str, Any]],
    device: torch.device,
    data: str | None,
) -> tuple[int, float]:
    """Restore a stage's state; return the number of its steps and the seconds they took."""
    state = read_state(path)
    # Earlier versions did not store this.
    if state.get("data", data) != data:
        raise CheckpointError(
            f"{path} is of a run on other data ({state['data']} then, {data} now): restore the "
            "former data, or start again with --overwrite"
        )
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        rows[:] = state["rows"]
        set_random_states(state["rng"], device)
        return state["done"], state["seconds"]
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is of another run ({error}): start again with --overwrite"
        ) from error

"""Training in stages of steps, each with a checkpoint that it is resumed from."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from pyro_ssl.errors import NonFiniteError

# Checkpoints of a stage.
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
) -> None:
    """Make so many steps, from the checkpoint if there is one; a finished stage is only loaded.

    Args:
        path: file of the checkpoint.
        parts: networks and optimisers, whose state it holds.
        steps: how many steps.
        step: makes one, and returns the loss.
        seed: seed of what the steps draw.
        quiet: no progress bar.
        rows: what `measure` gave, in place; the checkpoint holds it too.
        measure: called before the first step, and some times after it, with the steps so far.
        measurements: how often after the first.

    Raises:
        NonFiniteError: if a loss ceases to be finite, naming step and file.
    """
    rows = [] if rows is None else rows
    device = next(p for m in parts.values() if isinstance(m, nn.Module) for p in m.parameters())
    torch.manual_seed(seed)
    done = _load(path, parts, rows, device.device) if path.exists() else 0
    saves, measures = max(steps // _SAVES, 1), max(steps // measurements, 1)
    if measure is not None and not rows:
        rows.append(measure(0))
    with tqdm(total=steps, initial=done, desc=path.stem, unit="step", disable=quiet) as bar:
        while done < steps:
            loss = step()
            done += 1
            bar.update()
            last = done == steps
            if measure is not None and (done % measures == 0 or last):
                rows.append(measure(done))
            if done % saves == 0 or last:
                if not bool(torch.isfinite(loss)):
                    raise NonFiniteError(
                        f"the loss of {path.stem} is {loss.item()} at step {done}: {path} holds "
                        "an earlier step; try a smaller step size",
                        "loss",
                        0,
                        done - 1,
                    )
                _save(path, parts, rows, done)


def _save(
    path: Path,
    parts: Mapping[str, nn.Module | Optimizer],
    rows: list[dict[str, Any]],
    done: int,
) -> None:
    state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
    state |= {"rows": rows, "done": done, "rng": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda_rng"] = torch.cuda.get_rng_state()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _load(
    path: Path,
    parts: Mapping[str, nn.Module | Optimizer],
    rows: list[dict[str, Any]],
    device: torch.device,
) -> int:
    state = torch.load(path, map_location=device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    rows[:] = state["rows"]
    torch.set_rng_state(state["rng"].cpu())
    if "cuda_rng" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda_rng"].cpu())
    return state["done"]

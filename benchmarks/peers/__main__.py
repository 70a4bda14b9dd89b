"""Whole epochs of this library and of others, alternately in one process.

On the same 10,000 binary images, with the same networks, batches and step sizes: a VAE (this
library, NumPyro, pythae, pyroVED), M2 with 100 labels (this library, NumPyro with the label summed
by hand, pyroVED), and on counts of the same size SCANVI (scvi-tools) beside M2 with a negative
binomial likelihood. The others are no part of this library's requirements: `pip install numpyro
pyroved pythae scvi-tools` in an environment of its own; what is not installed is left out, with a
line that says so. NumPyro's epoch is one jitted scan. A loss of the same objective is shown beside
the times; pyroVED's semi-supervised VAE and SCANVI have objectives of their own. Writes peers.csv
and peers.md to RESULTS_ROOT.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import numpy as np
import torch
import tyro

from benchmarks.peers import numpyro_models, ours, scvi_model, torch_models
from benchmarks.peers.problem import Epoch, Problem
from benchmarks.timing import write_table
from pyro_ssl.infer.devices import keep_freed_memory, resolve_precision

Make = Callable[[Problem], Epoch]


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    models: tuple[Literal["VAE", "M2", "counts"], ...] = ("VAE", "M2", "counts")
    """Models to time."""
    rows: int = 10_000
    """Unlabelled rows."""
    labels: int = 100
    """Labelled rows of M2, all of them in every batch."""
    batch_size: int = 200
    """Unlabelled rows a step."""
    epochs: int = 8
    """Timed epochs of each contestant, in turn, after one that is told apart."""
    results_root: str = "results/benchmarks"
    """Folder of the tables."""


@dataclass(frozen=True)
class Contestant:
    """One of those that are timed.

    Attributes:
        name: library and way.
        make: returns its epoch.
        package: distribution that it needs, beside this library's.
    """

    name: str
    make: Make
    package: str | None = None


def contestants(model: str, fast: str) -> list[Contestant]:
    """Return the contestants of a model.

    Args:
        model: `VAE`, `M2` or `counts`.
        fast: the processor's fastest precision.
    """
    ways = [("float32", "never"), ("float32", "always"), (fast, "always")][
        : 2 + (fast != "float32")
    ]
    kinds: dict[str, list[tuple[str, Callable[[Problem, str, str], Epoch]]]] = {
        "VAE": [("VAE", ours.vae)],
        "M2": [("M2", ours.m2), ("RaoBlackwellM2", ours.rao_blackwell_m2)],
        "counts": [("RaoBlackwellM2", ours.m2_of_counts)],
    }
    found = [
        Contestant(
            f"ours, {name}, {'compiled' if way == 'always' else 'eager'}, {precision}",
            _in_way(make, precision, way),
        )
        for name, make in kinds[model]
        for precision, way in ways
    ]
    others = {
        "VAE": [
            Contestant("NumPyro", numpyro_models.vae, "numpyro"),
            Contestant("pythae", torch_models.pythae_vae, "pythae"),
            Contestant("pyroVED", torch_models.pyroved_vae, "pyroved"),
        ],
        "M2": [
            Contestant("NumPyro", numpyro_models.m2, "numpyro"),
            Contestant("pyroVED", torch_models.pyroved_ssvae, "pyroved"),
        ],
        "counts": [Contestant("scvi-tools, SCANVI", scvi_model.scanvi, "scvi-tools")],
    }
    return found + others[model]


def _in_way(make: Callable[[Problem, str, str], Epoch], precision: str, way: str) -> Make:
    return lambda problem: make(problem, precision, way)


def installed(contestant: Contestant) -> str | None:
    """Return the version of what a contestant needs, "" if nothing, None if it is missing."""
    if contestant.package is None:
        return ""
    try:
        return version(contestant.package)
    except PackageNotFoundError:
        return None


def measure(model: str, config: Config) -> list[dict[str, object]]:
    """Return a row for each contestant of a model, the fastest of ours as the reference.

    Args:
        model: `VAE`, `M2` or `counts`.
        config: the options.
    """
    problem = Problem.drawn(config.rows, config.labels, config.batch_size)
    fast = resolve_precision("auto", torch.device("cpu"))
    epochs: dict[str, Epoch] = {}
    first: dict[str, float] = {}
    versions: dict[str, str] = {}
    for contestant in contestants(model, fast):
        found = installed(contestant)
        if found is None:
            print(f"{contestant.name}: left out, {contestant.package} is not installed", flush=True)
            continue
        started = time.perf_counter()
        epoch = contestant.make(problem)
        epoch()
        first[contestant.name] = time.perf_counter() - started
        epochs[contestant.name], versions[contestant.name] = epoch, found
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    losses: dict[str, float] = {}
    for _ in range(config.epochs):
        for name, epoch in epochs.items():
            started = time.perf_counter()
            passed = epoch()
            taken = time.perf_counter() - started
            seconds[name].append(taken if passed.seconds is None else passed.seconds)
            losses[name] = passed.loss
    reference = np.array(
        min((v for k, v in seconds.items() if k.startswith("ours")), key=np.median)
    )
    return [
        {
            "model": model,
            "library": name,
            "times_as_long": float(np.median(np.array(taken) / reference)),
            "seconds": float(np.median(taken)),
            "seconds_min": min(taken),
            "seconds_max": max(taken),
            "first_epoch_seconds": first[name],
            "loss": losses[name],
            "version": versions[name],
            "rows": len(problem.xs),
            "batch_size": config.batch_size,
        }
        for name, taken in seconds.items()
    ]


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    keep_freed_memory()
    rows = [row for model in config.models for row in measure(model, config)]
    write_table(rows, "peers", config.results_root, torch.device("cpu"))


if __name__ == "__main__":
    main()

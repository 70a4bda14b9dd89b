"""Minutes to an accuracy: experiments with few labels, each seed from a fresh process.

Each goal is a mean test accuracy with 100 labels of MNIST, and the command that is to reach it with
its default schedule. A seed's minutes are those of the whole command, from the start of Python to
the last file: imports, the compiler, whose folder of earlier work is empty, training, the choice of
the epoch, and the measures of the test set. Run it on an idle machine. Writes minutes.csv and
minutes.md, a row a goal, and minutes_seeds.csv to RESULTS_ROOT.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
import tyro

from benchmarks.timing import write_table
from pyro_ssl.files import write_text


@dataclass(frozen=True)
class Goal:
    """What is to be reached.

    Attributes:
        accuracy: mean test accuracy over seeds, in percent.
        minutes: the time for it.
        command: module and options.
        run: folder of the results whose accuracy counts, below RESULTS_ROOT.
    """

    accuracy: float
    minutes: float
    command: tuple[str, ...]
    run: str


GOALS = {
    "M2 family": Goal(
        94.2,
        3,
        ("experiments.mnist_m2", "--num-summed", "1", "--no-baseline"),
        "mnist_m2/raoblackwellm2-mnist-100",
    ),
    "M1+M2": Goal(97.2, 8, ("experiments.mnist_m1m2",), "mnist_m1m2/m1m2-mnist-100"),
    "record": Goal(99.0, 15, ("experiments.mnist_record",), "mnist_record/record-mnist-100"),
}


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    goals: tuple[Literal["M2 family", "M1+M2", "record"], ...] = ("M2 family", "M1+M2", "record")
    """Names of goals."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds."""
    results_root: str = "results/benchmarks"
    """Folder of the tables."""


def measure(goal: Goal, seed: int, options: Sequence[str] = ()) -> dict[str, object]:
    """Run a goal's command for one seed; return its minutes and its test accuracy.

    Args:
        goal: the goal.
        seed: the seed.
        options: further options of the command.

    Raises:
        RuntimeError: if the command fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "results"
        command = [sys.executable, "-m", *goal.command, "--seeds", str(seed), *options]
        command += ["--results-root", str(root), "--quiet"]
        compiler = {"TORCHINDUCTOR_CACHE_DIR": str(Path(folder) / "compiler")}
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | compiler)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
        result = json.loads((root / goal.run / f"seed_{seed}.json").read_text())
    return {
        "seed": seed,
        "minutes": seconds / 60,
        "accuracy_%": 100 * result["test_accuracy"],
        "command": " ".join(goal.command),
    }


def summary(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Return a row for each goal: what was reached, in how many minutes, and what was to be.

    Args:
        rows: a row for each seed, as `measure` returns it, with the `goal`'s name.
    """
    table = []
    for name, seeds in pd.DataFrame(rows).groupby("goal", sort=False):
        goal = GOALS[str(name)]
        accuracy, minutes = seeds["accuracy_%"], seeds["minutes"]
        table.append(
            {
                "goal": name,
                "reached": bool(
                    accuracy.mean() >= goal.accuracy and minutes.mean() <= goal.minutes
                ),
                "accuracy_%": accuracy.mean(),
                "spread": accuracy.std(),
                "wanted_%": goal.accuracy,
                "minutes": minutes.mean(),
                "slowest_minutes": minutes.max(),
                "wanted_minutes": goal.minutes,
                "seeds": len(seeds),
                "command": " ".join(goal.command),
            }
        )
    return table


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    rows: list[dict[str, object]] = []
    for name in config.goals:
        for seed in config.seeds:
            rows.append({"goal": name, **measure(GOALS[name], seed)})
            print(rows[-1], flush=True)
    write_table(summary(rows), "minutes", config.results_root, torch.device("cpu"))
    each = Path(config.results_root) / "minutes_seeds.csv"
    write_text(pd.DataFrame(rows).to_csv(index=False), each)


if __name__ == "__main__":
    main()

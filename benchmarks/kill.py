"""Kills runs at random moments and before file operations, resumes them, and compares the results.

Each experiment runs undisturbed once. It is then begun again, ended by SIGKILL at a moment or before
a file operation, drawn at random, resumed, ended again, and so on until it reaches its end between
two kills. All numbers that it leaves have to be those of the undisturbed run then: tables, results,
weights, states of optimisers and generators; but for seconds and memory. A row of kill.csv for each
experiment says how many kills there were, and how many files differed.
"""

import importlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd
import tyro

_TINY = "--dataset digits --validation 50 --device cpu --quiet --hidden-dims 16"
_M1 = "--m1.epochs 3 --m1.hidden-dims 16 --m1.latent-dim 3 --active-threshold 0"
# What is run, by what the table calls it: module and options.
RUNS = {
    "mnist_m2": ("mnist_m2", f"{_TINY} --labels 20 --epochs 8 --latent-dim 3"),
    "mnist_m2, compiled": (
        "mnist_m2",
        f"{_TINY} --labels 20 --epochs 20 --latent-dim 3 --no-baseline --compile always",
    ),
    "mnist_m1": ("mnist_m1", f"{_TINY} --epochs 4 --latent-dim 3 --epochs-2d 3 --bound-samples 1"),
    "mnist_m1m2": ("mnist_m1m2", f"{_TINY} --labels 20 --epochs 4 --latent-dim 3 {_M1}"),
    "mnist_m1_svm": (
        "mnist_m1_svm",
        "--dataset digits --validation 50 --device cpu --quiet --labels 20 30 "
        f"--unlabelled-rows 50 {_M1}",
    ),
}
# Imported once: a process that is forked from one with these begins at once.
_PRELOADED = ("benchmarks.kill", "experiments.engine.training", "pyro_ssl.models", "sklearn.svm")
_OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "shutil.rmtree")


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    kills: int = 100
    """Kills, shared by the experiments."""
    runs: tuple[str, ...] = field(default_factory=lambda: tuple(RUNS))
    """Which of the experiments."""
    seed: int = 0
    """Seed of what is drawn."""
    results_root: str = "results/benchmarks"
    """Folder of kill.csv."""


@dataclass(frozen=True)
class Ending:
    """How one process of a run ended.

    Attributes:
        code: its exit code; that of a killed one is -9.
        operations: operations on files of its results before its end, if it was not killed.
        seconds: how long it ran.
        said: what it wrote to the screen.
    """

    code: int | None
    operations: int
    seconds: float
    said: str


class Killer:
    """Runs an experiment in processes of their own, which it can kill.

    Args:
        name: the module of the experiment.
        arguments: its options.
        root: folder of the results, made by this.
    """

    def __init__(self, name: str, arguments: str, root: Path) -> None:
        self.name, self.arguments, self.root = name, arguments, root
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*_PRELOADED, f"experiments.{name}"])

    def run(self, *more: str, operation: int | None = None, after: float | None = None) -> Ending:
        """Run to the end, or until killed before an operation, or after so many seconds."""
        self.root.mkdir(parents=True, exist_ok=True)
        arguments = [*self.arguments.split(), "--results-root", str(self.root), *more]
        receive, send = self._context.Pipe(duplex=False)
        with tempfile.NamedTemporaryFile() as said:
            what = (self.name, arguments, self.root, said.name, operation, send)
            process = self._context.Process(target=_run, args=what)
            start = time.perf_counter()
            process.start()
            send.close()
            process.join(after)
            # Of a process that has just ended by itself, nothing is left to kill.
            process.kill()
            process.join()
            seconds, operations = time.perf_counter() - start, 0
            with suppress(EOFError):
                operations = receive.recv()
            text = Path(said.name).read_text(errors="replace")
        return Ending(process.exitcode, operations, seconds, text)


def _run(
    name: str, arguments: list[str], root: Path, said: str, last: int | None, send: Connection
) -> None:
    """Run an experiment in this process, which kills itself before its operation number `last`."""
    screen = os.open(said, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(screen, stream)
    module, count, prefix = importlib.import_module(f"experiments.{name}"), 0, str(root)

    def watch(event: str, of: tuple[Any, ...]) -> None:
        nonlocal count
        if (
            event in _OPERATIONS
            and isinstance(of[0], (str, Path))
            and str(of[0]).startswith(prefix)
        ):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    code = module.main(arguments)
    send.send(count)
    sys.exit(code)


def contents(root: Path) -> dict[str, Any]:
    """Return all that a run left: numbers by file, and None for what holds none."""
    found: dict[str, Any] = {}
    for file in sorted(root.rglob("*")):
        # What a kill leaves of a file half written is no result.
        if file.is_file() and file.suffix not in (".log", ".tmp", ".lock"):
            found[file.relative_to(root).as_posix()] = _numbers(file)
    return found


def _numbers(file: Path) -> Any:
    import torch

    if file.suffix == ".csv":
        table = pd.read_csv(file, dtype=str)
        return {c: table[c].tolist() for c in table if "seconds" not in c}
    if file.suffix == ".json":
        return _untimed(json.loads(file.read_text()))
    if file.suffix == ".pt":
        return _untimed(torch.load(file, weights_only=True))
    return file.read_text() if file.suffix == ".txt" else None


def _untimed(value: Any) -> Any:
    """Return a value without seconds and memory, and tensors as bytes."""
    import torch

    if isinstance(value, Mapping):
        return {
            key: _untimed(part)
            for key, part in value.items()
            if "seconds" not in str(key) and key != "peak_memory_mib"
        }
    if isinstance(value, (list, tuple)):
        return [_untimed(part) for part in value]
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    return repr(value)


def differences(root: Path, undisturbed: Mapping[str, Any]) -> list[str]:
    """Return the files in which a run differs from the undisturbed one."""
    found = contents(root)
    return sorted(
        file
        for file in found.keys() | undisturbed.keys()
        if file not in found or file not in undisturbed or found[file] != undisturbed[file]
    )


def kill(
    name: str, arguments: str, kills: int, draw: random.Random, folder: Path
) -> dict[str, Any]:
    """Kill a run so many times, resuming it each time; return the row of the table.

    Raises:
        RuntimeError: if a run that was not killed failed.
    """
    start = time.perf_counter()
    whole = Killer(name, arguments, folder / "whole")
    undisturbed = _ended(whole.run())
    expected = contents(whole.root)
    done = before_operations = ends = 0
    differing: list[str] = []
    while done < kills:
        killer, resumed = Killer(name, arguments, folder / "killed"), ()
        for how in _kills(undisturbed, draw):
            ending = killer.run(*resumed, **(how if done < kills else {}))
            resumed = ("--resume",)
            if ending.code != -signal.SIGKILL:
                _ended(ending)
                break
            done += 1
            before_operations += "operation" in how
        ends += 1
        differing += differences(killer.root, expected)
        shutil.rmtree(killer.root)
    return {
        "kills": done,
        "before_file_operations": before_operations,
        "at_moments": done - before_operations,
        "ends": ends,
        "files": len(expected),
        "differing_files": " ".join(dict.fromkeys(differing)),
        "seconds": round(time.perf_counter() - start),
    }


def _kills(undisturbed: Ending, draw: random.Random) -> Iterator[dict[str, Any]]:
    """Yield where to kill a run, each as options of `Killer.run`, for ever."""
    while True:
        if draw.random() < 0.5:
            yield {"operation": draw.randint(1, undisturbed.operations)}
        else:
            yield {"after": draw.uniform(0, undisturbed.seconds)}


def _ended(ending: Ending) -> Ending:
    if ending.code != 0:
        raise RuntimeError(f"a run ended with code {ending.code}:\n{ending.said}")
    return ending


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    options = tyro.cli(Options, args=args, description=__doc__)
    from pyro_ssl.versions import environment

    rows, code = [], environment()
    for number, run in enumerate(options.runs):
        share = len(range(number, options.kills, len(options.runs)))
        draw = random.Random(f"{options.seed} {run}")
        with tempfile.TemporaryDirectory() as folder:
            row = kill(*RUNS[run], share, draw, Path(folder))
        rows.append({"run": run, **row, "seed": options.seed, **code})
        print(rows[-1], flush=True)
    folder = Path(options.results_root)
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "kill.csv", index=False)
    return int(any(row["differing_files"] for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())

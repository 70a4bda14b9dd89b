"""Kills runs at random moments and before file operations, resumes them, and compares the results.

Each experiment is run undisturbed once. It is then started again, ended by SIGKILL at a random
moment or before a random file operation, resumed, and so on until it reaches its end. All its
numbers must equal those of the undisturbed run: tables, results, weights, states of optimisers and
generators, except for seconds and memory. A row of kill.csv is an experiment, with the number of
kills and the files that differed.
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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd
import tyro

_DIGITS = "--dataset digits --validation 50 --device cpu --quiet"
_VAE = f"{_DIGITS} --hidden-dims 16 --latent-dim 3"
_M1 = "--m1.epochs 3 --m1.hidden-dims 16 --m1.latent-dim 3 --active-threshold 0"
_COMPILED = "--compile always"
# Experiments to run, by name in the table: module and options.
RUNS = {
    "mnist_m2": f"experiments.mnist_m2 {_VAE} --labels 20 --epochs 8",
    "compiled": f"experiments.mnist_m2 {_VAE} --labels 20 --epochs 20 --no-baseline {_COMPILED}",
    "mnist_m1": f"experiments.mnist_m1 {_VAE} --epochs 4 --epochs-2d 3 --bound-samples 1",
    "mnist_m1m2": f"experiments.mnist_m1m2 {_VAE} --labels 20 --epochs 4 {_M1}",
    "mnist_m1_svm": f"experiments.mnist_m1_svm {_DIGITS} --labels 20 30 --unlabelled-rows 50 {_M1}",
}
# Imported once: a process forked from one with these imports starts at once.
_PRELOADED = ("experiments.engine.training", "sklearn.datasets", "sklearn.svm", "torchmetrics")
_OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "shutil.rmtree")


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    kills: int = 100
    """Number of kills, shared among the experiments."""
    runs: tuple[str, ...] = tuple(RUNS)
    """Which of the experiments."""
    seed: int = 0
    """Seed of what is drawn."""
    results_root: str = "results/benchmarks"
    """Folder of kill.csv."""


@dataclass(frozen=True)
class Ending:
    """How a process ended: its exit code, and the number of operations on its files."""

    code: int | None
    operations: int
    seconds: float
    said: str


class Killer:
    """Runs an experiment in separate processes, which it can kill.

    Args:
        command: the experiment's module, whose `main` is called, and its options.
        root: folder of the results.
    """

    def __init__(self, command: str, root: Path) -> None:
        self.root = root
        self._command = command.split()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*_PRELOADED])

    def run(
        self,
        *more: str,
        operation: int | None = None,
        after: float | None = None,
        sign: int = signal.SIGKILL,
    ) -> Ending:
        """Run to the end, or until a signal before an operation, or a kill after seconds."""
        self.root.mkdir(parents=True, exist_ok=True)
        command = [*self._command, "--results-root", str(self.root), *more]
        receive, send = self._context.Pipe(duplex=False)
        with tempfile.NamedTemporaryFile() as said:
            what = (command, self.root, said.name, (operation, sign), send)
            process = self._context.Process(target=_run, args=what)
            start = time.perf_counter()
            process.start()
            send.close()
            process.join(after)
            # A process that has just ended by itself cannot be killed.
            process.kill()
            process.join()
            seconds, operations = time.perf_counter() - start, 0
            with suppress(EOFError):
                operations = receive.recv()
            text = Path(said.name).read_text(errors="replace")
        return Ending(process.exitcode, operations, seconds, text)


def _run(
    command: list[str], root: Path, said: str, how: tuple[int | None, int], send: Connection
) -> None:
    """Run an experiment in this process, and send it a signal before an operation."""
    # A kill during a compilation leaves half a library in torch's cache, and other runs would
    # continue uncompiled. Here the undisturbed run compiles, and the others find its result.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(root.parent / "compiled")
    for stream in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND), stream)
    module, count, prefix = importlib.import_module(command[0]), 0, str(root)

    def watch(event: str, of: tuple[Any, ...]) -> None:
        nonlocal count
        if event in _OPERATIONS and str(of[0]).startswith(prefix):
            count += 1
            if count == how[0]:
                os.kill(os.getpid(), how[1])

    sys.addaudithook(watch)
    code = module.main(command[1:])
    send.send(count)
    sys.exit(code)


def contents(root: Path) -> dict[str, Any]:
    """Return the content of all files of a run: their numbers, or None if they hold none."""
    found: dict[str, Any] = {}
    for file in sorted(root.rglob("*")):
        # A half-written file left by a kill is not a result.
        if file.is_file() and file.suffix not in (".log", ".tmp", ".lock"):
            found[file.relative_to(root).as_posix()] = _numbers(file)
    return found


def _numbers(file: Path) -> Any:
    import torch

    if file.suffix == ".csv":
        table = pd.read_csv(file, dtype=str)
        return {c: table[c].tolist() for c in table if "seconds" not in str(c)}
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


def kill(command: str, kills: int, draw: random.Random, folder: Path) -> dict[str, Any]:
    """Kill a run `kills` times, resuming it each time; return the row of the table.

    Raises:
        RuntimeError: if a run that was not killed failed.
    """
    start = time.perf_counter()
    whole = Killer(command, folder / "whole")
    undisturbed = _ended(whole.run())
    expected = contents(whole.root)
    done = before_operations = ends = 0
    differing: list[str] = []
    while done < kills:
        killer, resumed = Killer(command, folder / "killed"), False
        code: int | None = -signal.SIGKILL
        while code == -signal.SIGKILL:
            operation = draw.randint(1, undisturbed.operations) if draw.random() < 0.5 else None
            after = draw.uniform(0, undisturbed.seconds) if operation is None else None
            how: dict[str, Any] = {"operation": operation, "after": after} if done < kills else {}
            ending = killer.run(*["--resume"] * resumed, **how)
            code, resumed = ending.code, True
            done += code == -signal.SIGKILL
            before_operations += code == -signal.SIGKILL and operation is not None
        _ended(ending)
        ends += 1
        differing += differences(killer.root, expected)
        shutil.rmtree(killer.root)
    return {
        "kills": done,
        "before_file_operations": before_operations,
        "ends": ends,
        "files": len(expected),
        "differing_files": " ".join(dict.fromkeys(differing)),
        "seconds": round(time.perf_counter() - start),
    }


def _ended(ending: Ending) -> Ending:
    if ending.code == 0:
        return ending
    raise RuntimeError(f"a run ended with code {ending.code}:\n{ending.said}")


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None; 1 if numbers differ."""
    options = tyro.cli(Options, args=args, description=__doc__)
    from pyro_ssl.files import write_text
    from pyro_ssl.versions import environment

    rows, code = [], environment()
    for number, run in enumerate(options.runs):
        share = len(range(number, options.kills, len(options.runs)))
        draw = random.Random(f"{options.seed} {run}")
        with tempfile.TemporaryDirectory() as folder:
            row = kill(RUNS[run], share, draw, Path(folder))
        rows.append({"run": run, **row, "seed": options.seed, **code})
        print(rows[-1], flush=True)
    write_text(pd.DataFrame(rows).to_csv(index=False), Path(options.results_root) / "kill.csv")
    return int(any(row["differing_files"] for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())

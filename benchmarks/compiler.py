"""How long a process waits for the compiler: with an empty cache, and after another process.

For each model, one process after another makes the model and its first compiled step, on a batch of
200 rows of MNIST's size, in the processor's fastest precision. torch keeps compiled code in a
folder, TORCHINDUCTOR_CACHE_DIR, which is empty for the first process. Seconds of the imports are
told apart. Run it on an idle machine. Writes compiler.csv and compiler.md to RESULTS_ROOT.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import tyro


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    models: tuple[str, ...] = ("VAE", "M2", "RaoBlackwellM2", "CCVAE", "ADGM")
    """Keys of `benchmarks.all_models.MODELS`."""
    batch_size: int = 200
    """Rows of a batch."""
    results_root: str = "results/benchmarks"
    """Folder of the tables."""


def first_step(name: str, batch_size: int) -> dict[str, float]:
    """Return the seconds of the imports and of a first compiled step, and of a later one."""
    started = time.perf_counter()
    import torch

    from benchmarks.all_models import MODELS, library_step, rows_for
    from pyro_ssl.infer.devices import keep_freed_memory, resolve_precision

    imported = time.perf_counter()
    keep_freed_memory()
    cpu = torch.device("cpu")
    torch.manual_seed(0)
    model = MODELS[name]()
    rows = rows_for(model, batch_size, cpu)
    step = library_step(model, rows, resolve_precision("auto", cpu), True, False)
    step()
    made = time.perf_counter()
    step()
    later = time.perf_counter()
    return {"imports": imported - started, "first": made - imported, "later": later - made}


def measure(config: Config) -> list[dict[str, object]]:
    """Return a row for each model."""
    rows: list[dict[str, object]] = []
    for name in config.models:
        with tempfile.TemporaryDirectory() as folder:
            found = []
            for _ in range(2):
                command = [sys.executable, "-m", "benchmarks.compiler", "--one", name]
                done = subprocess.run(
                    [*command, str(config.batch_size)],
                    check=True,
                    capture_output=True,
                    text=True,
                    env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": folder},
                )
                found.append(json.loads(done.stdout.splitlines()[-1]))
        cold, warm = found
        rows.append(
            {
                "model": name,
                "first_process_seconds": cold["first"],
                "second_process_seconds": warm["first"],
                "imports_seconds": warm["imports"],
                "step_ms": 1e3 * warm["later"],
            }
        )
        print(rows[-1], flush=True)
    return rows


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    import torch

    from benchmarks.timing import write_table

    write_table(measure(config), "compiler", config.results_root, torch.device("cpu"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(first_step(sys.argv[2], int(sys.argv[3]))))
    else:
        main()

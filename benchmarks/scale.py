"""Times steps for different numbers of classes, of rows, and of runs at the same time.

Only one quantity grows at a time; all others are those of `benchmarks.step`. Writes scale.csv and
scale.md to RESULTS_ROOT.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pyro
import torch
import tyro
from joblib import Parallel, delayed

from benchmarks.contestants import Step, library_step, networks, rows_of_a_kind
from benchmarks.timing import alternate, write_table
from pyro_ssl.data import SSLData
from pyro_ssl.infer import FitConfig
from pyro_ssl.infer.devices import keep_freed_memory, resolve_device, resolve_precision
from pyro_ssl.infer.trainer import Trainer
from pyro_ssl.models import M2, RaoBlackwellM2, SSLModel

Row = dict[str, object]
# Number of steps of a training loop between two readings of the clock.
_STEPS = 20


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    classes: tuple[int, ...] = (10, 100, 1000)
    """Numbers of classes, at batch size 200."""
    full_sum_up_to: int = 100
    """Largest number of classes that M2 sums; RaoBlackwellM2 is timed for all numbers."""
    class_chunks: tuple[int, ...] = (1, 5)
    """Chunks of classes for M2 with 10 classes, eager."""
    batch_sizes: tuple[int, ...] = (50, 200, 800)
    """Rows of a batch, with 10 classes."""
    data_rows: tuple[int, ...] = (10_000, 50_000, 200_000)
    """Rows of the data, from which the step draws its batch."""
    jobs: tuple[int, ...] = (1, 2)
    """Numbers of runs at the same time."""
    seconds: float = 20.0
    """Seconds for which runs at the same time are timed."""
    rounds: int = 8
    """Rounds; in each every contestant makes six steps, of which five count."""
    device: str = "auto"
    """Device: auto (a GPU if there is one), cpu, cuda or cuda:N."""
    results_root: str = "results/benchmarks"
    """Folder of the tables."""


def step(config: Config, make: Callable[[int], SSLModel], classes: int, batch: int) -> Step:
    """Return the library's fastest step: compiled (not with chunks), on a GPU a CUDA graph."""
    device = resolve_device(config.device)
    torch.manual_seed(0)
    xs = torch.rand(batch, 1, 28, 28, device=device).bernoulli()
    model, precision = make(classes).to(device), resolve_precision("auto", device)
    rows, compiled = rows_of_a_kind(xs, None), model.class_chunk is None
    return library_step(model, rows, precision, compiled, device.type == "cuda")


def m2(classes: int, chunk: int | None = None) -> SSLModel:
    """Return M2 with the benchmark's networks."""
    return M2(class_chunk=chunk, **networks(classes))


def rao_blackwell(classes: int) -> SSLModel:
    """Return RaoBlackwellM2 with the benchmark's networks, one class summed."""
    return RaoBlackwellM2(num_summed=1, **networks(classes))


def steps_by_size(config: Config) -> dict[tuple[str, str, int], Step]:
    """Return steps by (quantity that grows, model, its size)."""
    steps: dict[tuple[str, str, int], Step] = {}
    for k in config.classes:
        if k <= config.full_sum_up_to:
            steps["classes", "M2", k] = step(config, m2, k, 200)
        steps["classes", "RaoBlackwellM2", k] = step(config, rao_blackwell, k, 200)
    for chunk in config.class_chunks:
        steps["class_chunk", "M2", chunk] = step(config, partial(m2, chunk=chunk), 10, 200)
    for batch in config.batch_sizes:
        steps["batch", "M2", batch] = step(config, m2, 10, batch)
        steps["batch", "RaoBlackwellM2", batch] = step(config, rao_blackwell, 10, batch)
    return steps


def training(config: Config, rows: int) -> Step:
    """Return 20 steps of the library's training loop for RaoBlackwellM2, on random images."""
    device = resolve_device(config.device)
    torch.manual_seed(0)
    xs, ys = torch.rand(rows + 100, 1, 28, 28), torch.arange(100) % 10
    data = SSLData(xs[:100], ys, xs[100:], 10, xs[:0], ys[:0]).to(device)
    how = FitConfig(
        steps_per_epoch=_STEPS, precision=resolve_precision("auto", device), compile="always"
    )
    trainer = Trainer(rao_blackwell(10).to(device), data, how)

    def run() -> None:
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            trainer.run_epoch()

    return run


def epoch_ends(config: Config, rows: int, seconds: float) -> list[float]:
    """Train for `seconds` after a warm-up; return the times at which each 20 steps ended."""
    keep_freed_memory()
    run = training(config, rows)
    run()
    ends = [time.time()]
    while ends[-1] < ends[0] + seconds:
        run()
        ends.append(time.time())
    return ends


def seconds_per_step(runs: list[list[float]]) -> float:
    """Return the seconds per step of all runs together, while all of them were running.

    Args:
        runs: the result of `epoch_ends` for each run.
    """
    start, end = max(ends[0] for ends in runs), min(ends[-1] for ends in runs)
    steps = _STEPS * sum(sum(start < e <= end for e in ends) for ends in runs)
    return (end - start) / steps


def measure(config: Config) -> list[Row]:
    """Return one row for each size, with its cost relative to the first size of its kind."""
    device = resolve_device(config.device)
    steps = steps_by_size(config)
    named = alternate({str(key): s for key, s in steps.items()}, config.rounds, device).median()
    costs = {key: float(named[str(key)]) for key in steps}
    loops = {str(rows): training(config, rows) for rows in config.data_rows}
    named = alternate(loops, config.rounds, device, block=1).median()
    for rows in config.data_rows:
        costs["data_rows", "RaoBlackwellM2", rows] = float(named[str(rows)]) / _STEPS
    for jobs in config.jobs:
        runs = Parallel(n_jobs=jobs)(
            delayed(epoch_ends)(config, config.data_rows[0], config.seconds) for _ in range(jobs)
        )
        costs["jobs", "RaoBlackwellM2", jobs] = seconds_per_step(runs)
    first: dict[tuple[str, str], float] = {}
    for (quantity, model, _), cost in costs.items():
        first.setdefault((quantity, model), cost)
    return [
        {
            "quantity": quantity,
            "model": model,
            "size": size,
            "times_the_first": cost / first[quantity, model],
            "ms_per_step": 1e3 * cost,
        }
        for (quantity, model, size), cost in costs.items()
    ]


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    keep_freed_memory()
    write_table(measure(config), "scale", config.results_root, resolve_device(config.device))


if __name__ == "__main__":
    main()

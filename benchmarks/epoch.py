"""Times whole epochs, including data movement: the textbook Pyro M2 against this library's fit.

The textbook draws its batches from two DataLoaders, binarises them and makes both SVI steps; the
library trains with `fit`. The rows are random images of MNIST's size, since their content does not
change the time. Writes epoch.csv and epoch.md to RESULTS_ROOT.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyro
import torch
import tyro
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.contestants import HIDDEN, LATENT, PIXELS, networks
from benchmarks.textbook import TextbookM2, TextbookTraining
from benchmarks.timing import write_table
from pyro_ssl.data import SSLData
from pyro_ssl.infer import FitConfig
from pyro_ssl.infer.devices import keep_freed_memory, resolve_device, resolve_precision
from pyro_ssl.infer.trainer import Trainer
from pyro_ssl.models import M2, RaoBlackwellM2, SSLModel


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    rows: int = 50_000
    """Unlabelled rows."""
    labels: int = 100
    """Labelled rows; all of them are in every batch."""
    batch_size: int = 200
    """Unlabelled rows per step."""
    epochs: int = 3
    """Timed epochs of each contestant, in turn, after one that is not timed."""
    device: str = "auto"
    """Device: auto (a GPU if there is one), cpu, cuda or cuda:N."""
    results_root: str = "results/benchmarks"
    """Folder of the tables."""


def random_data(config: Config, device: torch.device) -> SSLData:
    """Return random images with random labels."""
    torch.manual_seed(0)
    xs = torch.rand(config.rows + config.labels, 1, 28, 28)
    ys = torch.arange(config.labels) % 10
    parts = xs[: config.labels], ys, xs[config.labels :], 10, xs[:0], ys[:0]
    return SSLData(*parts).to(device)


def textbook_epoch(config: Config, data: SSLData, device: torch.device) -> Callable[[], None]:
    """Return the textbook's epoch: a step on unlabelled and one on labelled rows for each batch."""
    model = TextbookM2(PIXELS, 10, HIDDEN, LATENT).to(device)
    unlabelled = TensorDataset(data.unlabelled_xs.cpu())
    labelled = TensorDataset(data.labelled_xs.cpu(), data.labelled_ys.cpu())
    loaders = (
        DataLoader(unlabelled, config.batch_size, shuffle=True, drop_last=True),
        DataLoader(labelled, config.labels, shuffle=True),
    )
    training = TextbookTraining(model)

    def epoch() -> None:
        for (xs,) in loaders[0]:
            training.unlabelled_step(xs.to(device).bernoulli().flatten(1))
            for known, ys in loaders[1]:
                training.labelled_step(known.to(device).bernoulli().flatten(1), ys.to(device))

    return epoch


def fit_epoch(model: SSLModel, data: SSLData, config: FitConfig) -> Callable[[], None]:
    """Return one epoch of this library's training loop."""
    trainer = Trainer(model, data, config)

    def epoch() -> None:
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            trainer.run_epoch()

    return epoch


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    keep_freed_memory()
    device = resolve_device(config.device)
    data = random_data(config, device)
    fast = resolve_precision("auto", device)
    epochs = {"textbook Pyro, float32": textbook_epoch(config, data, device)}
    for precision, way in ((fast, "always"), ("float32", "always"), ("float32", "never")):
        how = FitConfig(batch_size=config.batch_size, precision=precision, compile=way)
        for name, make in (("M2", M2), ("RaoBlackwellM2", RaoBlackwellM2)):
            label = f"{name}, {'compiled' if way == 'always' else 'eager'}, {precision}"
            epochs[label] = fit_epoch(make(**networks(10)).to(device), data, how)
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for number in range(config.epochs + 1):
        for name, epoch in epochs.items():
            started = time.perf_counter()
            epoch()
            if number:
                seconds[name].append(time.perf_counter() - started)
    reference = sorted(seconds["textbook Pyro, float32"])[config.epochs // 2]
    rows: list[dict[str, object]] = []
    for name, taken in seconds.items():
        median = sorted(taken)[config.epochs // 2]
        rows.append(
            {
                "epoch": name,
                "times_faster": reference / median,
                "seconds": median,
                "seconds_min": min(taken),
                "seconds_max": max(taken),
                "rows": config.rows,
                "labels": config.labels,
                "batch_size": config.batch_size,
            }
        )
    write_table(rows, "epoch", config.results_root, device)


if __name__ == "__main__":
    main()

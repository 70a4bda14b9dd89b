"""Accuracy of two ways to train M2 on MNIST with 100 labels, as printed in docs/own-svi.md.

For each seed it runs the page's blocks of code with that seed, and the classifier trained on the
labelled rows only, with the same options. Accuracies are on 10,000 labelled validation rows after
every epoch; the test set is not read. Writes defaults_epochs.csv, with every epoch, and
defaults.csv and defaults.md to RESULTS_ROOT.
"""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import tyro

from benchmarks.timing import write_table
from pyro_ssl.data import DATA_VARIABLE
from pyro_ssl.files import write_text
from pyro_ssl.infer import FitConfig, fit
from pyro_ssl.models import MLPClassifier

PAGE = Path(__file__).parent.parent / "docs" / "own-svi.md"
WAYS = {"M2, fit": "fit(m2", "M2, SVI with TraceEnum_ELBO": "svi.step"}
CLASSIFIER = "classifier of the labelled rows alone"
# A hundred labelled rows are a single batch: steps of the classifier in each epoch.
_CLASSIFIER_STEPS = 25


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the label split, the weights and the noise."""
    data_root: str | None = None
    """Folder of the data sets; by default $PYRO_SSL_DATA, or else ./data."""
    results_root: str = "results/benchmarks"
    """Folder of the tables."""


def block(mark: str) -> str:
    """Return the page's first block of Python that contains `mark`."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return next(text for text in blocks if mark in text)


def accuracies(seed: int) -> dict[str, tuple[list[float], float]]:
    """Return, for each way, the validation accuracy after every epoch, and the run's seconds."""
    found = {}
    for name, mark in WAYS.items():
        scope: dict[str, Any] = {}
        exec(with_seed(block("load_dataset("), seed), scope)
        started = time.perf_counter()
        exec(with_seed(block(mark), seed), scope)
        found[name] = list(scope["accuracies"]), time.perf_counter() - started
    data, epochs = scope["data"], len(scope["accuracies"])
    torch.manual_seed(seed)
    classifier = MLPClassifier(data.input_shape, data.num_classes)
    how = FitConfig(
        epochs=epochs,
        steps_per_epoch=_CLASSIFIER_STEPS,
        seed=seed,
    )
    started = time.perf_counter()
    rows = fit(classifier, data.labelled_only(), how).rows
    seconds = time.perf_counter() - started
    found[CLASSIFIER] = [row["validation_accuracy"] for row in rows], seconds
    return found


def with_seed(code: str, seed: int) -> str:
    """Return the page's code with another seed for the split and all random numbers."""
    code = code.replace("seed=0", f"seed={seed}").replace(
        "set_rng_seed(0)", f"set_rng_seed({seed})"
    )
    return re.sub(r"FitConfig\(epochs=(\d+)\)", rf"FitConfig(epochs=\1, seed={seed})", code)


def summary(epochs: pd.DataFrame) -> list[dict[str, object]]:
    """Return a row for each way and seed: accuracy of the last and of the worst epoch, in %."""
    rows: list[dict[str, object]] = []
    for (way, seed), frame in epochs.groupby(["way", "seed"], sort=False):
        values = 100 * frame["validation_accuracy"]
        rows.append(
            {
                "way": way,
                "seed": seed,
                "epochs": len(values),
                "validation_accuracy_%": round(values.iloc[-1], 2),
                "lowest_%": round(values.min(), 2),
                "seconds_per_epoch": round(frame["seconds"].iloc[0] / len(values), 1),
            }
        )
    return rows


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    if config.data_root is not None:
        os.environ[DATA_VARIABLE] = config.data_root
    rows: list[dict[str, object]] = []
    for seed in config.seeds:
        for way, (values, seconds) in accuracies(seed).items():
            told = {"way": way, "seed": seed, "seconds": seconds}
            rows += [told | {"epoch": e, "validation_accuracy": v} for e, v in enumerate(values)]
        # Written after every seed, since each takes more than ten minutes.
        epochs = pd.DataFrame(rows)
        write_text(epochs.to_csv(index=False), Path(config.results_root) / "defaults_epochs.csv")
        write_table(summary(epochs), "defaults", config.results_root, torch.device("cpu"))


if __name__ == "__main__":
    main()

"""Accuracy on synthetic single cells: 20 labelled cells per type; all others are annotated.

Cells are those of `pyro_ssl.data.draw_cells`: ten types in three lineages, two batches, counts of
300 genes. Each method gets the labelled cells; some methods also learn from the others without
labels. Accuracy is that on the other cells. "all labels" is a logistic regression that also gets
the labels of four fifths of the other cells and predicts the last fifth: it shows what labels could
reach. Classifiers other than ours see log-normalised, standardised counts, and indicators of the
batch. Seeds from 100 on were for tuning. Writes cells.csv, a row per seed and method, and a
summary, cells.md, to RESULTS_ROOT.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import tyro
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading

from experiments.engine.tables import cells_summary, to_markdown
from pyro_ssl.data import Cells, draw_cells
from pyro_ssl.estimator.single_cells import AnnDataRows
from pyro_ssl.files import write_text
from pyro_ssl.infer.devices import describe_device
from pyro_ssl.versions import environment

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

# Number of principal components in which label spreading searches neighbours.
_COMPONENTS = 30


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of cells and labels."""
    cells: int = 2000
    """Number of cells."""
    genes: int = 300
    """Number of genes."""
    labels: int = 20
    """Labelled cells per type."""
    max_steps: int | None = None
    """Largest number of our training steps; None for that of `AnnDataRows.classifier`."""
    methods: tuple[str, ...] = ()
    """Names of the methods to run; all if empty."""
    results_root: str = "results/benchmarks"
    """Folder of the tables."""


@dataclass(frozen=True)
class Task:
    """Cells, some of which are labelled.

    Attributes:
        cells: counts, types and batches.
        labels: types of the labelled cells, -1 for all others, `[N]`.
        features: features for other classifiers, `[N, D]`.
        seed: seed of the methods' random draws.
    """

    cells: Cells
    labels: Codes
    features: Floats
    seed: int

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which cells are labelled, `[N]`."""
        found: NDArray[np.bool_] = self.labels >= 0
        return found


def make_task(config: Config, seed: int) -> Task:
    """Draw cells, and choose those with known labels."""
    cells = draw_cells(config.cells, config.genes, seed=seed)
    order = np.random.default_rng(seed).permutation(config.cells)
    known = [order[cells.types[order] == k][: config.labels] for k in np.unique(cells.types)]
    labels = np.full(config.cells, -1)
    labels[np.concatenate(known)] = cells.types[np.concatenate(known)]
    sizes = cells.counts.sum(1, keepdims=True)
    logs = np.log1p(cells.counts / np.maximum(sizes, 1) * np.median(sizes))
    features = np.c_[StandardScaler().fit_transform(logs), np.eye(2)[cells.batches]]
    return Task(cells, labels, features, seed)


def annotate(task: Task, max_steps: int | None) -> Codes:
    """Return the types that our classifier predicts, `[N]`.

    Args:
        task: cells and labels.
        max_steps: largest number of training steps; None for the default.
    """
    cells, names = task.cells, np.arange(len(task.labels)).astype(str).astype(object)
    genes = [f"gene{n}" for n in range(cells.counts.shape[1])]
    known = [int(k) if k >= 0 else None for k in task.labels]
    rows = AnnDataRows(
        cells.counts, genes, cells.batches.astype(str), None, np.array(known, dtype=object), names
    )
    parameters = {} if max_steps is None else {"max_steps": max_steps, "min_steps": 0}
    classifier = rows.classifier(random_state=task.seed, **parameters)
    found: Codes = classifier.fit(rows, rows.y).predict(rows)
    return found


def _of_labelled(make: Callable[[int], Any]) -> Callable[[Task, int | None], Codes]:
    """Return a method that learns from labelled cells only."""

    def run(task: Task, max_steps: int | None) -> Codes:
        fitted = make(task.seed).fit(task.features[task.known], task.labels[task.known])
        found: Codes = fitted.predict(task.features)
        return found

    return run


def spread_labels(task: Task, max_steps: int | None) -> Codes:
    """Return types by label spreading on principal components."""
    components = min(_COMPONENTS, task.features.shape[1])
    reduced = PCA(components, random_state=task.seed).fit_transform(task.features)
    spreading = LabelSpreading(kernel="knn", n_neighbors=7).fit(reduced, task.labels)
    found: Codes = spreading.transduction_
    return found


def by_all_labels(task: Task, max_steps: int | None) -> Codes:
    """Return types of the other cells by a logistic regression that sees most of their labels."""
    others = ~task.known
    found = task.cells.types.copy()
    regression = LogisticRegression(max_iter=1000, C=0.01)
    found[others] = cross_val_predict(regression, task.features[others], task.cells.types[others])
    return found


METHODS: dict[str, Callable[[Task, int | None], Codes]] = {
    "pyro_ssl": annotate,
    "logistic regression": _of_labelled(lambda seed: LogisticRegression(max_iter=1000)),
    "logistic regression, strength by cross-validation": _of_labelled(
        lambda seed: LogisticRegressionCV(Cs=7, cv=5, max_iter=1000)
    ),
    "random forest": _of_labelled(lambda seed: RandomForestClassifier(500, random_state=seed)),
    "label spreading": spread_labels,
    "logistic regression, all labels": by_all_labels,
}


def measure(config: Config) -> list[dict[str, object]]:
    """Return a row for each seed and method: accuracies in percent, and seconds on one core."""
    rows: list[dict[str, object]] = []
    for seed in config.seeds:
        task = make_task(config, seed)
        for name in config.methods or METHODS:
            started = time.process_time()
            with warnings.catch_warnings():
                # scikit-learn's warnings about future defaults.
                warnings.simplefilter("ignore", FutureWarning)
                found = METHODS[name](task, config.max_steps)[~task.known]
            seconds = time.process_time() - started
            truth = task.cells.types[~task.known]
            rows.append(
                {
                    "method": name,
                    "seed": seed,
                    "accuracy_%": 100 * accuracy_score(truth, found),
                    "balanced_accuracy_%": 100 * balanced_accuracy_score(truth, found),
                    "core_seconds": seconds,
                }
            )
            print(rows[-1], flush=True)
    return rows


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    rows, folder = measure(config), Path(config.results_root)
    known = {"device": describe_device(torch.device("cpu")), **environment()}
    table = pd.DataFrame(rows).assign(**{key: str(value) for key, value in known.items()})
    write_text(table.to_csv(index=False), folder / "cells.csv")
    shown = cells_summary(table)
    seeds = ", ".join(map(str, config.seeds))
    note = f"Written by `python -m benchmarks.cells`: seeds {seeds}; {config.cells} cells, "
    note += f"{config.genes} genes, {config.labels} labels a type."
    write_text(f"{note}\n\n{to_markdown(shown)}", folder / "cells.md")
    print(shown.to_string(index=False))


if __name__ == "__main__":
    main()

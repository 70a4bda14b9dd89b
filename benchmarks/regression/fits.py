"""Single fits of the comparison, and the measures of each."""

import itertools
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.regression.data import load, split
from benchmarks.regression.methods import METHODS, Part


@dataclass(frozen=True)
class Fit:
    """One method on one split of one data set."""

    dataset: str
    labels: int
    split: int
    method: str


# The columns that identify settings, and those that identify fits.
CELL = ("dataset", "labels")
KEY = tuple(Fit.__dataclass_fields__)
MEASURES = ("rmse", "r2", "log_loss", "seconds")
COLUMNS = (*KEY, "labelled", "unlabelled", *MEASURES, "commit")


def grid(
    datasets: Sequence[str], labels: Sequence[int], splits: Sequence[int], methods: Sequence[str]
) -> Iterator[Fit]:
    """Yield all fits, by split first, so that means come early."""
    for seed, name, number, method in itertools.product(splits, datasets, labels, methods):
        yield Fit(name, number, seed, method)


def part_of(dataset: str, labels: int, seed: int) -> tuple[Part, np.ndarray]:
    """Return the rows of a fit, and the labels of its test rows."""
    inputs, ys = load(dataset)
    train, test, known = split(len(ys), labels, seed)
    partial = np.where(known, ys[train], np.nan)
    return Part(inputs.iloc[train], partial, inputs.iloc[test], seed), ys[test]


def run(fit: Fit, commit: str | None) -> list[dict[str, Any]]:
    """Return the row of one fit, with the columns `COLUMNS`.

    The split's number is the seed of all random draws. The seconds include the fit and the
    prediction of the test rows.
    """
    part, ys = part_of(fit.dataset, fit.labels, fit.split)
    started = time.perf_counter()
    with warnings.catch_warnings():
        # scikit-learn's warnings: columns without a known entry, kernels at their bounds.
        warnings.simplefilter("ignore")
        mean, deviation = METHODS[fit.method](part)
    seconds = round(time.perf_counter() - started, 3)
    told = {"labelled": fit.labels, "unlabelled": len(part.partial) - fit.labels}
    return [
        asdict(fit) | told | measures(mean, deviation, ys) | {"seconds": seconds, "commit": commit}
    ]


def measures(mean: np.ndarray, deviation: np.ndarray | None, ys: np.ndarray) -> dict[str, float]:
    """Return the measures of quality of predictions.

    Args:
        mean: predicted labels `[M]`.
        deviation: their standard deviations `[M]`; None if the method has none.
        ys: the labels.

    Returns:
        The root mean squared error in units of the labels; R^2; the mean negative log-density of
        the labels in nats, under normal distributions, NaN without deviations.
    """
    error = ys - mean
    square = float(np.mean(error**2))
    log_loss = np.nan
    if deviation is not None:
        nats = 0.5 * (error / deviation) ** 2 + np.log(deviation) + 0.5 * np.log(2 * np.pi)
        log_loss = float(nats.mean())
    return {"rmse": square**0.5, "r2": 1 - square / float(ys.var()), "log_loss": log_loss}


def done(table: pd.DataFrame) -> set[Fit]:
    """Return the fits whose rows a table has."""
    return {Fit(*values) for values in table[list(KEY)].itertuples(index=False, name=None)}

"""Single fits of the comparison, the measures of each, and the file of all fits."""

import fcntl
import io
import itertools
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.tables.data import COUNTS, load, remove_entries, split
from benchmarks.tables.methods import LEFT_OUT, METHODS, Part
from pyro_ssl.errors import ResultsError

# Lower limit of probabilities in logarithms: forests and neighbours may predict 0.
_FLOOR = 1e-6


@dataclass(frozen=True)
class Fit:
    """One method on one split of one data set."""

    dataset: str
    labels: int
    draw: str
    missing: float
    split: int
    method: str


# The columns that identify settings, and those that identify fits.
CELL = ("dataset", "labels", "draw", "missing")
KEY = tuple(Fit.__dataclass_fields__)
MEASURES = ("balanced_accuracy", "accuracy", "log_loss", "ece", "seconds")
COLUMNS = (*KEY, "labelled", "unlabelled", *MEASURES, "commit")


def grid(
    datasets: Sequence[str],
    labels: Sequence[int],
    draws: Sequence[str],
    missing: Sequence[float],
    splits: Sequence[int],
    methods: Sequence[str],
) -> Iterator[Fit]:
    """Yield all fits: by missing entries first, then by split, so that means come early."""
    for share, seed, name in itertools.product(missing, splits, datasets):
        if share > 0 and name in COUNTS:
            continue
        for draw, number, method in itertools.product(draws, labels, methods):
            if (name, method) not in LEFT_OUT:
                yield Fit(name, number, draw, share, seed, method)


def part_of(fit: Fit) -> tuple[Part, np.ndarray]:
    """Return the rows of a fit, and the labels of its test rows."""
    inputs, ys = load(fit.dataset)
    inputs = remove_entries(inputs, fit.missing, fit.split)
    train, test, partial = split(ys, fit.labels, fit.draw, fit.split)
    rows = inputs.iloc if isinstance(inputs, pd.DataFrame) else inputs
    return Part(rows[train], partial, rows[test], fit.split), ys[test]


def run(fit: Fit, commit: str | None) -> list[dict[str, Any]]:
    """Return the rows of one fit, with the columns `COLUMNS`.

    The split's number is the seed of everything: rows and labels, removed entries, the method. The
    seconds include the fit and the prediction of the test rows.
    """
    part, ys = part_of(fit)
    started = time.perf_counter()
    with warnings.catch_warnings():
        # scikit-learn's warnings: columns without a known entry, no unlabelled rows left.
        warnings.simplefilter("ignore")
        found = METHODS[fit.method](part)
    seconds = round(time.perf_counter() - started, 3)
    known = int((part.partial >= 0).sum())
    told = {"labelled": known, "unlabelled": len(part.partial) - known}
    return [
        asdict(fit)
        | {"method": fit.method + suffix, **told, **measures(probabilities, ys)}
        | {"seconds": seconds, "commit": commit}
        for suffix, probabilities in found.items()
    ]


def measures(probabilities: np.ndarray, ys: np.ndarray) -> dict[str, float]:
    """Return the measures of quality of predictions, as shares.

    Rows are first divided by their sums. A row of zeros or NaN, which label spreading gives if no
    label reaches it, counts as equal probabilities. The predicted class is the most probable one;
    of equal ones, the first.

    Args:
        probabilities: `[M, K]`.
        ys: integers `[M]`.

    Returns:
        Balanced accuracy, over the classes that occur among the labels; accuracy; the mean negative
        log-probability of the label in nats, with probabilities below 1e-6 replaced by 1e-6; the
        calibration error in 15 bins.
    """
    import torch

    from pyro_ssl.metrics import expected_calibration_error

    values = np.nan_to_num(np.asarray(probabilities, dtype=np.float64))
    values[values.sum(1) <= 0] = 1
    values /= values.sum(1, keepdims=True)
    right = values.argmax(1) == ys
    of_label = values[np.arange(len(ys)), ys]
    return {
        "balanced_accuracy": float(np.mean([right[ys == k].mean() for k in np.unique(ys)])),
        "accuracy": float(right.mean()),
        "log_loss": float(-np.log(np.maximum(of_label, _FLOOR)).mean()),
        "ece": expected_calibration_error(
            torch.from_numpy(values).float(), torch.from_numpy(ys), bins=15
        ),
    }


def read(file: Path, columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """Return the rows of a file of fits, none if there is no file.

    Args:
        file: the file.
        columns: the expected columns.

    Raises:
        ResultsError: if the file has other columns.
    """
    if not file.is_file() or file.stat().st_size == 0:
        return pd.DataFrame(columns=list(columns))
    with open(file) as opened:
        # A row that is being written, or was cut off, is left out.
        lines = [line for line in opened if line.endswith("\n")]
    table = pd.read_csv(io.StringIO("".join(lines)))
    if tuple(table.columns) != tuple(columns):
        raise ResultsError(f"{file} has the columns {list(table)}, expected {list(columns)}")
    return table


def done(table: pd.DataFrame) -> set[Fit]:
    """Return the fits whose rows a table has."""
    return {Fit(*values) for values in table[list(KEY)].itertuples(index=False, name=None)}


def append(rows: list[dict[str, Any]], file: Path, columns: Sequence[str] = COLUMNS) -> None:
    """Append rows atomically to a file of fits, to which other processes may append too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a+b") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        opened.seek(0)
        whole = opened.read()
        if not whole.endswith(b"\n"):
            # The last row may have been cut off by a kill; or there is none yet.
            opened.truncate(whole.rfind(b"\n") + 1)
        header = b"\n" not in whole
        text = pd.DataFrame(rows, columns=list(columns)).to_csv(index=False, header=header)
        opened.write(text.encode())
        opened.flush()
        os.fsync(opened.fileno())

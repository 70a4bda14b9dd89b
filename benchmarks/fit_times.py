"""Seconds and memory of one fit of `SemiSupervisedVAEClassifier` with its defaults.

Each size is fitted in its own process, which has already imported the library. The memory is the
peak of the process minus its memory before the fit.
"""

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

# Rows, columns and classes of synthetic tables; scikit-learn's digits.
SIZES = {"500 x 30": (500, 30, 3), "digits": None, "10,000 x 50": (10_000, 50, 5)}
_LABELS = 10


@dataclass(frozen=True)
class Options:
    """Options of the benchmark.

    Attributes:
        sizes: names of `SIZES`.
        repeats: number of fits of each size.
        output: folder of `fit_times.csv`.
    """

    sizes: tuple[str, ...] = tuple(SIZES)
    repeats: int = 3
    output: Path = Path("results/benchmarks")


def table(name: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and labels, 10 per class known and all others -1."""
    from sklearn.datasets import load_digits, make_classification

    size = SIZES[name]
    if size is None:
        xs, ys = load_digits(return_X_y=True)
    else:
        rows, columns, classes = size
        xs, ys = make_classification(
            rows, columns, n_informative=10, n_classes=classes, random_state=seed
        )
    order = np.random.default_rng(seed).permutation(len(ys))
    known = np.concatenate([order[ys[order] == c][:_LABELS] for c in np.unique(ys)])
    partial = np.full(len(ys), -1)
    partial[known] = ys[known]
    return xs, partial


def measure(name: str) -> dict[str, object]:
    """Fit once; return seconds, MB in addition to the imports, steps, and the data's MB."""
    import torch

    from pyro_ssl import SemiSupervisedVAEClassifier
    from pyro_ssl.versions import environment

    xs, ys = table(name)
    before = _peak()
    start = time.perf_counter()
    fitted = SemiSupervisedVAEClassifier(random_state=0).fit(xs, ys)
    seconds = time.perf_counter() - start
    return {
        "size": name,
        "seconds": round(seconds, 2),
        "memory_mb": round(_peak() - before),
        "data_mb": round(xs.nbytes / 2**20, 2),
        "steps": fitted.n_iter_,
        "threads": torch.get_num_threads(),
        "commit": environment()["commit"],
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(options: Options) -> None:
    """Measure all sizes, write `fit_times.csv` and print it."""
    found = []
    for name in options.sizes:
        for _ in range(options.repeats):
            command = [sys.executable, "-m", "benchmarks.fit_times", "--one", name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(found[-1], flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(found).to_csv(options.output / "fit_times.csv", index=False)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        main(tyro.cli(Options, description=__doc__))

"""Semi-supervised regression on three tables with few labels, against labelled-only baselines.

Each data set is divided ten times into 70 % training and 30 % test rows. Of the training rows, 20,
50 or 100 have a label. No method is tuned to a data set; methods.py shows all deviations from
scikit-learn's defaults, and our defaults were chosen on other splits, see tuning.py. Each fit is a
row of regression.csv in OUTPUT; existing rows are not computed again. regression_summary.csv has
means, deviations and 95 % intervals over splits. Run it with OMP_NUM_THREADS=1 if several processes
share the cores.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.attempts import attempts
from benchmarks.regression import fits
from benchmarks.regression.data import DATASETS
from benchmarks.regression.methods import METHODS
from benchmarks.regression.summary import report, short, summarise
from benchmarks.tables.fits import append, read
from pyro_ssl.errors import ConfigError
from pyro_ssl.files import write_text


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    datasets: tuple[str, ...] = DATASETS
    """Data sets."""
    labels: tuple[int, ...] = (20, 50, 100)
    """Numbers of known labels."""
    splits: tuple[int, ...] = tuple(range(10))
    """Numbers of the splits, which seed all random draws."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Names of the methods."""
    jobs: int = 1
    """Number of processes."""
    output: str = "results/benchmarks"
    """Folder of regression.csv and regression_summary.csv."""
    summary: bool = False
    """Compute nothing, and summarise the existing rows."""


def check(config: Config) -> None:
    """Check names before hours of computation.

    Raises:
        ConfigError: naming the option.
    """
    for option, names in {"datasets": DATASETS, "methods": tuple(METHODS)}.items():
        for name in getattr(config, option):
            if name not in names:
                raise ConfigError(f"--{option} has {name!r}, expected some of {', '.join(names)}")


def compute(config: Config, file: Path) -> int:
    """Append the missing rows, and return the number of fits that failed."""
    there = fits.done(read(file, fits.COLUMNS))
    wanted = fits.grid(config.datasets, config.labels, config.splits, config.methods)
    todo = [fit for fit in wanted if fit not in there]
    failed = 0
    for number, (fit, rows, error) in enumerate(attempts(fits.run, todo, config.jobs), 1):
        if error:
            failed += 1
            print(f"{fit} failed: {error}", file=sys.stderr, flush=True)
        else:
            append(rows, file, fits.COLUMNS)
        if number % 20 == 0 or number == len(todo):
            print(f"{number} of {len(todo)} fits", flush=True)
    return failed


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    check(config)
    file = Path(config.output) / "regression.csv"
    failed = 0 if config.summary else compute(config, file)
    rows = read(file, fits.COLUMNS)
    if len(rows):
        write_text(summarise(rows).to_csv(index=False), file.with_name("regression_summary.csv"))
        write_text(short(rows).to_csv(index=False), file.with_name("regression_short.csv"))
        print(report(rows))
    if failed:
        sys.exit(f"{failed} fits failed, see above; they are tried again by the next run")


if __name__ == "__main__":
    main()

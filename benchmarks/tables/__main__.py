"""Semi-supervised classifiers on twelve data sets with few labels, against the usual baselines.

Each data set is divided ten times into 70 % training and 30 % test rows. Only a few labels of the
training rows are known: 5, 10 or 25 per class (`even`), or the same number drawn from all rows
(`random`). None or 30 % of all entries are removed. No method is tuned to a data set; methods.py
shows all deviations from scikit-learn's defaults. Each fit is a row of tables.csv in OUTPUT;
existing rows are not computed again. tables_summary.csv has means, deviations and 95 % intervals
over splits, tables.md the comparison, and tables_short.csv the part that pages show. Run it with
OMP_NUM_THREADS=1 if several processes share the cores.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.attempts import attempts
from benchmarks.tables import fits
from benchmarks.tables.data import DATASETS, DRAWS
from benchmarks.tables.methods import METHODS, OURS, available
from benchmarks.tables.summary import report, short, summarise
from pyro_ssl.errors import ConfigError
from pyro_ssl.files import write_text


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    datasets: tuple[str, ...] = DATASETS
    """Data sets."""
    labels: tuple[int, ...] = (5, 10, 25)
    """Known labels per class."""
    draws: tuple[str, ...] = DRAWS
    """How known labels are drawn: the same number of each class, or from all rows alike."""
    missing: tuple[float, ...] = (0.0, 0.3)
    """Shares of entries to remove."""
    splits: tuple[int, ...] = tuple(range(10))
    """Numbers of the splits, which seed all random draws."""
    methods: tuple[str, ...] = ()
    """Names of the methods; by default all that this version can run."""
    jobs: int = 1
    """Number of processes."""
    output: str = "results/benchmarks"
    """Folder of tables.csv and tables_summary.csv."""
    summary: bool = False
    """Compute nothing, and summarise the existing rows."""


def check(config: Config) -> None:
    """Check names before hours of computation.

    Raises:
        ConfigError: naming the option.
    """
    known = {"datasets": DATASETS, "draws": DRAWS, "methods": tuple(METHODS)}
    for option, names in known.items():
        for name in getattr(config, option):
            if name not in names:
                raise ConfigError(f"--{option} has {name!r}, expected some of {', '.join(names)}")
    missing_here = set(config.methods) - set(available())
    if missing_here:
        raise ConfigError(f"--methods has {missing_here}, which this version does not have")


def compute(config: Config, file: Path) -> int:
    """Append the missing rows, and return the number of fits that failed."""
    there = fits.done(fits.read(file))
    wanted = fits.grid(
        config.datasets,
        config.labels,
        config.draws,
        config.missing,
        config.splits,
        config.methods or available(),
    )
    todo = [fit for fit in wanted if fit not in there]
    failed = 0
    for number, (fit, rows, error) in enumerate(attempts(fits.run, todo, config.jobs), 1):
        if error:
            failed += 1
            print(f"{fit} failed: {error}", file=sys.stderr, flush=True)
        else:
            fits.append(rows, file)
        if number % 100 == 0 or number == len(todo):
            print(f"{number} of {len(todo)} fits", flush=True)
    return failed


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    check(config)
    file = Path(config.output) / "tables.csv"
    failed = 0 if config.summary else compute(config, file)
    rows = fits.read(file)
    if len(rows):
        write_text(summarise(rows).to_csv(index=False), file.with_name("tables_summary.csv"))
        write_text(report(rows), file.with_name("tables.md"))
        if (rows["method"] == OURS).any():
            write_text(short(rows).to_csv(index=False), file.with_name("tables_short.csv"))
        print(report(rows))
    if failed:
        sys.exit(f"{failed} fits failed, see above; they are tried again by the next run")


if __name__ == "__main__":
    main()

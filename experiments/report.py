"""Sums up every finished run under a results folder: mean, spread and number of seeds.

Prints a table and writes it as summary.csv and summary.md into the results folder, and, if
asked to, between the two marks of a README.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Config:
    """Options of the report."""

    results_root: str = "results"
    """Folder of the results."""
    readme: str | None = None
    """File whose tables, between marks like <!-- results: begin --> and <!-- results: end -->, are
    replaced: results, and others where there are any."""


def read_results(root: Path) -> "pd.DataFrame":
    """Return one row for each `seed_*.json` below `root`, with its folder as column `run`."""
    import pandas as pd

    from experiments.engine.results import read_result

    rows = [
        {**read_result(file), "run": file.parent.relative_to(root).as_posix()}
        for file in sorted(root.glob("**/seed_*.json"))
    ]
    return pd.DataFrame(rows)


def main(args: Sequence[str] | None = None) -> int:
    """Write and print the report with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    from pyro_ssl.errors import PyroSSLError

    try:
        return report(config)
    except (PyroSSLError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def report(config: Config) -> int:
    """Write and print the report; return the exit status."""
    from experiments.engine.results import summarise
    from experiments.engine.tables import to_markdown, with_tables

    root = Path(config.results_root)
    results = read_results(root)
    if results.empty:
        print(f"there are no finished runs below {root}")
        return 1
    table = summarise(results)
    table.to_csv(root / "summary.csv", index=False)
    note = "Mean and standard deviation over seeds; written by `python -m experiments.report`.\n\n"
    (root / "summary.md").write_text(note + to_markdown(table))
    print(table.to_string(index=False))
    if config.readme is not None:
        readme = Path(config.readme)
        readme.write_text(with_tables(readme.read_text(), table, root))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

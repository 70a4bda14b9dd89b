"""Sums up every finished run under a results folder: mean, spread and number of seeds.

Prints a table and writes it as summary.csv and summary.md into the results folder. With
`--pages README.md docs` it also brings the tables of these pages up to date.
"""

import json
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
    pages: tuple[str, ...] = ()
    """Pages whose tables, between marks like <!-- results: begin --> and <!-- results: end -->, are
    replaced: Markdown files, and folders of such files."""


def read_results(root: Path) -> "pd.DataFrame":
    """Return one row for each `seed_*.json` below `root`, with its folder as column `run`."""
    import pandas as pd

    rows = [
        {"run": file.parent.relative_to(root).as_posix(), **json.loads(file.read_text())}
        for file in sorted(root.glob("**/seed_*.json"))
    ]
    return pd.DataFrame(rows)


def markdown_files(places: Sequence[str | Path]) -> list[Path]:
    """Return the Markdown files among `places`, and those in the folders among them."""
    files: list[Path] = []
    for place in map(Path, places):
        files += sorted(place.rglob("*.md")) if place.is_dir() else [place]
    return files


def main(args: Sequence[str] | None = None) -> int:
    """Write and print the report with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    from experiments.engine.marks import filled
    from experiments.engine.results import summarise
    from experiments.engine.tables import to_markdown

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
    for page in markdown_files(config.pages):
        page.write_text(filled(page.read_text(), table, root))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

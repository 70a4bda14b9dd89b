"""Summarises all finished runs in a results folder: mean, spread and number of seeds.

Prints a table, and writes it as summary.csv and summary.md into the results folder. Also writes
report.html there: tables with 95 % intervals beside published figures, curves and pictures, each
with the command that produces it. With `--pages README.md docs`, updates the tables of these
pages; with `--cards docs/cards`, writes the model cards.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from pyro_ssl.errors import PyroSSLError


@dataclass(frozen=True)
class Config:
    """Options of the report."""

    results_root: str = "results"
    """Folder of the results."""
    pages: tuple[str, ...] = ()
    """Pages whose tables, between marks like <!-- results: begin --> and <!-- results: end -->, are
    replaced: Markdown files, and folders of such files."""
    cards: str | None = None
    """Folder that model cards are written into: a page for each model of an experiment, and for the
    weights that come with the library; none for none."""


def markdown_files(places: Sequence[str | Path]) -> list[Path]:
    """Return the Markdown files among `places`, and those in the folders among them."""
    files: list[Path] = []
    for place in map(Path, places):
        files += sorted(place.rglob("*.md")) if place.is_dir() else [place]
    return files


def report(config: Config) -> None:
    """Write and print the report.

    Raises:
        ResultsError: if there is no finished run, a result is damaged, a page's mark is unknown,
            no card can be written for a model, or a file cannot be written.
    """
    from experiments.engine.cards.pages import cards
    from experiments.engine.marks import filled
    from experiments.engine.page.document import results_page
    from experiments.engine.results import read_result, summarise
    from experiments.engine.tables import to_markdown
    from pyro_ssl.files import write_text
    from pyro_ssl.report import REPORT
    from pyro_ssl.results import load_summary

    root = Path(config.results_root)
    for file in sorted(root.glob("**/seed_*.json")):
        # A report that leaves out runs would look like a complete one.
        read_result(file)
    results = load_summary(root)
    table = summarise(results)
    table.to_csv(root / "summary.csv", index=False)
    note = "Mean and standard deviation over seeds; written by `python -m experiments.report`.\n\n"
    (root / "summary.md").write_text(note + to_markdown(table))
    print(table.to_string(index=False))
    if config.cards is not None:
        folder = Path(config.cards)
        for name, text in cards(root, results, folder).items():
            write_text(text, folder / name)
    for page in markdown_files(config.pages):
        page.write_text(filled(page.read_text(), table, root))
    write_text(results_page(root, results), root / REPORT)
    print(root / REPORT)


def main(args: Sequence[str] | None = None) -> int:
    """Write and print the report with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    try:
        report(config)
    except (PyroSSLError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

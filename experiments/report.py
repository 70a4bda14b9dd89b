"""Sums up every finished run under a results folder: mean, spread and number of seeds.

Prints a table and writes it as summary.csv and summary.md into the results folder, and, if
asked to, between the two marks of a README.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tyro

from pyro_ssl.errors import ResultsError

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


@dataclass(frozen=True)
class Config:
    """Options of the report."""

    results_root: str = "results"
    """Folder of the results."""
    readme: str | None = None
    """File whose text between the marks BEGIN and END is replaced by the table."""


def read_results(root: Path) -> pd.DataFrame:
    """Return one row for each `seed_*.json` below `root`, with its folder as column `run`."""
    rows = [
        {"run": file.parent.relative_to(root).as_posix(), **json.loads(file.read_text())}
        for file in sorted(root.glob("**/seed_*.json"))
    ]
    return pd.DataFrame(rows)


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row a run: `mean +- standard deviation` over seeds, in percent.

    Args:
        results: one row a seed, as `read_results` gives; grouped by `run` if it is there,
            by `model` otherwise.
    """
    key = "run" if "run" in results else "model"
    rows = []
    for name, group in results.groupby(key, sort=False):
        row = {key: name, "dataset": group["dataset"].iloc[0], "labels": group["labels"].iloc[0]}
        for column in ("test_accuracy", "test_ece"):
            percent = 100 * group[column]
            spread = f" +- {percent.std(ddof=1):.2f}" if len(group) > 1 else ""
            row[f"{column}_%"] = f"{percent.mean():.2f}{spread}"
        row["seeds"] = len(group)
        row["validation_rows"] = group["validation_rows"].iloc[0]
        row["seconds_per_epoch"] = round(group["seconds_per_epoch"].median(), 2)
        row["device"] = ", ".join(group["device"].unique())
        rows.append(row)
    return pd.DataFrame(rows)


def to_markdown(table: pd.DataFrame) -> str:
    """Format a table as Markdown."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def with_table(text: str, table: pd.DataFrame) -> str:
    """Return a README's `text` with its table of results replaced by the one of `table`.

    Raises:
        ResultsError: if the text lacks the two marks.
    """
    if BEGIN not in text or END not in text:
        raise ResultsError(f"the file has no marks {BEGIN} and {END} to put the table between")
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    short = table.drop(columns=["seconds_per_epoch", "device"])
    return f"{before}{BEGIN}\n{to_markdown(short)}{END}{after}"


def main(args: Sequence[str] | None = None) -> int:
    """Write and print the report with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
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
        readme.write_text(with_table(readme.read_text(), table))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

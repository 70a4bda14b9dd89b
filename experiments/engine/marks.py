"""The content of pages between two marks: tables of `results/`, and models' docstrings.

A mark is a comment, `<!-- NAME: begin -->` or `<!-- NAME: end -->`. NAME is one of

- results, bounds, treatments, sweep and others of `tables`: a table of finished runs;
- published: published figures beside ours, from page/published.csv;
- `NAME of PATTERN, PATTERN`: such a table of the runs that match one of the patterns (a shell's
  patterns for file names);
- `benchmark NAME`: the short form of a benchmark;
- `trials NAME`: the trials by which an experiment's options were chosen;
- `docstring MODEL`: p, q, objective, source and differences, from the model's docstring.
"""

import inspect
import re
from fnmatch import fnmatchcase
from pathlib import Path
from textwrap import dedent

import pandas as pd

from experiments.engine.tables import (
    RESULTS,
    SWEEP,
    TREATMENTS,
    of_benchmark,
    of_results,
    published,
    read_benchmark,
    sweep,
    to_markdown,
    treatments,
)
from experiments.engine.trial_table import of_trials
from pyro_ssl import models
from pyro_ssl.errors import ResultsError

_MARKED = re.compile(r"<!-- ([^:\n]+): begin -->\n(.*?)<!-- \1: end -->", re.DOTALL)
_MARK = re.compile(r"<!-- [^:\n]+: (?:begin|end) -->")


def filled(text: str, results: pd.DataFrame, root: Path) -> str:
    """Return a page with the content between its marks brought up to date.

    If there is no run or benchmark to show, the page keeps the present content.

    Args:
        text: the page, Markdown.
        results: summary of the results, as returned by `summarise`.
        root: folder of the results, including benchmarks.

    Raises:
        ResultsError: if a mark has no counterpart, or an unknown name.
    """
    if 2 * len(_MARKED.findall(text)) != len(_MARK.findall(text)):
        raise ResultsError(
            "marks are not in pairs: expected <!-- NAME: end --> after each <!-- NAME: begin -->, "
            f"found {', '.join(_MARK.findall(text))}"
        )

    def renewed(match: re.Match[str]) -> str:
        name, old = match.groups()
        new = _block(name, results, root)
        return f"<!-- {name}: begin -->\n{old if new is None else new}<!-- {name}: end -->"

    return _MARKED.sub(renewed, text)


def _block(mark: str, results: pd.DataFrame, root: Path) -> str | None:
    """Return the content of a mark, or None if there is nothing to show."""
    name, _, pattern = mark.partition(" of ")
    kind, _, subject = name.partition(" ")
    if kind == "docstring" and hasattr(models, subject):
        return docstring(getattr(models, subject))
    if kind == "benchmark":
        short, whole = (root / "benchmarks" / f"{subject}{end}.csv" for end in ("_short", ""))
        file = short if short.exists() else whole
        return (
            _tidy(of_benchmark(subject, read_benchmark(subject, file))) if file.exists() else None
        )
    if kind == "trials":
        file = root / "tuning" / f"{subject}.csv"
        return to_markdown(of_trials(file)) if file.exists() else None
    table = _table(name, pattern, results)
    # A column may belong to other runs than those that match the pattern.
    table = table.loc[:, (table != "").any()]
    return None if table.empty else _tidy(to_markdown(table))


def _tidy(table: str) -> str:
    """Return a table in which no line breaks between a mean and its spread."""
    return table.replace(" +- ", "±").replace(" ± ", "±")


def _table(name: str, pattern: str, results: pd.DataFrame) -> pd.DataFrame:
    """Return a table of the runs that match `pattern`, or of all its runs if that is empty."""
    runs = results["run"]
    apart, swept = runs.str.startswith(f"{TREATMENTS}/"), runs.str.match(SWEEP)
    patterns = pattern.split(", ") if pattern else ["*"]
    meant = runs.map(lambda run: any(fnmatchcase(run, p) for p in patterns))
    if name == "treatments":
        # Gains and costs are relative to other rows.
        table = treatments(results[apart]) if apart.any() else results[:0]
        return table[meant[table.index]]
    if name == "sweep":
        return sweep(results[swept & meant]) if swept.any() else results[:0]
    if name == "published":
        return published(results[meant])
    if name not in RESULTS:
        raise ResultsError(
            f"a page has marks of {name!r}; expected one of {', '.join(RESULTS)}, treatments, "
            "sweep, published, 'benchmark NAME', 'trials NAME', 'docstring MODEL'"
        )
    return of_results(name, results[meant] if pattern else results[~apart & ~swept])


def docstring(model: type) -> str:
    """Return a model's docstring up to its arguments as Markdown, formulas as blocks of text."""
    text = inspect.getdoc(model) or ""
    parts = []
    for part in re.split(r"\n(?:Args|Raises):\n", text)[0].strip().split("\n\n"):
        if part.startswith("    "):
            # One distribution per line.
            lines = re.sub(r"(?<=\S) {4,}(?=[pq]\(|pi = )", "\n", dedent(part))
            part = f"```text\n{lines}\n```"
        part = re.sub(r",? ?::$", ":", part)
        parts.append(re.sub(r"^(Source|Differs from [\w ]+):", r"**\1:**", part))
    return "\n\n".join(parts) + "\n"

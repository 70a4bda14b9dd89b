"""Sortable tables of results with 95 % intervals."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import t

from experiments.engine.results import MEASURES, display_name
from pyro_ssl.report.markup import Html, element, escaped, joined, number, table

# Factor and heading of each measure, by its name in JSON files.
_SCALES = {name: (factor, heading) for name, factor, heading in MEASURES}
# Measures of the machine, whose median over seeds is shown.
_MACHINE = {"seconds_per_epoch": (1, "s an epoch", 2), "peak_memory_mib": (1, "MiB", 0)}
_WORDS = {"elbo": "ELBO", "ece": "ECE", "kl": "KL", "mib": "MiB", "ms": "ms", "q": "q", "s": "s"}
_PUBLISHED = Path(__file__).with_name("published.csv")


def published() -> pd.DataFrame:
    """Return published figures of others, each with its source.

    `run` is the folder of our comparable run, empty if there is none; `published` is in the unit of
    our table, percent or nats, with the spread that the source gives.
    """
    return pd.read_csv(_PUBLISHED, dtype=str, keep_default_na=False)


def cell(shown: Any, key: float | str | None = None) -> Html:
    """Return a cell of a table, with its sort key if that differs from the text."""
    return element("td", shown, data_sort=key)


def sortable(caption: str, head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Html:
    """Return a table that readers can sort; see `markup.table`."""
    return table(caption, head, rows, "sortable")


def mean_cell(values: pd.Series, measure: str) -> Html:
    """Return the mean of a measure over seeds, and half the 95 % interval of that mean.

    The interval is Student's; a single seed has none. If some seeds lack the measure, the number of
    the others is shown.

    Args:
        values: the measure of each seed, missing if the seed lacks it.
        measure: its name in JSON files.
    """
    runs, values = len(values), values.dropna().astype(float) * scale_of(measure)[0]
    if values.empty:
        return cell("")
    if measure in _MACHINE:
        median = float(values.median())
        return cell(number(median, _MACHINE[measure][2]), median)
    mean, seeds = float(values.mean()), len(values)
    # A few nats, or small squares, need one more digit.
    digits = 3 if scale_of(measure)[0] == 1 and abs(mean) < 10 else 2
    some = f" ({seeds} of {runs} seeds)" if seeds < runs else ""
    if seeds == 1:
        return cell(f"{number(mean, digits)}{some}", mean)
    half = float(t.ppf(0.975, seeds - 1) * values.std() / seeds**0.5)
    return cell(f"{number(mean, digits)} ± {half:.{digits}f}{some}", mean)


def scale_of(measure: str) -> tuple[float, str]:
    """Return a measure's factor and heading in tables."""
    return _SCALES[measure] if measure in _SCALES else _MACHINE[measure][:2]


def in_words(name: str) -> str:
    """Return the name of a column as a heading."""
    first, *others = name.replace("_", " ").split()
    first = _WORDS.get(first, first[:1].upper() + first[1:])
    return " ".join([first, *(_WORDS.get(word, word) for word in others)])


def run_name(run: str) -> Html:
    """Return the folder of a run, with a possible line break after its experiment."""
    return Html("/<wbr>".join(map(escaped, run.split("/"))))


def measured(results: pd.DataFrame, measures: Sequence[str], caption: str) -> Html:
    """Return a table of the runs that have the first of some measures, a row for each run.

    Args:
        results: final figures, as returned by `load_summary`.
        measures: names in JSON files.
        caption: caption of the table.
    """
    present = [name for name in measures if name in results and results[name].notna().any()]
    if measures[0] not in present:
        return Html("")
    found = results[results[measures[0]].notna()]
    labelled = bool(found["labels"].notna().any())
    several = found["experiment"].nunique() > 1
    rows = []
    for run, seeds in found.groupby("run", sort=False):
        name = run_name(str(run) if several else str(run).rpartition("/")[2])
        labels = seeds["labels"].iloc[0]
        shown = cell("") if pd.isna(labels) else cell(f"{labels:,}", labels)
        cells = [mean_cell(seeds[measure], measure) for measure in present]
        rows.append([name, *[shown] * labelled, *cells, len(seeds)])
    heads = [in_words(scale_of(measure)[1]) for measure in present]
    return sortable(caption, ["Run", *["Labels"] * labelled, *heads, "Seeds"], rows)


def beside_published(results: pd.DataFrame) -> Html:
    """Return the table of our figures beside published ones."""
    rows = []
    for entry in published().to_dict("records"):
        seeds = results[results["run"] == entry["run"]]
        if entry["run"] and (seeds.empty or entry["measure"] not in seeds):
            continue
        ours = mean_cell(seeds[entry["measure"]], entry["measure"]) if entry["run"] else cell("")
        source, theirs = entry["source"], entry["published"]
        link = element("a", source, href=entry["address"]) if entry["address"] else source
        note = f" ({entry['note']})" if entry["note"] else ""
        rows.append(
            [
                entry["name"],
                entry["labels"],
                ours,
                cell(theirs.replace("-", "\u2212"), theirs.partition(" ")[0]),
                in_words(scale_of(entry["measure"])[1]),
                len(seeds) or "",
                element("td", link, note, class_="text"),
            ]
        )
    if not any(row[5] for row in rows):
        return Html("")
    heads = ("Model", "Labels", "Ours", "Published", "Figure", "Seeds", "Source")
    return sortable("Ours with 95 % intervals, theirs as published", heads, rows)


def by_labels(results: pd.DataFrame) -> Html:
    """Return the accuracies of a sweep, a row per number of labels, a column per model."""
    models = list(results["model"].unique())
    rows = []
    for labels, runs in results.groupby("labels"):
        cells = [
            mean_cell(runs.loc[runs["model"] == m, "test_accuracy"], "test_accuracy")
            for m in models
        ]
        rows.append([f"{labels:,}", *cells])
    heads = ["Labels", *map(display_name, models)]
    return sortable("Test accuracy in percent, by number of labels", heads, rows)


def benchmark(root: Path, name: str, columns: Sequence[str], caption: str) -> Html:
    """Return a benchmark's table, and what it was measured on; nothing if its file is missing.

    Args:
        root: folder of the results.
        name: name of the benchmark's CSV.
        columns: columns to show; empty for all.
        caption: caption of the table.
    """
    file = root / "benchmarks" / f"{name}.csv"
    if not file.exists():
        return Html("")
    found = pd.read_csv(file)
    shown = found[list(columns)] if columns else found
    rows = [[str(first), *map(_shown, others)] for first, *others in shown.itertuples(index=False)]
    heads = [in_words(str(column)) for column in shown]
    note = ""
    if "device" in found:
        note = element("p", f"{', '.join(found['device'].unique())}.", class_="note")
    return joined([sortable(caption, heads, rows), note])


def _shown(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return cell("" if pd.isna(value) else f"{value:.3g}", None if pd.isna(value) else value)
    if isinstance(value, int):
        return cell(f"{value:,}", value)
    return str(value).replace("+-", "±")

"""The card of a model's runs in an experiment."""

from collections.abc import Iterable, Mapping
from os.path import relpath
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.engine.cards.parts import (
    WRITTEN,
    about_model,
    command,
    facts,
    joined,
    options,
    split,
)
from experiments.engine.cards.texts import MEANINGS, title_of
from experiments.engine.page.pictures import SHOWS
from experiments.engine.repeat import command_of
from experiments.engine.results import read_result, summarise
from experiments.engine.tables import to_markdown


def of_runs(root: Path, group: pd.DataFrame, folder: Path) -> str:
    """Return the card of a model in an experiment, on a data set.

    Args:
        root: folder of the results.
        group: the final figures of its seeds, as `load_summary` gives them.
        folder: where the card is to lie.

    Raises:
        ResultsError: if a result is damaged, or nothing says what it must not be used for.
    """
    first = group.iloc[0]
    model = first["model"].partition("-")[0]
    found: dict[str, list[dict[str, Any]]] = {run: [] for run in group["run"]}
    for run, seed in zip(group["run"], group["seed"], strict=True):
        found[run].append(read_result(root / run / f"seed_{seed}.json"))
    summary = summarise(group)
    measures = [name for name in MEANINGS if name in summary]
    for name in measures:
        # A mean and its spread are one word, which no line breaks.
        summary[name] = summary[name].str.replace(" +- ", "±")
    summary["run"] = summary["run"].str.rpartition("/")[2]
    single = "" if (summary["seeds"] > 1).all() else " A single seed has no spread."
    return joined(
        f"# {title_of(model)} on {first['dataset']}: {first['experiment']}",
        WRITTEN,
        *about_model(model, first["dataset"], folder),
        split(group),
        "## What it reaches",
        f"Mean and standard deviation over seeds.{single}",
        to_markdown(summary[["run", *measures, "seeds"]]),
        "\n".join(f"- `{name}`: {MEANINGS[name]}" for name in measures),
        *_calibration(root, found, folder),
        "## Runs",
        "Figures are of the commits that are named; commands have the names of options of today.",
        *[_run(root, run, results, folder) for run, results in found.items()],
    )


def _run(root: Path, run: str, results: list[dict[str, Any]], folder: Path) -> str:
    """Return a configuration: its command, commit, seeds and options."""
    first, seeds = results[0], [result["seed"] for result in results]
    names = {"config.json": "options", **{f"seed_{seed}.json": f"seed {seed}" for seed in seeds}}
    links = [f"[{text}]({relpath(root / run / name, folder)})" for name, text in names.items()]
    return joined(
        f"### {Path(run).name}",
        command(command_of(run, first, seeds)),
        facts(
            {
                "Commit": _different(results, "commit"),
                "Device": _different(results, "device"),
                "Precision of matrix products": _different(results, "precision"),
                "Chosen by": _different(results, "selection"),
                "Chosen epochs, by seed": _each(results, "selected_epoch"),
                "Digests of the splits, by seed": _each(results, "split_digest"),
            }
        ),
        options(first["config"]),
        f"Files: {', '.join(links)}.",
    )


def _calibration(
    root: Path, found: Mapping[str, list[dict[str, Any]]], folder: Path
) -> Iterable[str]:
    """Yield the reliability diagram of the first run that left one."""
    for run, results in found.items():
        picture = root / run / f"seed_{results[0]['seed']}_reliability.png"
        if picture.exists():
            yield f"Calibration of {Path(run).name}, seed {results[0]['seed']}:"
            yield f"![{SHOWS['reliability'].rstrip('.')}]({relpath(picture, folder)})"
            return


def _different(results: list[dict[str, Any]], key: str) -> str:
    return ", ".join(dict.fromkeys(str(r[key]) for r in results if r.get(key) is not None))


def _each(results: list[dict[str, Any]], key: str) -> str:
    return ", ".join(str(r[key]) for r in results if r.get(key) is not None)

"""Model cards: a page for each model of an experiment, and for weights that come with the library.

In short what Mitchell et al. 2019, "Model cards for model reporting", section 4, ask for. Figures,
options and commands are those of the runs' JSON files; `texts` has what these do not say.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from experiments.engine.cards.parts import WRITTEN, joined, percent, table
from experiments.engine.cards.runs import of_runs
from experiments.engine.cards.texts import title_of
from experiments.engine.cards.weights import of_weights
from pyro_ssl.pretrained import pretrained_card, pretrained_names


def cards(root: Path, results: pd.DataFrame, folder: Path) -> dict[str, str]:
    """Return all cards, Markdown, by the names of their files, and a page that lists them.

    Args:
        root: folder of the results.
        results: the final figures in it, as `load_summary` gives them.
        folder: where the cards are to lie; they link to pages of models in `models` beside it.

    Raises:
        ResultsError: if a result is damaged, or nothing says what a model must not be used for.
        CheckpointError: if the card of weights that come with the library is damaged.
    """
    pages: dict[str, str] = {}
    runs: list[tuple[Any, ...]] = []
    weights: list[tuple[Any, ...]] = []
    for name in pretrained_names():
        card = pretrained_card(name)
        pages[f"pretrained-{name}.md"] = of_weights(name, card, folder)
        link, run = f"[{name}](pretrained-{name}.md)", card["run"]
        accuracy = percent(card["measured"]["stored"]["accuracy"])
        weights.append((link, run["dataset"], run["labels"], accuracy, round(card["bytes"] / 1000)))
    kinds = results["model"].str.partition("-")[0]
    for key, group in results.groupby(["experiment", kinds, "dataset"]):
        experiment, kind, dataset = map(str, key)
        name = f"{experiment}-{kind}-{dataset}.md"
        pages[name] = of_runs(root, group, folder)
        link, labels = f"[{title_of(kind)}]({name})", sorted(group["labels"].dropna().unique())
        number = group["run"].nunique()
        runs.append((link, experiment, dataset, ", ".join(map(str, labels)), number))
    return {"index.md": _index(weights, runs), **pages}


def _index(weights: list[tuple[Any, ...]], runs: list[tuple[Any, ...]]) -> str:
    """Return the page that lists all cards."""
    return joined(
        "# Model cards",
        "What each published model was trained on, what it reaches, how it is calibrated, and what "
        "it must not be used for.",
        "## Weights that come with the library",
        "[Loaded by name](../quickstart.md#a-trained-model-in-a-second). Their accuracy is that of "
        "the weights as they are stored, in half precision.",
        table(["weights", "dataset", "labels", "test_accuracy_%", "kB"], weights),
        "## Published runs",
        "Their checkpoints do not come with the source; the command of each run is on its card.",
        table(["model", "experiment", "dataset", "labels", "configurations"], runs),
        WRITTEN,
    )

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
from experiments.engine.cards.texts import title_of
from experiments.engine.page.pictures import SHOWS
from experiments.engine.repeat import command_of
from experiments.engine.results import read_result, summarise
from experiments.engine.tables import to_markdown

# What the columns of tables mean, by their names in `results.MEASURES`.
MEANINGS = {
    "validation_accuracy_%": "accuracy on the validation rows, by which the epoch was chosen",
    "test_accuracy_%": "test rows, or known attributes of test rows, that are classified right",
    "test_ece_%": "expected calibration error of the likeliest class, 15 bins (Guo et al. 2017)",
    "test_bayes_accuracy_%": "accuracy by Bayes' rule, from the ELBO of each class",
    "test_bayes_ece_%": "expected calibration error of the same",
    "test_weighted_bayes_accuracy_%": "accuracy by Bayes' rule, from importance-weighted bounds",
    "test_weighted_bayes_ece_%": "expected calibration error of the same",
    "changed_%": "attributes that a judge sees changed after they were to be",
    "alone_%": "the same, and no other attribute changed with it",
    "others_kept_%": "other attributes that stayed as they were",
    "test_elbo": "evidence lower bound of the test rows, nats a row",
    "test_bound_50": "importance-weighted bound of 50 samples, nats a row",
    "test_bound_5000": "importance-weighted bound of 5,000 samples, nats a row",
    "test_true_log_prob": "true log p(x) of the test points, nats a point",
    "test_squared_error": "squared error of reconstructed test points",
    "generated_true_log_prob": "true log p(x) of points that the model draws, nats a point",
    "test_deviance_kl": "deviance from the documents' own frequencies and KL, nats a document",
    "unigram_deviance": "that deviance of one distribution of words for all documents",
    "test_perplexity": "perplexity a word of the test documents, from the bound",
    "unigram_perplexity": "that of one distribution of words for all documents",
    "precision_at_100_%": "of a document's 100 nearest, by their codes, those of its group",
    "elbo_encoder": "evidence lower bound after the encoder was trained alone, nats a row",
    "elbo_joint": "evidence lower bound after joint training, nats a row",
    "elbo_gain": "what joint training adds to the bound, nats a row",
    "evidence_encoder": "log p(x) before joint training, nats a point",
    "evidence_gain": "what joint training adds to log p(x), nats a point",
    "drift": "how far joint training moved the centres, in units of x",
    "frechet_generator": "Frechet distance of the generator's images from others of the same",
    "frechet_reconstructions": "that of reconstructions, the encoder trained alone",
    "frechet_joint": "that of images that the generator draws after joint training",
    "frechet_joint_reconstructions": "that of reconstructions after joint training",
}


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

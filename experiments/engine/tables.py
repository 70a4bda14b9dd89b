"""Tables of results and of benchmarks, as shown on pages."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from experiments.engine.results import MEASURES, display_name
from pyro_ssl.errors import ResultsError
from pyro_ssl.text_files import read_csv

# Published figures of others, one per row, and their sources.
PUBLISHED = Path(__file__).parent / "page" / "published.csv"

# Tables of results and their columns; a table has the runs with its first column.
RESULTS = {
    "results": ["test_accuracy_%", "test_ece_%"],
    "bayes": [
        "test_bayes_accuracy_%", "test_weighted_bayes_accuracy_%", "test_accuracy_%",
        "test_bayes_ece_%", "test_weighted_bayes_ece_%", "test_ece_%",
    ],
    "bounds": ["test_elbo", "test_bound_50", "test_bound_5000", "test_true_log_prob"],
    "hashing": [
        "test_deviance_kl", "unigram_deviance", "test_elbo", "test_perplexity",
        "unigram_perplexity", "precision_at_100_%",
    ],
    "interventions": ["changed_%", "alone_%", "others_kept_%", "test_accuracy_%"],
    "plane": ["test_squared_error", "generated_true_log_prob"],
    "generator": [
        "frechet_joint", "elbo_encoder", "elbo_joint", "frechet_generator",
        "frechet_reconstructions", "frechet_joint_reconstructions", "features",
    ],
    "mixture": ["drift", "elbo_encoder", "elbo_gain", "evidence_encoder", "evidence_gain"],
}  # fmt: skip

# The experiment with a table of its own, and the table's columns.
TREATMENTS = "mnist_label_treatments"
_TREATMENT_COLUMNS = {
    "model": "model",
    "validation_accuracy_%": "validation_%",
    "test_accuracy_%": "test_%",
    "gain": "gain",
    "test_ece_%": "ECE_%",
    "test_elbo": "ELBO",
    "seconds_per_epoch": "s_an_epoch",
    "cost": "cost",
    "peak_memory_mib": "MiB",
    "seeds": "seeds",
}

# End of the folders' names of `label_fraction_sweep`, which also has a table of its own.
SWEEP = r"(mnist_conv_m2|mnist_ccvae)/.*-sweep$"

# The columns of a benchmark's short form.
BENCHMARKS = {
    "step": ["step", "times_faster", "times_by_hand", "ms"],
    "epoch": ["epoch", "times_faster", "seconds"],
    "peers": ["model", "library", "times_as_long", "seconds", "first_epoch_seconds"],
    "defaults": ["way", "seed", "validation_accuracy_%", "lowest_%"],
    "cells": ["method", "accuracy_%", "ahead_%", "balanced_accuracy_%", "core_seconds"],
    "retrieval": ["codes", "bits", "ms_a_query", "times_faster", "mib", "mib_of_floats"],
    "estimators": [
        "estimator", "q_y", "temperature", "straight_through", "labels", "bias", "bias_low",
        "bias_high", "times_sum", "cost_times_sum",
    ],
}  # fmt: skip


def mean_and_spread(table: pd.DataFrame, by: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return mean and standard deviation of columns as text, a row for each value of `by`."""
    groups = table.groupby(by, sort=False)
    found = {by: list(groups.groups)}
    for column in columns:
        each = zip(groups[column].mean(), groups[column].std(), strict=True)
        found[column] = [f"{mean:.1f} +- {deviation:.1f}" for mean, deviation in each]
    return pd.DataFrame(found)


def cells_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the single-cell benchmark, a row per method, from one row per seed and method.

    The difficulty of cells differs between seeds: "ahead_%" is the accuracy minus that of logistic
    regression on the same cells.
    """
    accuracy = table.pivot(index="seed", columns="method", values="accuracy_%")
    reference = accuracy.get("logistic regression")
    ahead = float("nan") if reference is None else table["seed"].map(reference)
    table = table.assign(**{"ahead_%": table["accuracy_%"] - ahead})
    columns = ("accuracy_%", "ahead_%", "balanced_accuracy_%", "core_seconds")
    return mean_and_spread(table, "method", columns)


def blanked(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with empty text where an entry is missing."""
    return table.astype(object).where(table.notna(), "")


def to_markdown(table: pd.DataFrame) -> str:
    """Format a table as Markdown."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def of_results(name: str, results: pd.DataFrame) -> pd.DataFrame:
    """Return one of the tables of `RESULTS`: the runs that have its first column.

    Args:
        name: a key of `RESULTS`.
        results: summary of the runs, as returned by `summarise`.
    """
    columns = [c for c in RESULTS[name] if c in results]
    rows = results[results[columns[0]] != ""] if RESULTS[name][0] in results else results[:0]
    if name == "bounds":
        # Other tables show the bounds of documents and of a GAN's images.
        for column in {"test_deviance_kl", "frechet_joint"} & set(rows):
            rows = rows[rows[column] == ""]
    front, rest = ("run", "labels"), ("seeds", "validation_rows")
    return rows[[c for c in (*front, *columns, *rest) if c in rows]]


def published(results: pd.DataFrame) -> pd.DataFrame:
    """Return published figures, our figures beside them, and their sources.

    Args:
        results: summary of our runs, as returned by `summarise`; figures of others are left out.
    """
    figures = pd.read_csv(PUBLISHED, dtype=str, keep_default_na=False)
    shown = {name: column for name, _, column in MEASURES}
    ours = results.set_index("run")
    rows = []
    for figure in figures.to_dict("records"):
        run, measure = figure["run"], shown[figure["measure"]]
        if run in ours.index and ours.get(measure, {run: ""})[run] != "":
            source = figure["source"]
            linked = f"[{source}]({figure['address']})" if figure["address"] else source
            rows.append(
                {
                    "model": figure["name"],
                    "labels": figure["labels"],
                    "measure": measure,
                    "ours": ours.at[run, measure],
                    "published": figure["published"],
                    "source": linked + (f" ({figure['note']})" if figure["note"] else ""),
                }
            )
    return pd.DataFrame(rows)


def read_benchmark(name: str, file: Path) -> pd.DataFrame:
    """Return the table that a benchmark wrote.

    Raises:
        ResultsError: if the file is damaged, or lacks a column of the short form.
    """
    # The columns of a row of cells, which has one method and seed.
    each = ("method", "seed", "accuracy_%", "balanced_accuracy_%", "core_seconds")
    columns = each if name == "cells" else BENCHMARKS.get(name, ())
    return read_csv(file, others=("device", *columns) if columns else ())


def of_benchmark(name: str, table: pd.DataFrame) -> str:
    """Return the short form of a benchmark as Markdown.

    Args:
        name: a key of `BENCHMARKS`, or the name of a benchmark that writes its short form itself.
        table: the table that the benchmark wrote.
    """
    if name not in BENCHMARKS:
        return to_markdown(blanked(table))
    device = table["device"].iloc[0]
    if name == "step":
        table = table[table["rows"] == "unlabelled"]
    if name == "cells":
        table = cells_summary(table)
    # Accuracies in percent have two decimals.
    form = "{:.4g}" if name == "defaults" else "{:.3g}"
    shown = blanked(table[BENCHMARKS[name]]).map(partial(_formatted, form))
    return f"{to_markdown(shown)}\n{device}.\n"


def _check_measured(results: pd.DataFrame, *columns: str) -> None:
    """Raise an error if a run to be compared lacks its accuracy, or one of these columns."""
    for column in ("test_accuracy_%", *columns):
        lacking = results["run"] if column not in results else results["run"][results[column] == ""]
        if len(lacking):
            raise ResultsError(f"{lacking.iloc[0]} has no {column}: make it again, or move it away")


def _formatted(form: str, value: object) -> object:
    return form.format(value) if isinstance(value, float) else value


def sweep(results: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies of the label sweep, a row per number of labels, a column per model.

    The number of seeds is in brackets.

    Args:
        results: summary of its runs, as returned by `summarise`.
    """
    _check_measured(results)
    models = results["run"].str.split("/").str[-1].str.split("-").str[0]
    cells = results["test_accuracy_%"] + " (" + results["seeds"].astype(str) + ")"
    columns = {
        "dataset": results["dataset"],
        "labels": results["labels"],
        "model": models.map(display_name),
    }
    table = pd.DataFrame({**columns, "cell": cells})
    wide = table.pivot(index=["dataset", "labels"], columns="model", values="cell").fillna("")
    return wide.sort_index().reset_index()


def treatments(results: pd.DataFrame) -> pd.DataFrame:
    """Return the short form of the comparison of label treatments, the most accurate first.

    `gain` is the benefit of the unlabelled rows: points of test accuracy above the classifier of
    labelled rows. `cost` is the time of an epoch in multiples of m2's, which sums all classes.
    Both are for the same number of labels of the same data, untagged.

    Args:
        results: summary of its runs, as returned by `summarise`; a mean precedes its spread.
    """
    _check_measured(results, "seconds_per_epoch")
    table = results.copy()
    runs = table["run"].str.rpartition("/")[2]
    setting = table["dataset"] + "-" + table["labels"].astype(str)
    table["model"] = runs.str.partition("-")[0]
    if (runs != table["model"] + "-" + setting.iloc[0]).any():
        table["model"] = runs
    accuracy = table["test_accuracy_%"].str.partition(" ")[0].astype(float)
    seconds = table["seconds_per_epoch"].astype(float)
    baseline = ("mlpclassifier-" + setting).map(dict(zip(runs, accuracy, strict=True)))
    exact = ("m2-" + setting).map(dict(zip(runs, seconds, strict=True)))
    table["gain"] = (accuracy - baseline).map("{:+.1f}".format, na_action="ignore")
    table["cost"] = (seconds / exact).map("{:.2f}".format, na_action="ignore")
    table["model"] = table["model"].map(display_name)
    table = table.loc[accuracy.sort_values(ascending=False).index]
    shown = {old: new for old, new in _TREATMENT_COLUMNS.items() if old in table}
    return blanked(table[list(shown)].rename(columns=shown))

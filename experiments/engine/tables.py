"""The tables of a README, of results and of benchmarks."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from experiments.engine.results import display_name
from pyro_ssl.errors import ResultsError
from pyro_ssl.reading import read_csv

# The columns of a README's tables of results: runs that have the first of them.
_RESULTS = {
    "results": ["test_accuracy_%", "test_ece_%"],
    "bounds": ["test_elbo", "test_bound_50", "test_bound_5000", "test_true_log_prob"],
    "hashing": [
        "test_deviance_kl",
        "unigram_deviance",
        "test_elbo",
        "test_perplexity",
        "unigram_perplexity",
        "precision_at_100_%",
    ],
    "interventions": ["changed_%", "alone_%", "others_kept_%", "test_accuracy_%"],
    "plane": ["test_squared_error", "generated_true_log_prob"],
    "generator": [
        "frechet_joint",
        "elbo_encoder",
        "elbo_joint",
        "frechet_generator",
        "frechet_reconstructions",
        "frechet_joint_reconstructions",
        "features",
    ],
    "mixture": ["drift", "elbo_encoder", "elbo_gain", "evidence_encoder", "evidence_gain"],
}

# The experiment whose runs have a table of their own, and its columns.
_TREATMENTS = "mnist_label_treatments"
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

# How the folders of `label_fraction_sweep` end, which have a table of their own too.
_SWEEP = r"(mnist_conv_m2|mnist_ccvae)/.*-sweep$"

# The columns of a README's short form of a benchmark.
_BENCHMARKS = {
    "step": ["step", "times_faster", "times_by_hand", "ms"],
    "epoch": ["epoch", "times_faster", "seconds"],
    "defaults": ["way", "seed", "validation_accuracy_%", "lowest_%"],
    "cells": ["method", "accuracy_%", "ahead_%", "balanced_accuracy_%", "core_seconds"],
    "retrieval": ["codes", "bits", "ms_a_query", "times_faster", "mib", "mib_of_floats"],
    "estimators": [
        "estimator", "q_y", "temperature", "straight_through", "labels", "bias", "bias_low",
        "bias_high", "times_sum", "cost_times_sum",
    ],
}  # fmt: skip


def mean_and_spread(table: pd.DataFrame, by: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return mean and standard deviation of columns as text, a row for each value of another."""
    groups = table.groupby(by, sort=False)
    found = {by: list(groups.groups)}
    for column in columns:
        each = zip(groups[column].mean(), groups[column].std(), strict=True)
        found[column] = [f"{mean:.1f} +- {deviation:.1f}" for mean, deviation in each]
    return pd.DataFrame(found)


def cells_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of the benchmark of single cells, a row a method, of one a seed and method.

    Seeds differ in how hard their cells are: "ahead_%" is the accuracy less that of logistic
    regression on the same cells.
    """
    accuracy = table.pivot(index="seed", columns="method", values="accuracy_%")
    reference = accuracy.get("logistic regression")
    ahead = float("nan") if reference is None else table["seed"].map(reference)
    table = table.assign(**{"ahead_%": table["accuracy_%"] - ahead})
    columns = ("accuracy_%", "ahead_%", "balanced_accuracy_%", "core_seconds")
    return mean_and_spread(table, "method", columns)


def to_markdown(table: pd.DataFrame) -> str:
    """Format a table as Markdown."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def with_table(text: str, name: str, table: str) -> str:
    """Return a README's `text` with the table between the marks of `name` replaced.

    Raises:
        ResultsError: if the text lacks the two marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if begin not in text or end not in text:
        raise ResultsError(f"the file has no marks {begin} and {end} to put the table between")
    before, rest = text.split(begin, 1)
    _, after = rest.split(end, 1)
    return f"{before}{begin}\n{table}{end}{after}"


def with_tables(text: str, results: pd.DataFrame, root: Path) -> str:
    """Return a README's `text` with its tables of results and of benchmarks brought up to date.

    Args:
        text: the README.
        results: summary of the results, as `summarise` gives it.
        root: folder of the results, which the benchmarks lie in too.
    """
    apart = results["run"].str.startswith(f"{_TREATMENTS}/")
    if apart.any() and "<!-- treatments: begin -->" in text:
        _check_measured(results[apart], "seconds_per_epoch")
        text = with_table(text, "treatments", to_markdown(treatments(results[apart])))
    swept = results["run"].str.match(_SWEEP) & ("<!-- sweep: begin -->" in text)
    if swept.any():
        _check_measured(results[swept])
        text = with_table(text, "sweep", to_markdown(sweep(results[swept])))
    others = results[~apart & ~swept]
    for name, columns in _RESULTS.items():
        present = [c for c in columns if c in others]
        rows = others[others[columns[0]] != ""] if columns[0] in others else others[:0]
        if name == "bounds":
            # What bounds of documents and of a GAN's images are about, other tables say.
            for column in {"test_deviance_kl", "frechet_joint"} & set(rows):
                rows = rows[rows[column] == ""]
        front, rest = ("run", "labels"), ("seeds", "validation_rows")
        short = rows[[c for c in (*front, *present, *rest) if c in rows]]
        if f"<!-- {name}: begin -->" in text or name == "results":
            text = with_table(text, name, to_markdown(short))
    return _with_short_forms(_with_benchmarks(text, root), root)


def _check_measured(results: pd.DataFrame, *columns: str) -> None:
    """Raise if a run that is to be compared by its accuracy, and these columns, lacks one."""
    for column in ("test_accuracy_%", *columns):
        lacking = results["run"] if column not in results else results["run"][results[column] == ""]
        if len(lacking):
            raise ResultsError(f"{lacking.iloc[0]} has no {column}: make it again, or move it away")


def _with_benchmarks(text: str, root: Path) -> str:
    """Return a README's `text` with its tables of benchmarks brought up to date."""
    for name, columns in _BENCHMARKS.items():
        file = root / "benchmarks" / f"{name}.csv"
        if file.exists() and f"<!-- benchmark {name}: begin -->" in text:
            # What a row of cells has in place of these, each method and seed being one.
            each = ("method", "seed", "accuracy_%", "balanced_accuracy_%", "core_seconds")
            table = read_csv(file, others=("device", *(each if name == "cells" else columns)))
            device = table["device"].iloc[0]
            if "rows" in table and name == "step":
                table = table[table["rows"] == "unlabelled"]
            if name == "cells":
                table = cells_summary(table)
            shown = table[columns].astype(object).fillna("")
            # Accuracies in percent have two digits after the point.
            form = "{:.4g}" if name == "defaults" else "{:.3g}"
            shown = shown.map(partial(_formatted, form))
            note = f"\n{device}.\n"
            text = with_table(text, f"benchmark {name}", to_markdown(shown) + note)
    return text


def _with_short_forms(text: str, root: Path) -> str:
    """Return a README's `text` with the tables that benchmarks write as they are to be shown."""
    for name in ("tables", "regression"):
        file = root / "benchmarks" / f"{name}_short.csv"
        if file.exists() and f"<!-- benchmark {name}: begin -->" in text:
            shown = read_csv(file).astype(object).fillna("")
            text = with_table(text, f"benchmark {name}", to_markdown(shown))
    return text


def _formatted(form: str, value: object) -> object:
    return form.format(value) if isinstance(value, float) else value


def sweep(results: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies of the label sweep, a row for each number of labels, models beside.

    In brackets the number of seeds.

    Args:
        results: summary of its runs, as `summarise` gives it.
    """
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

    It says what the unlabelled rows buy, `gain`: points of test accuracy above those of the
    classifier of the labelled rows alone, and what they `cost`: the time of an epoch in multiples
    of m2's, which sums all classes; both with as many labels of the same data, untagged.

    Args:
        results: summary of its runs, as `summarise` gives it, in which means precede spreads.
    """
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
    table["gain"] = (accuracy - baseline).map("{:+.1f}".format, na_action="ignore").fillna("")
    table["cost"] = (seconds / exact).map("{:.2f}".format, na_action="ignore").fillna("")
    table["model"] = table["model"].map(display_name)
    table = table.loc[accuracy.sort_values(ascending=False).index]
    shown = {old: new for old, new in _TREATMENT_COLUMNS.items() if old in table}
    return table[list(shown)].rename(columns=shown)

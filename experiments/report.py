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

# Figures of merit: key of the JSON files, factor, heading.
_MEASURES = (
    ("validation_accuracy", 100, "validation_accuracy_%"),
    ("test_accuracy", 100, "test_accuracy_%"),
    ("test_ece", 100, "test_ece_%"),
    ("intervention_changed", 100, "changed_%"),
    ("intervention_alone", 100, "alone_%"),
    ("intervention_others", 100, "others_kept_%"),
    ("test_elbo", 1, "test_elbo"),
    ("test_bound_50", 1, "test_bound_50"),
    ("test_bound_5000", 1, "test_bound_5000"),
    ("test_true_log_prob", 1, "test_true_log_prob"),
    ("test_squared_error", 1, "test_squared_error"),
    ("generated_true_log_prob", 1, "generated_true_log_prob"),
    ("test_deviance_kl", 1, "test_deviance_kl"),
    ("unigram_deviance", 1, "unigram_deviance"),
    ("test_perplexity", 1, "test_perplexity"),
    ("unigram_perplexity", 1, "unigram_perplexity"),
    ("precision_at_100", 100, "precision_at_100_%"),
    ("elbo_encoder", 1, "elbo_encoder"),
    ("elbo_joint", 1, "elbo_joint"),
    ("elbo_gain", 1, "elbo_gain"),
    ("evidence_encoder", 1, "evidence_encoder"),
    ("evidence_gain", 1, "evidence_gain"),
    ("drift", 1, "drift"),
    ("frechet_generator", 1, "frechet_generator"),
    ("frechet_reconstructions", 1, "frechet_reconstructions"),
    ("frechet_joint", 1, "frechet_joint"),
    ("frechet_joint_reconstructions", 1, "frechet_joint_reconstructions"),
)

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
    "retrieval": ["codes", "bits", "ms_a_query", "times_faster", "mib", "mib_of_floats"],
    "estimators": [
        "estimator", "q_y", "temperature", "straight_through", "labels", "bias", "bias_low",
        "bias_high", "times_sum", "cost_times_sum",
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Options of the report."""

    results_root: str = "results"
    """Folder of the results."""
    readme: str | None = None
    """File whose tables, between marks like <!-- results: begin --> and <!-- results: end -->, are
    replaced: results, and others where there are any."""


def read_results(root: Path) -> pd.DataFrame:
    """Return one row for each `seed_*.json` below `root`, with its folder as column `run`."""
    rows = [
        {"run": file.parent.relative_to(root).as_posix(), **json.loads(file.read_text())}
        for file in sorted(root.glob("**/seed_*.json"))
    ]
    return pd.DataFrame(rows)


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row a run: `mean +- standard deviation` over seeds.

    Shares of rows are in percent, bounds in nats per row; a column that no run has is left out,
    and what a run lacks is left blank.

    Args:
        results: one row a seed, as `read_results` gives; grouped by `run` if it is there,
            by `model` and `labels` otherwise.
    """
    keys = ["run"] if "run" in results else [k for k in ("model", "labels") if k in results]
    rows = []
    for _, group in results.groupby(keys, sort=False, dropna=False):
        first = group.iloc[0]
        row = {keys[0]: first[keys[0]], "dataset": first["dataset"]}
        row["labels"] = first.get("labels")
        for column, scale, name in _MEASURES:
            if column in group and group[column].notna().any():
                values = group[column].dropna()
                # Nats and squares of a few units need one digit more.
                digits = 3 if scale == 1 and abs(values.mean()) < 10 else 2
                row[name] = _mean_and_spread(scale * values, len(group), digits)
        if "features" in group and group["features"].notna().any():
            row["features"] = ", ".join(group["features"].dropna().unique())
        row["seeds"] = len(group)
        row["validation_rows"] = first.get("validation_rows")
        if "seconds_per_epoch" in group:
            row["seconds_per_epoch"] = round(group["seconds_per_epoch"].median(), 2)
        if "peak_memory_mib" in group and group["peak_memory_mib"].notna().any():
            row["peak_memory_mib"] = round(group["peak_memory_mib"].median())
        row["device"] = ", ".join(group["device"].unique())
        rows.append(row)
    table = pd.DataFrame(rows).dropna(axis="columns", how="all")
    order = [name for _, _, name in _MEASURES if name in table]
    front = [c for c in (keys[0], "dataset", "labels") if c in table]
    machine = ("seconds_per_epoch", "peak_memory_mib", "device")
    last = ("features", "seeds", "validation_rows", *machine)
    table = table[[*front, *order, *(c for c in last if c in table)]]
    whole = [c for c in ("labels", "validation_rows", "peak_memory_mib") if c in table]
    return table.astype(dict.fromkeys(whole, "Int64")).astype(object).fillna("")


def _mean_and_spread(values: pd.Series, seeds: int, digits: int) -> str:
    spread = f" +- {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    # A bound of many samples may have been evaluated for some of the seeds alone.
    count = f" ({len(values)} of {seeds} seeds)" if len(values) < seeds else ""
    return f"{values.mean():.{digits}f}{spread}{count}"


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
        text = with_table(text, "treatments", to_markdown(treatments(results[apart])))
    swept = results["run"].str.match(_SWEEP) & ("<!-- sweep: begin -->" in text)
    if swept.any():
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
    for name, columns in _BENCHMARKS.items():
        file = root / "benchmarks" / f"{name}.csv"
        if file.exists() and f"<!-- benchmark {name}: begin -->" in text:
            table = pd.read_csv(file)
            if "rows" in table and name == "step":
                table = table[table["rows"] == "unlabelled"]
            shown = table[columns].astype(object).fillna("")
            shown = shown.map(lambda x: f"{x:.3g}" if isinstance(x, float) else x)
            note = f"\n{table['device'].iloc[0]}.\n"
            text = with_table(text, f"benchmark {name}", to_markdown(shown) + note)
    return text


def sweep(results: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies of the label sweep, a row for each number of labels, models beside.

    In brackets the number of seeds.

    Args:
        results: summary of its runs, as `summarise` gives it.
    """
    models = results["run"].str.split("/").str[-1].str.split("-").str[0]
    cells = results["test_accuracy_%"] + " (" + results["seeds"].astype(str) + ")"
    columns = {"dataset": results["dataset"], "labels": results["labels"], "model": models}
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
    table = table.loc[accuracy.sort_values(ascending=False).index]
    shown = {old: new for old, new in _TREATMENT_COLUMNS.items() if old in table}
    return table[list(shown)].rename(columns=shown)


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
        readme.write_text(with_tables(readme.read_text(), table, root))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

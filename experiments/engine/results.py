"""Results on disk: a folder for each model and configuration, and a summary of all of them."""

import json
import re
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd

import pyro_ssl
from pyro_ssl.errors import ResultsError
from pyro_ssl.files import write_text
from pyro_ssl.locks import held
from pyro_ssl.text_files import read_json

# Figures of merit in the order of the summary: key of the JSON files, factor, heading.
MEASURES = (
    *((key, 100, f"{key}_%") for key in (
        "validation_accuracy", "test_accuracy", "test_ece", "test_bayes_accuracy",
        "test_bayes_ece", "test_weighted_bayes_accuracy", "test_weighted_bayes_ece",
    )),
    *((f"intervention_{key}", 100, f"{key}_%") for key in ("changed", "alone")),
    ("intervention_others", 100, "others_kept_%"),
    *((name, 1, name) for name in (
        "test_elbo test_bound_50 test_bound_5000 test_true_log_prob test_squared_error "
        "generated_true_log_prob test_deviance_kl unigram_deviance test_perplexity "
        "unigram_perplexity"
    ).split()),
    ("precision_at_100", 100, "precision_at_100_%"),
    *((name, 1, name) for name in (
        "elbo_encoder elbo_joint elbo_gain evidence_encoder evidence_gain drift frechet_generator "
        "frechet_reconstructions frechet_joint frechet_joint_reconstructions"
    ).split()),
)  # fmt: skip
# Types of the used entries of a seed's JSON file, and the remedy if they are wrong.
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("model", "dataset", "device", "features"), str),
    **dict.fromkeys(("seed", "labels", "validation_rows"), int),
    **dict.fromkeys([key for key, _, _ in MEASURES], float),
    **{"seconds_per_epoch": float, "peak_memory_mib": float | None},
    **{"config": dict, "files": list[str]},
}
SHOWN = (".csv", ".png", ".gif")
_REMEDY = "move it elsewhere; --resume makes it again where there is a checkpoint"
# Names of models in tables and figures that differ from their classes.
_VARIANTS = {
    "stgumbelsoftmaxm2": "GumbelSoftmaxM2, straight-through",
    "stlogisticnormalm2": "LogisticNormalM2, straight-through",
    "unsharpenedlogisticnormalm2": "LogisticNormalM2, unsharpened",
    "vae_2d": "VAE, 2 latents", "autoencoder_2d": "autoencoder, 2 latents",
    "autoencoder": "autoencoder",
    "linear_svm": "linear SVM", "rbf_svm": "RBF SVM", "self_training_svm": "self-training SVM",
}  # fmt: skip


class RunFolder:
    """The results of one model under one configuration, with one set of files per seed.

    Args:
        path: `results/<experiment>/<model>-<dataset>-<labels>[-<tag>]`.
        config: the options that determine the results; another configuration needs another folder.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self.path = path
        self.config = json.loads(json.dumps(config))

    def claim(self, seeds: Sequence[int], overwrite: bool) -> None:
        """Assign the folder to this configuration; a folder without any seed's files is free.

        Args:
            seeds: the seeds about to run.
            overwrite: remove existing files of these seeds, of any configuration.

        Raises:
            ResultsError: if the folder has results of another configuration.
        """
        for seed in seeds:
            for file in self.files(seed) * overwrite:
                file.unlink()
        config_file = self.path / "config.json"
        if config_file.exists() and self._seeds():
            there = read_json(config_file, "delete it if all seeds there are of this configuration")
            differing = [k for k in {**self.config, **there} if there.get(k) != self.config.get(k)]
            if differing:
                changes = ", ".join(
                    f"{k} ({there.get(k)} there, {self.config.get(k)} now)" for k in differing
                )
                raise ResultsError(
                    f"{self.path} holds results of another configuration: {changes}. Keep this "
                    "one apart with --tag NAME, or replace all seeds that lie there with "
                    "--overwrite"
                )
        write_text(json.dumps(self.config, indent=2) + "\n", config_file)

    def check_replaceable(self, seeds: Sequence[int]) -> None:
        """Check that overwriting `seeds` leaves no other seed of another configuration there.

        Raises:
            ResultsError: if other seeds of another configuration are in the folder.
        """
        config_file = self.path / "config.json"
        others = sorted(self._seeds() - set(seeds))
        if not others or not config_file.exists() or read_json(config_file) == self.config:
            return
        raise ResultsError(
            f"{self.path} also holds seeds {others} of another configuration, which this run "
            "would not replace: name them in --seeds too, or use --tag NAME"
        )

    def _seeds(self) -> set[int]:
        """Return the seeds that have files; a run of stages has no CSV before its end."""
        files = (f.name for f in self.path.glob("seed_*") if f.is_file())
        return {int(m[1]) for name in files if (m := re.match(r"seed_(\d{1,18})[._]", name))}

    def file(self, seed: int, suffix: str) -> Path:
        """Return the path of a seed's file; the suffix `.csv` gives `seed_0.csv`."""
        return self.path / f"seed_{seed}{suffix}"

    def finished(self, seed: int) -> bool:
        """Return whether a seed has its results."""
        return self.file(seed, ".json").exists()

    def begin(self, seed: int, resume: bool) -> str:
        """Return "" if a seed is to be run, or "kept" (and what is missing) if it is finished.

        Raises:
            ResultsError: if there is an unfinished run, and it is not to be resumed.
        """
        if self.finished(seed):
            written = self.results(seed).get("files", [self.file(seed, ".csv").name])
            lost = [name for name in written if not (self.path / name).is_file()]
            more = f", but without {', '.join(lost)}: --overwrite makes them again"
            return "kept" + more * bool(lost)
        checkpoint = next((f for f in self.files(seed) if f.suffix == ".pt"), None)
        if checkpoint is not None and not resume:
            raise ResultsError(
                f"{checkpoint} is an unfinished run: go on with --resume, or start again with "
                "--overwrite"
            )
        return ""

    def lock(self, seed: int) -> AbstractContextManager[None]:
        """Return the lock that a process holds while it writes a seed's files."""
        return held(self.path / f".seed_{seed}.lock", f"seed {seed} of {self.path}")

    def files(self, seed: int) -> list[Path]:
        """Return a seed's files, by name."""
        return sorted(f for f in self.path.glob(f"seed_{seed}[._]*") if f.is_file())

    def log(self, seed: int, message: str) -> None:
        """Append a line with the time to the seed's log file."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self.file(seed, ".log").open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")

    def write(self, seed: int, suffix: str, text: str) -> None:
        """Replace a seed's file by `text` atomically."""
        write_text(text, self.file(seed, suffix))

    def results(self, seed: int) -> dict[str, Any]:
        """Return the content of a finished seed's JSON file."""
        return read_result(self.file(seed, ".json"), ("model",))


def read_result(path: Path, wanted: Collection[str] = ()) -> dict[str, Any]:
    """Return the content of a seed's JSON file, which must also have the keys `wanted`.

    Raises:
        ResultsError: if the file is damaged, or not ours.
    """
    result = read_json(path, _REMEDY, _KINDS, ("dataset", "device", "seed", *wanted))
    if path.name != f"seed_{result['seed']}.json":
        raise ResultsError(f"{path} is not named after its seed, {result['seed']}: {_REMEDY}")
    return result


def display_name(model: str) -> str:
    """Return a model's name in tables and figures; its folder's name is in lower case."""
    kind, dash, rest = model.partition("-")
    exported = {name.lower(): name for name in dir(pyro_ssl)}
    return {**exported, **_VARIANTS}.get(kind, kind) + dash + rest


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run: `mean +- standard deviation` over seeds.

    Shares of rows are in percent, bounds in nats per row. A column that no run has is left out; a
    value that a run lacks is blank.

    Args:
        results: one row per seed, from its JSON file; grouped by `run` if there is such a column,
            otherwise by `model` and `labels`.
    """
    keys = ["run"] if "run" in results else [k for k in ("model", "labels") if k in results]
    rows = []
    for _, group in results.groupby(keys, sort=False, dropna=False):
        first = group.iloc[0]
        row = {keys[0]: first[keys[0]], "dataset": first["dataset"]}
        row["labels"] = first.get("labels")
        for column, scale, name in MEASURES:
            if column in group and group[column].notna().any():
                values = group[column].dropna()
                # A few nats, or small squares, need one more digit.
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
    order = [name for _, _, name in MEASURES if name in table]
    front = [c for c in (keys[0], "dataset", "labels") if c in table]
    last = "features seeds validation_rows seconds_per_epoch peak_memory_mib device".split()
    table = table[[*front, *order, *(c for c in last if c in table)]]
    whole = [c for c in ("labels", "validation_rows", "peak_memory_mib") if c in table]
    table = table.astype(dict.fromkeys(whole, "Int64"))
    return table.astype(object).where(table.notna(), "")


def _mean_and_spread(values: pd.Series, seeds: int, digits: int) -> str:
    spread = f" +- {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    count = f" ({len(values)} of {seeds} seeds)" if len(values) < seeds else ""
    return f"{values.mean():.{digits}f}{spread}{count}"


def print_results(folders: Collection[RunFolder], seeds: Sequence[int]) -> None:
    """Print a table of all finished seeds, and the names of their files."""
    results = [f.results(s) for f in folders for s in seeds if f.finished(s)]
    if results:
        table = summarise(pd.DataFrame(results))
        if "model" in table:
            table["model"] = table["model"].map(display_name)
        tested = any(key.startswith("test_") for each in results for key in each)
        print(f"\n{table['dataset'].iloc[0]}, {'test set' if tested else 'validation rows'}:")
        unsaid = ("dataset", "validation_rows", "device")
        print(table.drop(columns=[c for c in unsaid if c in table]).to_string(index=False))
    for folder in folders:
        print(f"\n{folder.path}/")
        for seed in seeds:
            print("  " + " ".join(file.name for file in folder.files(seed)))

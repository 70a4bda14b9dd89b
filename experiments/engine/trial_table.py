"""The table of an experiment's trials, from the CSV that `pyro_ssl.trials` writes."""

from pathlib import Path

import pandas as pd

from pyro_ssl.text_files import read_csv

_OPTION = "config_"
# Options that say how long, or on which rows, rather than how.
_ASIDE = {f"{_OPTION}{name}" for name in ("epochs", "validation", "labels", "dataset", "digest")}


def of_trials(path: Path) -> pd.DataFrame:
    """Return a row for each configuration and length, in the order in which they were tried.

    `options` are those that differ from the file's most frequent values, among those that the model
    has in any trial; one that was not there yet is `none`. Accuracies are means over seeds, in %,
    of the best epoch and of the last one that was finished.

    Args:
        path: the CSV of the experiment's trials.
    """
    trials = read_csv(path, ("seed", "epochs", "validation_accuracy"), ("model", "dataset"))
    options = [c for c in map(str, trials) if c.startswith(_OPTION) and c not in _ASIDE]
    # Whole numbers stay so in a column with gaps.
    texts = trials[options].convert_dtypes().astype(str).where(trials[options].notna(), "")
    usual = texts.mode().iloc[0]
    has = (texts != "").groupby(trials["model"]).any()
    trials["options"] = [
        ", ".join(
            f"{name.removeprefix(_OPTION)} {row[name] or 'none'}"
            for name in options
            if row[name] != usual[name] and has.loc[model, name]
        )
        for model, row in zip(trials["model"], texts.to_dict("records"), strict=True)
    ]
    keys = ["model", "dataset", "labels", "options", "epochs"]
    rows = []
    for _, group in trials.groupby(keys, sort=False):
        first = group.iloc[0]
        best, last = (
            f"{100 * group[c].mean():.2f}"
            for c in ("validation_accuracy", "last_validation_accuracy")
        )
        steps = int(first["epochs"] * first["steps_per_epoch"])
        seeds = ", ".join(map(str, sorted(group["seed"])))
        rows.append([*first[keys[:4]], steps, best, last, seeds])
    return pd.DataFrame(rows, columns=[*keys[:4], "steps", "best_%", "last_%", "seeds"])

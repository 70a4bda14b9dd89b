"""Trials by which the regressor's defaults were chosen, on splits outside of the comparison.

Each variant of the models' options is fitted once to each split. Then its decision is made again
with other preferences, without one candidate at a time, and with a single candidate.
`python -m benchmarks.regression.tuning` writes a row for each fit and trial to
results/tuning/regression.csv. Run it with OMP_NUM_THREADS=1 if several processes share the cores.
"""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import tyro

from benchmarks.attempts import attempts
from benchmarks.regression.data import DATASETS
from benchmarks.regression.fits import measures, part_of
from pyro_ssl.errors import ConfigError
from pyro_ssl.estimator import SemiSupervisedVAERegressor
from pyro_ssl.estimator.regression.stacking import Stack, stack
from pyro_ssl.estimator.regression.weighing import MODEL, SUPERVISED, RegressionWeighing
from pyro_ssl.files import write_text

# Splits of the comparison.
REPORTED = range(10)
_SUPERVISED = (0.5, 1.0, 2.0, 4.0)
_MODEL = (1.0, 2.0, 4.0)
_MEASURES = ("rmse", "r2", "log_loss")


@dataclass(frozen=True)
class Config:
    """Options of the trials."""

    datasets: tuple[str, ...] = DATASETS
    """Data sets."""
    labels: tuple[int, ...] = (20, 100)
    """Numbers of known labels."""
    splits: tuple[int, ...] = (10, 11, 12)
    """Numbers of the splits: none of those of the comparison."""
    variants: tuple[str, ...] = ("{}",)
    """Options of the estimator that replace its defaults, each a JSON object."""
    jobs: int = 1
    """Processes."""
    output: str = "results/tuning"
    """Folder of regression.csv."""


@dataclass(frozen=True)
class Setting:
    """A fit."""

    dataset: str
    labels: int
    split: int
    variant: str


@dataclass(frozen=True)
class Trial:
    """Options of a decision; the defaults are those of the regressor."""

    supervised: float = SUPERVISED
    model: float = MODEL
    without: str = ""
    """A candidate to leave out."""
    alone: str = ""
    """The candidate that is used, calibrated, in place of the mean."""


def trials(names: Sequence[str]) -> Iterator[Trial]:
    """Yield the trials for candidates of these names."""
    for supervised, model in itertools.product(_SUPERVISED, _MODEL):
        yield Trial(supervised, model)
    for name in names:
        yield Trial(without=name)
        yield Trial(alone=name)


def decided(weighing: RegressionWeighing, trial: Trial) -> Stack:
    """Return the decision of a trial on the evidence of a fitted regressor."""
    said, ys, weights = weighing.evidence
    names = [n for n in said if n == trial.alone or not (trial.alone or n == trial.without)]
    preference = weighing.preference(trial.supervised, trial.model)
    return stack({n: said[n] for n in names}, ys, weights, preference)


def run(setting: Setting, commit: str | None) -> list[dict[str, Any]]:
    """Return a row for each trial on one split of one data set."""
    part, ys = part_of(setting.dataset, setting.labels, setting.split)
    options = json.loads(setting.variant)
    regressor = SemiSupervisedVAERegressor(random_state=setting.split, **options)
    weighing = regressor.fit(part.train, part.partial)._weighing
    said = weighing.say(regressor._encoded(regressor._checked(part.test)))
    rows = []
    for trial in trials(list(said)):
        mean, deviation = decided(weighing, trial).mix(said)
        scaling = regressor.scaling_
        found = measures(scaling.back(mean), scaling.deviation * deviation, ys)
        rounded = {name: round(found[name], 5) for name in _MEASURES}
        rows.append(asdict(setting) | asdict(trial) | rounded | {"commit": commit})
    return rows


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each variant and trial: means over settings of R^2 and log loss.

    Log losses of labels in other units differ by a constant, which is the same for all trials.
    """
    keys = ["variant", *Trial.__dataclass_fields__]
    rows = rows.fillna({"without": "", "alone": ""})
    found = rows.groupby(keys)[["r2", "log_loss"]].mean()
    found["settings"] = rows.groupby(keys).size()
    return found.sort_values("r2", ascending=False).reset_index()


def main(args: Sequence[str] | None = None) -> None:
    """Run the trials with command-line arguments, `sys.argv`'s if None.

    Raises:
        ConfigError: if a split is one of the comparison's.
    """
    config = tyro.cli(Config, args=args, description=__doc__)
    if reported := sorted(set(config.splits) & set(REPORTED)):
        raise ConfigError(f"--splits has {reported}, which are reported: nothing is chosen on them")
    names = config.datasets, config.labels, config.splits, config.variants
    todo = [Setting(*values) for values in itertools.product(*names)]
    found, failed = [], 0
    for setting, rows, error in attempts(run, todo, config.jobs):
        if error:
            failed += 1
            print(f"{setting} failed: {error}", file=sys.stderr, flush=True)
        found += rows
    if found:
        table = pd.DataFrame(found)
        file = Path(config.output) / "regression.csv"
        former = [pd.read_csv(file)] if file.is_file() else []
        keys = [*Setting.__dataclass_fields__, *Trial.__dataclass_fields__]
        table = pd.concat([*former, table]).fillna({"without": "", "alone": ""})
        table = table.drop_duplicates(keys, keep="last")
        write_text(table.to_csv(index=False), file)
        print(summarise(table).round(4).to_string())
    if failed:
        sys.exit(f"{failed} fits failed, see above")


if __name__ == "__main__":
    main()

"""Trials by which the classifier's decision was chosen, on the tuning tables only.

Each classifier is fitted once, to splits outside of the comparison. Then its decision is made again
with other preferences and other expected temperatures, and without one candidate at a time.
`python -m benchmarks.tables.tuning` writes a row for each fit and trial to
results/tuning/tables.csv. Run it with OMP_NUM_THREADS=1 if several processes share the cores.
"""

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro

from benchmarks.attempts import attempts
from benchmarks.tables.data import DRAWS, TUNING
from benchmarks.tables.fits import CELL, Fit, measures, part_of
from benchmarks.tables.methods import OURS
from pyro_ssl.estimator import SemiSupervisedVAEClassifier
from pyro_ssl.estimator.decision import Decision, decide
from pyro_ssl.estimator.weighing import BAYES, CLUSTERS, LOG_TEMPERATURE, SUPERVISED, Q, Weighing
from pyro_ssl.files import write_text

_SUPERVISED = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
_CLUSTERS = (1.0, 2.0, 4.0)
_LOG_TEMPERATURES = (0.0, 0.5, 1.0)
_MEASURES = ("balanced_accuracy", "log_loss", "ece")


@dataclass(frozen=True)
class Config:
    """Options of the trials."""

    datasets: tuple[str, ...] = TUNING
    """Data sets."""
    labels: tuple[int, ...] = (5, 10)
    """Known labels per class."""
    draws: tuple[str, ...] = DRAWS
    """How known labels are drawn."""
    missing: tuple[float, ...] = (0.0, 0.3)
    """Shares of entries to remove."""
    splits: tuple[int, ...] = (10, 11, 12)
    """Numbers of the splits: none of those of the comparison."""
    jobs: int = 1
    """Processes."""
    output: str = "results/tuning"
    """Folder of tables.csv and tables_summary.csv."""


@dataclass(frozen=True)
class Trial:
    """Options of a decision; the defaults are those of the classifier."""

    supervised: float = SUPERVISED
    clusters: float = CLUSTERS
    log_temperature: float = LOG_TEMPERATURE
    without: str = ""
    """A candidate to leave out."""
    alone: str = ""
    """The candidate that is used, calibrated, in place of the mixture."""


def trials(names: Sequence[str]) -> Iterator[Trial]:
    """Yield the trials for candidates of these names."""
    for supervised, clusters in itertools.product(_SUPERVISED, _CLUSTERS):
        yield Trial(supervised, clusters)
    for value in _LOG_TEMPERATURES:
        if value != LOG_TEMPERATURE:
            yield Trial(log_temperature=value)
    for name in names:
        yield Trial(without=name)
        yield Trial(alone=name)


def decided(weighing: Weighing, trial: Trial) -> Decision:
    """Return the decision of a trial on the evidence of a fitted classifier."""
    said, codes, implied = weighing.evidence
    names = [n for n in said if n == trial.alone or not (trial.alone or n == trial.without)]
    preference = weighing.preference(trial.supervised, trial.clusters)
    expected = dict.fromkeys((Q, BAYES), trial.log_temperature)
    return decide({n: said[n] for n in names}, codes, implied, preference, expected)


def run(fit: Fit, commit: str | None) -> list[dict[str, Any]]:
    """Return a row for each trial on one split of one data set."""
    part, ys = part_of(fit)
    classifier = SemiSupervisedVAEClassifier(random_state=fit.split).fit(part.train, part.partial)
    weighing, told = classifier._weighing, asdict(fit)
    said = weighing.say(classifier._encoded(classifier._checked(part.test)))
    del told["method"]
    return [
        told | asdict(trial) | _measured(decided(weighing, trial).mix(said), ys, commit)
        for trial in trials(list(said))
    ]


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each trial: means over settings, and the worst setting.

    `worst_margin` is the smallest difference, over settings, between the mean balanced accuracy and
    that of the better one of logistic regression and random forest.
    """
    options, cell = list(Trial.__dataclass_fields__), list(CELL)
    rows = rows.fillna({"without": "", "alone": ""})
    means = rows.groupby([*options, *cell])[list(_MEASURES)].mean().reset_index()
    simple = means[means["alone"].isin(["logistic regression", "random forest"])]
    floor = simple.groupby(cell)["balanced_accuracy"].max().rename("floor").reset_index()
    means = means.merge(floor, on=cell)
    means["worst_margin"] = means["balanced_accuracy"] - means["floor"]
    found = means.groupby(options)[list(_MEASURES)].mean()
    found["worst_margin"] = means.groupby(options)["worst_margin"].min()
    found["settings"] = means.groupby(options).size()
    return found.sort_values("balanced_accuracy", ascending=False).reset_index()


def main(args: Sequence[str] | None = None) -> None:
    """Run the trials with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    if others := set(config.datasets) - set(TUNING):
        sys.exit(f"--datasets has {', '.join(sorted(others))}: nothing is chosen on test tables")
    settings = itertools.product(
        config.datasets, config.labels, config.draws, config.missing, config.splits
    )
    todo, found = [Fit(*setting, OURS) for setting in settings], {}
    for fit, each, error in attempts(run, todo, config.jobs):
        if error:
            sys.exit(f"{fit} failed: {error}")
        found[fit] = each
    rows = pd.DataFrame([row for fit in todo for row in found[fit]])
    folder = Path(config.output)
    write_text(rows.to_csv(index=False), folder / "tables.csv")
    summary = summarise(rows)
    write_text(summary.to_csv(index=False), folder / "tables_summary.csv")
    print(summary.round(4).to_string())


def _measured(probabilities: np.ndarray, ys: np.ndarray, commit: str | None) -> dict[str, Any]:
    values = measures(probabilities, ys)
    return {name: round(values[name], 5) for name in _MEASURES} | {"commit": commit}


if __name__ == "__main__":
    main()

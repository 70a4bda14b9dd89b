"""The same experiments for many numbers of labels, put together in one table and figure."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.ccvae import CCVAEExperiment
from experiments.label_fraction_sweep import Config
from experiments.options import DataOptions
from experiments.rows import share_of_rows
from experiments.semi_supervised import ConvM2Experiment, SemiSupervised
from pyro_ssl import plots
from pyro_ssl.data import load_dataset
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.processes import is_main

_MEASURES = ("test_accuracy", "test_ece", "test_elbo")


class Sweep:
    """M2, its classifier, and CCVAE, at every proportion of labels.

    Args:
        config: the options of `label_fraction_sweep`.

    Raises:
        ConfigError: if a proportion is not above 0 and at most 1.
    """

    def __init__(self, config: Config) -> None:
        for share in config.proportions:
            if not 0 < share <= 1:
                raise ConfigError(f"proportions has {share}, expected shares above 0, up to 1")
        self.config = config

    def run(self) -> None:
        """Run what is not finished, then write the table and the figure."""
        runs = [
            (share, labels, experiment)
            for share, labels in self.numbers_of_labels().items()
            for experiment in self.experiments(labels)
        ]
        # Show whatever is wrong with the last of them before the first is run.
        dataset = load_dataset(self.config.dataset, self.config.data_root)
        for _, _, experiment in runs:
            experiment.check(dataset)
        for _, _, experiment in runs:
            experiment.run()
        if is_main():
            self._put_together(runs)

    def _put_together(self, runs: list[tuple[float, int, SemiSupervised]]) -> None:
        """Write table and figure of all runs."""
        found = []
        for share, labels, experiment in runs:
            for name, folder in experiment.paths.items():
                found += [self._row(name, share, labels, s, folder) for s in self.config.seeds]
        frame = pd.DataFrame(found)
        folder = Path(self.config.results_root) / "label_fraction_sweep"
        folder.mkdir(parents=True, exist_ok=True)
        stem = "-".join(filter(None, ("sweep", self.config.dataset, self.config.tag)))
        frame.to_csv(folder / f"{stem}.csv", index=False)
        figure = plots.by_label_fraction(frame, f"{self.config.dataset}, 95 % intervals")
        figure.savefig(folder / f"{stem}.png", dpi=110)
        print(folder / f"{stem}.csv")
        print(folder / f"{stem}.png")

    def numbers_of_labels(self) -> dict[float, int]:
        """Return the number of labelled rows for each proportion, rounded down."""
        config = self.config
        dataset = load_dataset(config.dataset, config.data_root)
        found = {share: share_of_rows(share, config, dataset) for share in config.proportions}
        for share, labels in found.items():
            if not labels:
                raise ConfigError(f"proportions has {share}, which is less than one row")
        return found

    def experiments(self, labels: int) -> list[SemiSupervised]:
        """Return the experiments for a number of labels."""
        config = self.config
        shared: dict[str, Any] = {f.name: getattr(config, f.name) for f in fields(DataOptions)}
        # A tag of their own: other numbers of validation rows and of steps than by themselves.
        shared |= {
            "labels": labels,
            "label_fraction": None,
            "resume": not config.overwrite,
            "tag": config.tag or "sweep",
        }
        found: list[SemiSupervised] = []
        if "m2" in config.models:
            found.append(ConvM2Experiment(replace(config.m2, **shared)))
        if "ccvae" in config.models:
            # The classifier is M2's.
            found.append(CCVAEExperiment(replace(config.ccvae, **shared, baseline=False)))
        for experiment in found:
            # The same for all shares: few unlabelled rows do not mean few steps.
            experiment.steps_per_epoch = config.steps_per_epoch
        return found

    def _row(self, name: str, share: float, labels: int, seed: int, folder: Path) -> dict[str, Any]:
        result = json.loads((folder / f"seed_{seed}.json").read_text())
        row = {"model": name, "proportion": share, "labels": labels, "seed": seed}
        return row | {key: result[key] for key in _MEASURES if key in result}

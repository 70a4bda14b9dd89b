"""The same experiments for many numbers of labels, put together in one table and figure."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.ccvae import CCVAEExperiment
from experiments.label_fraction_sweep import Config
from experiments.options import DataOptions
from experiments.rows import share_of_rows, validation_rows
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
            experiment
            for labels in dict.fromkeys(self.numbers_of_labels().values())
            for experiment in self.experiments(labels)
        ]
        # Show whatever is wrong with the last of them before the first is run.
        dataset = load_dataset(self.config.dataset, self.config.data_root)
        for experiment in runs:
            experiment.check(dataset)
        for experiment in runs:
            experiment.run()
        if is_main():
            self._put_together(len(dataset.train_xs) - validation_rows(self.config, dataset))

    def _put_together(self, rows: int) -> None:
        """Write table and figure of all finished runs of the sweep, of other calls too.

        Args:
            rows: training rows that are not for validation.
        """
        root, tag = Path(self.config.results_root), self.config.tag or "sweep"
        files = [
            file
            for experiment in ("mnist_conv_m2", "mnist_ccvae")
            for file in (root / experiment).glob(f"*-{self.config.dataset}-*-{tag}/seed_*.json")
        ]
        frame = pd.DataFrame([self._row(file, rows) for file in files])
        frame = frame.sort_values(["labels", "model", "seed"], ignore_index=True)
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

    def _row(self, file: Path, rows: int) -> dict[str, Any]:
        result = json.loads(file.read_text())
        row = {key: result[key] for key in ("model", "labels", "seed")}
        row["proportion"] = round(result["labels"] / rows, 4)
        return row | {key: result[key] for key in _MEASURES if key in result}

"""Runs a semi-supervised model and its labelled-only baseline over seeds, to files."""

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from joblib import Parallel, delayed
from tqdm import tqdm

from experiments.contenders import Contender, make_contenders, validation_rows
from experiments.devices import (
    describe_device,
    keep_freed_memory,
    launched_by_torchrun,
    resolve_device,
)
from experiments.report import summarise
from experiments.run_folder import RunFolder, environment
from pyro_ssl import plots
from pyro_ssl.data import ImageDataset, load_dataset
from pyro_ssl.errors import ConfigError, PyroSSLError
from pyro_ssl.infer import History, fit
from pyro_ssl.infer.processes import from_main, is_main, process_share
from pyro_ssl.infer.trainer import Row, Trainer
from pyro_ssl.metrics import accuracy, expected_calibration_error, predict_in_chunks
from pyro_ssl.models import M2

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.mnist_m2 import Config

# Options that say where and how to run, not what: they do not tell configurations apart.
_NOT_RESULTS = (
    "seeds",
    "baseline",
    "compile",
    "cuda_graph",
    "class_chunk",
    "jobs",
    "device",
    "data_root",
    "results_root",
    "resume",
    "overwrite",
    "quiet",
)


class SemiSupervisedExperiment:
    """M2 against the classifier on the labelled rows alone, for every seed.

    Args:
        name: name of the experiment, also of its folder.
        config: its options.
    """

    def __init__(self, name: str, config: "Config") -> None:
        if not config.seeds:
            raise ConfigError("seeds is empty, expected at least one seed: use --seeds 0")
        if min(config.seeds) < 0 or len(set(config.seeds)) < len(config.seeds):
            raise ConfigError(f"seeds are {config.seeds}, expected different ones, none below 0")
        if config.resume and config.overwrite:
            raise ConfigError("resume and overwrite exclude each other: choose one")
        if config.jobs < 1:
            raise ConfigError(f"jobs is {config.jobs}, expected at least 1")
        if config.jobs > 1 and launched_by_torchrun():
            raise ConfigError(f"jobs is {config.jobs}, but torchrun's processes share one run")
        self.name, self.config = name, config
        # Asked now: the source tree may move on while this process trains on what it loaded.
        self.environment = environment()
        self.device = resolve_device(config.device)
        suffix = f"{config.dataset}-{config.labels}" + (f"-{config.tag}" if config.tag else "")
        root = Path(config.results_root) / name
        names = ["m2" if config.num_summed is None else "raoblackwellm2"]
        if config.baseline and config.labels:
            names.insert(0, "mlpclassifier")
        self.paths = {n: root / f"{n}-{suffix}" for n in names}
        self.folders: dict[str, RunFolder] = {}

    def run(self) -> None:
        """Train, test and write every seed, then print the comparison."""
        config = self.config
        if process_share().processes > 1:
            # One of them alone downloads what is missing.
            from_main(self._load)
        dataset = load_dataset(config.dataset, config.data_root)
        self._check_options(dataset)
        decisive = {k: v for k, v in asdict(config).items() if k not in _NOT_RESULTS}
        decisive["validation"] = validation_rows(config, dataset)
        if process_share().processes > 1:
            decisive["processes"] = process_share().processes
        self.folders = {name: RunFolder(path, decisive) for name, path in self.paths.items()}
        from_main(self._claim_folders)
        if config.jobs == 1:
            for seed in config.seeds:
                self._run_seed(seed, dataset)
        else:
            # Each process loads the rows itself, and has its share of the cores from joblib.
            del dataset
            Parallel(n_jobs=config.jobs)(delayed(self._run_seed)(s) for s in config.seeds)
        if is_main():
            self._print_summary()

    def _check_options(self, dataset: ImageDataset) -> None:
        """Show whatever is wrong with the options before any result is touched."""
        for contender in self._contenders(dataset, self.config.seeds[0]):
            Trainer(contender.model, contender.data, contender.fit_config)

    def _claim_folders(self) -> None:
        seeds, overwrite = self.config.seeds, self.config.overwrite
        for folder in self.folders.values():
            if overwrite:
                folder.check_replaceable(seeds)
        for folder in self.folders.values():
            folder.claim(seeds, overwrite)

    def _load(self) -> None:
        load_dataset(self.config.dataset, self.config.data_root)

    def _run_seed(self, seed: int, dataset: ImageDataset | None = None) -> None:
        """Train and test every contender, in this process."""
        keep_freed_memory()
        if dataset is None:
            dataset = load_dataset(self.config.dataset, self.config.data_root)
        for contender in self._contenders(dataset, seed):
            folder = self.folders[contender.name]
            if from_main(partial(folder.begin, seed, self.config.resume)):
                self._test(contender, self._fit(contender), dataset)
            else:
                print(f"{contender.name} seed {seed} is finished in {folder.path}: kept")

    def _contenders(self, dataset: ImageDataset, seed: int) -> list[Contender]:
        return make_contenders(self.paths, self.config, dataset, seed, self.device)

    def _fit(self, contender: Contender) -> History:
        """Train, writing the CSV after every epoch and the checkpoint beside it."""
        folder, seed = self.folders[contender.name], contender.seed
        checkpoint = folder.file(seed, ".pt")
        resume = self.config.resume and from_main(checkpoint.exists)
        folder.log(seed, f"{'resume' if resume else 'start'} on {self.device}: {self.config}")
        steps = contender.steps
        with tqdm(
            total=contender.fit_config.epochs * steps,
            desc=f"{contender.name} seed {seed}",
            unit="step",
            disable=self.config.quiet or self.config.jobs > 1,
        ) as bar:

            def on_epoch(rows: list[Row]) -> None:
                folder.write(seed, ".csv", pd.DataFrame(rows).to_csv(index=False))
                last = {k: f"{v:.5g}" for k, v in rows[-1].items()}
                folder.log(seed, " ".join(f"{k}={v}" for k, v in last.items()))
                shown = ("epoch", "labelled_elbo", "unlabelled_elbo", "validation_accuracy")
                bar.set_postfix({k: last[k] for k in shown if k in last}, refresh=False)
                bar.update(len(rows) * steps - bar.n)

            def on_step() -> None:
                bar.update()

            try:
                return fit(
                    contender.model,
                    contender.data,
                    contender.fit_config,
                    checkpoint=checkpoint,
                    resume=resume,
                    on_epoch=on_epoch,
                    on_step=on_step,
                )
            except KeyboardInterrupt:
                folder.log(seed, "interrupted")
                print(f"\n{checkpoint} holds the last whole epoch", file=sys.stderr)
                raise
            except PyroSSLError as error:
                folder.log(seed, f"error: {error}")
                raise

    def _test(self, contender: Contender, history: History, dataset: ImageDataset) -> None:
        """Read the test set, once, and write the seed's figures and JSON file."""
        folder, seed = self.folders[contender.name], contender.seed
        test_ys = dataset.test_ys.to(self.device)
        probabilities = predict_in_chunks(contender.model, dataset.test_xs.to(self.device))
        frame = history.to_frame()
        # A kill right after the last checkpoint may have left the table a row short.
        folder.write(seed, ".csv", frame.to_csv(index=False))
        result = {
            "experiment": self.name,
            "model": contender.name,
            "dataset": self.config.dataset,
            "labels": self.config.labels,
            "seed": seed,
            "test_accuracy": accuracy(probabilities, test_ys),
            "test_ece": expected_calibration_error(probabilities, test_ys),
            "test_rows": len(test_ys),
            "validation_rows": len(contender.data.validation_xs),
            "unlabelled_rows": contender.data.num_unlabelled,
            "selection": history.selection,
            "selected_epoch": history.selected_epoch,
            "termination": history.termination,
            "steps_per_epoch": contender.steps,
            "precision": contender.fit_config.precision,
            "execution": history.execution,
            "processes": process_share().processes,
            "seconds_per_epoch": frame["seconds"].median(),
            "split_digest": contender.split_digest,
            "device": describe_device(self.device),
            **self.environment,
            "config": folder.config,
        }
        title = f"{contender.name}, {self.config.dataset}, {self.config.labels} labels, seed {seed}"
        figures = {
            "learning_curves": plots.learning_curves(frame, title),
            "reliability": plots.reliability(probabilities, test_ys, f"{title}\ntest set"),
            **self._generative_figures(contender),
        }
        for name, figure in figures.items():
            figure.savefig(folder.file(seed, f"_{name}.png"), dpi=110)
        folder.write(seed, ".json", json.dumps(result, indent=2) + "\n")
        folder.log(seed, f"test accuracy {result['test_accuracy']:.4f}, {history.selection}")

    def _generative_figures(self, contender: Contender) -> dict[str, "Figure"]:
        model, data = contender.model, contender.data
        if not isinstance(model, M2):
            return {}
        torch.manual_seed(contender.seed)
        examples = data.validation_xs if len(data.validation_xs) else data.unlabelled_xs
        examples = examples if len(examples) else data.labelled_xs
        return {
            "samples": plots.class_samples(model),
            "analogies": plots.analogies(model, examples[:10]),
        }

    def _print_summary(self) -> None:
        results = [f.results(s) for f in self.folders.values() for s in self.config.seeds]
        print(f"\n{self.config.dataset}, {self.config.labels} labels, test set:")
        shown = ["model", "test_accuracy_%", "test_ece_%", "seeds", "seconds_per_epoch"]
        print(summarise(pd.DataFrame(results))[shown].to_string(index=False))
        for folder in self.folders.values():
            print(f"\n{folder.path}/")
            for seed in self.config.seeds:
                names = sorted(file.name for file in folder.path.glob(f"seed_{seed}[._]*"))
                print("  " + " ".join(names))

"""Trains contenders over seeds, to files: what all experiments share."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from experiments.devices import (
    describe_device,
    keep_freed_memory,
    launched_by_torchrun,
    resolve_device,
)
from experiments.options import NOT_RESULTS, RunOptions
from experiments.report import summarise
from experiments.run_folder import RunFolder, environment
from pyro_ssl import plots
from pyro_ssl.data import ImageDataset, SSLData
from pyro_ssl.errors import ConfigError, PyroSSLError
from pyro_ssl.infer import FitConfig, History, fit
from pyro_ssl.infer.processes import from_main, is_main, process_share
from pyro_ssl.infer.trainer import Row, Trainer
from pyro_ssl.models import PyroModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = dict[str, Any]
Figures = dict[str, "Figure"]


@dataclass(frozen=True)
class Contender:
    """One model of a comparison, with one seed.

    Attributes:
        name: the model's name in files and tables.
        seed: the seed.
        model: the model, newly initialised.
        data: the rows it may see.
        fit_config: how it is trained.
        split_digest: which rows are labelled, unlabelled, for validation.
        watch: called with the epochs trained so far, at the start and after each of them.
    """

    name: str
    seed: int
    model: PyroModel
    data: SSLData
    fit_config: FitConfig
    split_digest: str
    watch: Callable[[int], None] | None = None

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.fit_config.batches(self.data).steps


class Experiment:
    """Some contenders for every seed. A subclass says which, and how they are tested.

    Args:
        name: name of the experiment, also of its folder.
        config: its options.
        names: names of the contenders.
        suffix: what their folders' names end with, before the tag.
    """

    shown = ("epoch", "labelled_elbo", "unlabelled_elbo", "validation_accuracy", "validation_elbo")

    def __init__(self, name: str, config: RunOptions, names: list[str], suffix: str) -> None:
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
        self.name, self.options = name, config
        # Asked now: the source tree may move on while this process trains on what it loaded.
        self.environment = environment()
        self.device = resolve_device(config.device)
        root = Path(config.results_root) / name
        tag = f"-{config.tag}" if config.tag else ""
        self.paths = {n: root / f"{n}-{suffix}{tag}" for n in names}
        self.folders: dict[str, RunFolder] = {}

    def load(self) -> ImageDataset:
        """Return the data set, downloading it if need be."""
        raise NotImplementedError

    def contenders(self, dataset: ImageDataset, seed: int, trial: bool = False) -> list[Contender]:
        """Build the contenders of a seed.

        Args:
            dataset: where the rows come from.
            seed: seed of split, weights and noise.
            trial: they will not be trained, only looked at for what is wrong with the options.
        """
        raise NotImplementedError

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: ImageDataset
    ) -> tuple[Result, Figures]:
        """Read the test set, once: return figures of merit and figures to draw.

        Args:
            contender: the contender, its model trained.
            frame: its history.
            dataset: where the test rows are.
        """
        raise NotImplementedError

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        return {k: v for k, v in asdict(self.options).items() if k not in NOT_RESULTS}

    def run(self) -> None:
        """Train, test and write every seed, then print the comparison."""
        options = self.options
        if process_share().processes > 1:
            # One of them alone downloads what is missing.
            from_main(self._load)
        dataset = self.load()
        # Show whatever is wrong with the options before any result is touched.
        for contender in self.contenders(dataset, options.seeds[0], trial=True):
            Trainer(contender.model, contender.data, contender.fit_config)
        decisive = self.decisive(dataset)
        if process_share().processes > 1:
            decisive["processes"] = process_share().processes
        self.folders = {name: RunFolder(path, decisive) for name, path in self.paths.items()}
        from_main(self._claim_folders)
        if options.jobs == 1:
            for seed in options.seeds:
                self._run_seed(seed, dataset)
        else:
            # Each process loads the rows itself, and has its share of the cores from joblib.
            del dataset
            Parallel(n_jobs=options.jobs)(delayed(self._run_seed)(s) for s in options.seeds)
        if is_main():
            self._print_summary()

    def _load(self) -> None:
        self.load()

    def _claim_folders(self) -> None:
        seeds, overwrite = self.options.seeds, self.options.overwrite
        for folder in self.folders.values():
            if overwrite:
                folder.check_replaceable(seeds)
        for folder in self.folders.values():
            folder.claim(seeds, overwrite)

    def _run_seed(self, seed: int, dataset: ImageDataset | None = None) -> None:
        """Train and test every contender, in this process."""
        keep_freed_memory()
        dataset = dataset or self.load()
        for contender in self.contenders(dataset, seed):
            folder = self.folders[contender.name]
            if from_main(partial(folder.begin, seed, self.options.resume)):
                self._write(contender, self._fit(contender), dataset)
            else:
                print(f"{contender.name} seed {seed} is finished in {folder.path}: kept")

    def _fit(self, contender: Contender) -> History:
        """Train, writing the CSV after every epoch and the checkpoint beside it."""
        folder, seed = self.folders[contender.name], contender.seed
        checkpoint = folder.file(seed, ".pt")
        resume = self.options.resume and from_main(checkpoint.exists)
        folder.log(seed, f"{'resume' if resume else 'start'} on {self.device}: {self.options}")
        if contender.watch is not None and not resume:
            contender.watch(0)
        steps = contender.steps
        with tqdm(
            total=contender.fit_config.epochs * steps,
            desc=f"{contender.name} seed {seed}",
            unit="step",
            disable=self.options.quiet or self.options.jobs > 1,
        ) as bar:

            def on_epoch(rows: list[Row]) -> None:
                folder.write(seed, ".csv", pd.DataFrame(rows).to_csv(index=False))
                last = {k: f"{v:.5g}" for k, v in rows[-1].items()}
                folder.log(seed, " ".join(f"{k}={v}" for k, v in last.items()))
                bar.set_postfix({k: last[k] for k in self.shown if k in last}, refresh=False)
                bar.update(len(rows) * steps - bar.n)
                if contender.watch is not None:
                    contender.watch(len(rows))

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

    def _write(self, contender: Contender, history: History, dataset: ImageDataset) -> None:
        """Test, and write the seed's figures and JSON file."""
        folder, seed = self.folders[contender.name], contender.seed
        frame = history.to_frame()
        # A kill right after the last checkpoint may have left the table a row short.
        folder.write(seed, ".csv", frame.to_csv(index=False))
        title = f"{folder.path.name}, seed {seed}"
        measures, figures = self.test(contender, frame, dataset)
        result = {
            "experiment": self.name,
            "model": contender.name,
            "dataset": dataset.name,
            "seed": seed,
            **measures,
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
        figures = {"learning_curves": plots.learning_curves(frame, title), **figures}
        for name, figure in figures.items():
            figure.savefig(folder.file(seed, f"_{name}.png"), dpi=110)
        folder.write(seed, ".json", json.dumps(result, indent=2) + "\n")
        folder.log(seed, f"tested, {history.selection}: {measures}")

    def _print_summary(self) -> None:
        results = [f.results(s) for f in self.folders.values() for s in self.options.seeds]
        table = summarise(pd.DataFrame(results))
        print(f"\n{table['dataset'].iloc[0]}, test set:")
        unsaid = ("dataset", "validation_rows", "device")
        print(table.drop(columns=[c for c in unsaid if c in table]).to_string(index=False))
        for folder in self.folders.values():
            print(f"\n{folder.path}/")
            for seed in self.options.seeds:
                names = sorted(file.name for file in folder.path.glob(f"seed_{seed}[._]*"))
                print("  " + " ".join(names))

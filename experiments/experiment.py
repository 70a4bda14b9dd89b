"""Trains contenders over seeds, to files: what all experiments share."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import pandas as pd
from joblib import Parallel, delayed
from torch import Tensor

from experiments.contender import Contender, train
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
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import History, load_model
from pyro_ssl.infer.processes import is_main, process_share, run_in_main_process
from pyro_ssl.infer.trainer import Trainer
from pyro_ssl.models import PyroModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = dict[str, Any]
Figures = dict[str, "Figure"]


class Named(Protocol):
    """What an experiment's data come from."""

    @property
    def name(self) -> str:
        """What it is called in files and tables."""


Data = TypeVar("Data", bound=Named)


class Experiment(Generic[Data]):
    """Some contenders for every seed. A subclass says which, and how they are tested.

    Args:
        name: name of the experiment, also of its folder.
        config: its options.
        names: names of the contenders.
        suffix: what their folders' names end with, before the tag; may be empty.
    """

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
        ending = [part for part in (suffix, config.tag) if part]
        self.paths = {n: root / "-".join([n, *ending]) for n in names}
        self.folders: dict[str, RunFolder] = {}
        self._trained: dict[tuple[str, int], PyroModel] = {}

    def load(self) -> Data:
        """Return the data set, downloading it if need be."""
        raise NotImplementedError

    def contenders(self, dataset: Data, seed: int, trial: bool = False) -> list[Contender]:
        """Build the contenders of a seed.

        Args:
            dataset: where the rows come from.
            seed: seed of split, weights and noise.
            trial: they will not be trained, only looked at for what is wrong with the options.
        """
        raise NotImplementedError

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: Data
    ) -> tuple[Result, Figures]:
        """Read the test set, once: return figures of merit and figures to draw.

        Args:
            contender: the contender, its model trained.
            frame: its history.
            dataset: where the test rows are.
        """
        raise NotImplementedError

    def decisive(self, dataset: Data) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        return {k: v for k, v in asdict(self.options).items() if k not in NOT_RESULTS}

    def decisive_for(self, name: str, decisive: dict[str, Any]) -> dict[str, Any]:
        """Return those of the decisive options that concern the contender of that name."""
        return decisive

    def trained(self, name: str, seed: int) -> PyroModel:
        """Return the model of a contender of this seed that came before, in evaluation mode."""
        if (name, seed) not in self._trained:
            model = load_model(self.folders[name].file(seed, ".pt"))
            self._trained[name, seed] = model.to(self.device)
        return self._trained[name, seed]

    def seeds_to_run(self) -> list[int]:
        """Return the seeds that some contender has no results of yet; all, if they are replaced."""
        if self.options.overwrite:
            return list(self.options.seeds)
        folders = self.paths.values()
        return [
            s
            for s in self.options.seeds
            if not all((f / f"seed_{s}.json").exists() for f in folders)
        ]

    def run(self) -> None:
        """Train, test and write every seed, then print the comparison."""
        options = self.options
        if process_share().processes > 1:
            # One of them alone downloads what is missing.
            run_in_main_process(self._load)
        dataset = self.load()
        # Show whatever is wrong with the options before any result is touched.
        self.check(dataset)
        decisive = self.decisive(dataset)
        if process_share().processes > 1:
            decisive["processes"] = process_share().processes
        self.folders = {
            name: RunFolder(path, self.decisive_for(name, decisive))
            for name, path in self.paths.items()
        }
        run_in_main_process(self._claim_folders)
        if options.jobs == 1:
            for seed in options.seeds:
                self.run_seed(seed, dataset)
        else:
            # Each process loads the rows itself, and has its share of the cores from joblib.
            del dataset
            Parallel(n_jobs=options.jobs)(delayed(self.run_seed)(s) for s in options.seeds)
        if is_main():
            self.print_summary()

    def _load(self) -> None:
        self.load()

    def _claim_folders(self) -> None:
        seeds, overwrite = self.options.seeds, self.options.overwrite
        for folder in self.folders.values():
            if overwrite:
                folder.check_replaceable(seeds)
        for folder in self.folders.values():
            folder.claim(seeds, overwrite)

    def check(self, dataset: Data) -> None:
        """Raise what is wrong with the options, if anything is."""
        for contender in self.contenders(dataset, self.options.seeds[0], trial=True):
            Trainer(contender.model, contender.data, contender.fit_config)

    def run_seed(self, seed: int, dataset: Data | None = None) -> None:
        """Train and test every contender, in this process; load the data if they are not given."""
        keep_freed_memory()
        dataset = dataset or self.load()
        pending = []
        for name, folder in self.folders.items():
            if run_in_main_process(partial(folder.begin, seed, self.options.resume)):
                pending.append(name)
            else:
                print(f"{name} seed {seed} is finished in {folder.path}: kept")
        if not pending:
            return
        for contender in self.contenders(dataset, seed):
            if contender.name in pending:
                history, memory = train(contender, self.folders[contender.name], self.options)
                # The other processes of torchrun have nowhere to write, and wait.
                run_in_main_process(partial(self._write, contender, history, memory, dataset))

    def _write(
        self, contender: Contender, history: History, memory: float | None, dataset: Data
    ) -> None:
        """Test, and write the seed's figures and JSON file."""
        folder, seed = self.folders[contender.name], contender.seed
        # Other seeds' models are on disk, should they be asked for.
        self._trained = {key: model for key, model in self._trained.items() if key[1] == seed}
        self._trained[contender.name, seed] = contender.model
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
            "peak_memory_mib": memory,
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

    def print_summary(self) -> None:
        """Print the comparison, and where the files are."""
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


def mean_with_error(name: str, values: Tensor) -> Result:
    """Return the mean over rows and its standard error, in the unit of the values."""
    error = values.std() / len(values) ** 0.5
    return {name: values.mean().item(), f"{name}_standard_error": error.item()}

"""Runs comparisons of models, whatever trains them: from a command line to files and a table."""

import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from experiments.engine import options as run_options
from experiments.engine.options import Options
from experiments.engine.results import SHOWN, RunFolder, print_results
from pyro_ssl.errors import ConfigError, PyroSSLError, WorkerError
from pyro_ssl.infer import devices, load_model
from pyro_ssl.infer.clusters import compute
from pyro_ssl.infer.processes import is_main, process_share, run_in_main_process
from pyro_ssl.models import PyroModel
from pyro_ssl.signals import exit_code, termination_interrupts
from pyro_ssl.trials import add_trial, options_of_trial
from pyro_ssl.versions import environment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = dict[str, Any]
Figures = Mapping[str, "Figure"]


@dataclass(frozen=True)
class Comparison:
    """Some models on one data set, trained and tested with every seed.

    Attributes:
        name: name of the experiment, and of its folder.
        config: its options.
        models: names of the models, with which their folders' names begin.
        suffix: end of the folders' names, before the tag; may be empty.
        load: returns the data set, given the options; downloads it if necessary.
        settings: returns what identifies a model's configuration, given its name and the data set.
        check: raises an error if the options are invalid, given the first seed.
        run_seed: trains and tests a seed's unfinished models; each ends with `SeedRun.finish`.
        after: called after all seeds.
        shared: whether torchrun's processes can train one run together.
    """

    name: str
    config: Any
    models: tuple[str, ...]
    suffix: str
    load: Callable[[Any], Any]
    settings: Callable[[str, Any], dict[str, Any]]
    check: Callable[["SeedRun"], None]
    run_seed: Callable[["SeedRun"], None]
    after: Callable[[], None] | None = None
    shared: bool = True

    def path(self, model: str) -> Path:
        """Return the folder of a model's results."""
        name = run_options.folder_name(model, self.suffix, self.config.tag)
        return Path(self.config.results_root) / self.name / name


@dataclass(frozen=True)
class SeedRun:
    """One seed of a comparison: its data, and the folders of its files.

    Attributes:
        comparison: the comparison.
        seed: the seed.
        dataset: what `Comparison.load` returned.
        folders: the folder of each model.
        code: versions and commit, for the results.
        pending: the models that are not finished.
    """

    comparison: Comparison
    seed: int
    dataset: Any
    folders: Mapping[str, RunFolder]
    code: Mapping[str, Any]
    pending: tuple[str, ...] = ()

    @property
    def config(self) -> Any:
        """The options."""
        return self.comparison.config

    @property
    def device(self) -> torch.device:
        """Device for training."""
        return devices.resolve_device(self.config.device)

    def file(self, model: str, suffix: str) -> Path:
        """Return the path of a model's file with a suffix, such as `.csv`."""
        return self.folders[model].file(self.seed, suffix)

    def trained(self, model: str) -> PyroModel:
        """Return a model of this seed that was trained before, in evaluation mode."""
        return load_model(self.file(model, ".pt")).to(self.device)

    def finish(self, model: str, result: Result, figures: Figures | None = None) -> None:
        """Write figures, by the ends of their names, then the JSON file: the model is finished."""
        folder = self.folders[model]
        for name, figure in (figures or {}).items():
            figure.savefig(self.file(model, f"_{name}.png"), dpi=110)
        whole = {
            "experiment": self.comparison.name,
            "model": model,
            "dataset": self.dataset.name,
            "seed": self.seed,
            **result,
            "device": devices.describe_device(self.device),
            **self.code,
            "files": [f.name for f in folder.files(self.seed) if f.suffix in SHOWN],
            "config": folder.config,
        }
        folder.write(self.seed, ".json", json.dumps(whole, indent=2) + "\n")
        add_trial(self.config, self.comparison.name, whole)


def run_command(
    comparison: Callable[[Options], Comparison], config: Options, args: Sequence[str] | None = None
) -> int:
    """Run the comparison for a command's options, parsed from `args`; return the exit status."""
    config = options_of_trial(config, run_options.recorded_options(config))
    return guard(lambda options: run_comparisons([comparison(options)]), config, args)


@termination_interrupts()
def guard(work: Callable[[Options], None], config: Options, args: Sequence[str] | None) -> int:
    """Run a command; turn its errors into a line on the screen and an exit status."""
    resume = devices.command_to_resume(args)
    try:
        with devices.joined_processes(devices.resolve_device(config.device)):
            if is_main():
                work(config)
            else:
                # Only the files of torchrun's first process are kept.
                with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
                    work(replace(config, results_root=folder, quiet=True))
    except (PyroSSLError, OSError) as error:
        more = f": go on with {resume}" if isinstance(error, WorkerError) else ""
        devices.tell(f"error: {error}{more}")
        return 1
    except KeyboardInterrupt as interrupt:
        devices.tell(f"\ninterrupted. Go on with:\n  {resume}")
        return exit_code(interrupt)
    return 0


def run_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Run comparisons with common options of runs; an error in any of them is raised at once."""
    if comparisons[0].config.side_by_side:
        _run_side_by_side(comparisons)
        return
    for comparison in comparisons[1:]:
        _first_seed(comparison)
    for comparison in comparisons:
        first = _first_seed(comparison)
        run_in_main_process(partial(_claim, first.folders, comparison.config))
        for seed in comparison.config.seeds:
            _run_seed(replace(first, seed=seed))
        _report(first)


def _run_side_by_side(comparisons: Sequence[Comparison]) -> None:
    config = comparisons[0].config
    firsts = [replace(_first_seed(comparison), dataset=None) for comparison in comparisons]
    for first in firsts:
        _claim(first.folders, config)
    runs = [replace(first, seed=seed) for first in firsts for seed in first.config.seeds]
    for run in runs:
        for folder in run.folders.values():
            folder.begin(run.seed, run.config.resume)
    compute(_run_seed, [_for_worker(r) for r in runs], config.jobs, config.backend, config.address)
    for first in firsts:
        _report(first)


def _for_worker(run: SeedRun) -> SeedRun:
    """Return a run for another process, which loads the rows and writes to the same files."""
    folders = {name: RunFolder(f.path.resolve(), f.config) for name, f in run.folders.items()}
    comparison = replace(run.comparison, config=run_options.for_worker(run.config))
    return replace(run, comparison=comparison, folders=folders)


def _report(first: SeedRun) -> None:
    if is_main():
        print_results(first.folders.values(), first.config.seeds)
        if first.comparison.after is not None:
            first.comparison.after()


def _first_seed(comparison: Comparison) -> SeedRun:
    """Return the run of the first seed, after a check of the options."""
    config = comparison.config
    run_options.check_run_options(config)
    if devices.launched_by_torchrun() and not comparison.shared:
        raise ConfigError(f"torchrun cannot run {comparison.name}: use --jobs instead")
    if devices.launched_by_torchrun() and config.side_by_side:
        raise ConfigError("torchrun's processes share one run: leave --jobs and --backend out")
    # Determined now: the source tree may change while this process trains on what it loaded.
    code = environment()
    processes = process_share().processes
    if processes > 1:
        # Only one process downloads missing data.
        run_in_main_process(lambda: comparison.load(config).name)
    dataset = comparison.load(config)
    folders, more = {}, {"processes": processes} if processes > 1 else {}
    for model in comparison.models:
        settings = comparison.settings(model, dataset) | more
        folders[model] = RunFolder(comparison.path(model), settings)
    first = SeedRun(comparison, config.seeds[0], dataset, folders, code)
    comparison.check(first)
    return first


def _claim(folders: Mapping[str, RunFolder], config: Any) -> None:
    with ExitStack() as locks:
        for folder in folders.values():
            for seed in config.seeds:
                locks.enter_context(folder.lock(seed))
            if config.overwrite:
                folder.check_replaceable(config.seeds)
        for folder in folders.values():
            folder.claim(config.seeds, config.overwrite)
            for seed in filter(folder.finished, config.seeds):
                folder.results(seed)


def _run_seed(run: SeedRun) -> None:
    """Run the unfinished models of a seed in this process; load the data if necessary."""
    devices.keep_freed_memory()
    if run.dataset is None:
        run = replace(run, dataset=run.comparison.load(run.config))
    with ExitStack() as locks:
        pending = []
        for model, folder in run.folders.items():
            run_in_main_process(partial(locks.enter_context, folder.lock(run.seed)))
            if kept := run_in_main_process(partial(folder.begin, run.seed, run.config.resume)):
                print(f"{model} seed {run.seed} is finished in {folder.path}: {kept}")
            else:
                pending.append(model)
        if pending:
            run.comparison.run_seed(replace(run, pending=tuple(pending)))

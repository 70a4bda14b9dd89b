"""Training of models by `fit`: progress on the screen, files during the run, and measures."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from experiments.engine.options import TrainingOptions
from experiments.engine.results import display_name
from experiments.engine.runner import Figures, Result, SeedRun
from pyro_ssl import plots
from pyro_ssl.data import SSLData
from pyro_ssl.errors import PyroSSLError
from pyro_ssl.infer import FitConfig, History, MLflowLogger, TensorBoardLogger, fit
from pyro_ssl.infer.devices import forget_peak_memory, peak_memory, resolve_precision
from pyro_ssl.infer.processes import process_share, run_in_main_process
from pyro_ssl.infer.progress import Progress
from pyro_ssl.infer.trainer import Trainer
from pyro_ssl.models import PyroModel, SSLModel
from pyro_ssl.results import run_csv
from pyro_ssl.trials import is_trial

# Figures shown in the progress bar.
_SHOWN = ("epoch", "labelled_elbo", "unlabelled_elbo", "validation_accuracy", "validation_elbo")


@dataclass(frozen=True)
class Contender:
    """One model of a comparison, with one seed.

    Attributes:
        name: the model's name in files and tables.
        run: the seed's run that it is part of.
        model: the model, newly initialised.
        data: the rows it may see.
        fit_config: options of its training.
        split_digest: identifies the labelled, unlabelled and validation rows.
        watch: called with the number of epochs made, at the start and after each epoch.
        builds_on: other objects for its measures, such as the model that its inputs come from.
        identity: the checkpoint's name for the rows, if they are computed; see `fit`.
        history: one row per epoch, as `History.to_frame` returns; empty before training.
    """

    name: str
    run: SeedRun
    model: PyroModel
    data: SSLData
    fit_config: FitConfig
    split_digest: str
    watch: Callable[[int], None] | None = None
    builds_on: Any = None
    identity: str | None = None
    history: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def seed(self) -> int:
        """The seed."""
        return self.run.seed

    @property
    def steps(self) -> int:
        """Number of steps per epoch."""
        return self.fit_config.batches(self.data).steps

    @property
    def device(self) -> torch.device:
        """Device of the training."""
        return self.data.labelled_xs.device


Contenders = Callable[[SeedRun], list[Contender]]
# Returns figures of merit, and figures to draw, given a trained contender, data set and options.
Measure = Callable[[Contender, Any, Any], tuple[Result, Figures]]


def fit_config(
    config: TrainingOptions, device: torch.device, seed: int, steps_per_epoch: int | None = None
) -> FitConfig:
    """Return the options of `fit` for the options of an experiment."""
    return FitConfig(
        epochs=config.epochs,
        batch_size=config.batch_size,
        steps_per_epoch=steps_per_epoch,
        learning_rate=config.learning_rate,
        learning_rate_schedule=config.learning_rate_schedule,
        learning_rate_warmup=config.learning_rate_warmup,
        anneal={},
        binarise=config.binarise,
        precision=resolve_precision(config.precision, device),
        compile=config.compile,
        cuda_graph=config.cuda_graph,
        engine=config.engine,
        keep_best=config.keep_best,
        patience=config.patience,
        seed=seed,
    )


def check_contenders(contenders: Contenders, run: SeedRun) -> None:
    """Raise an error if the options are invalid."""
    for contender in contenders(run):
        _logger(contender)
        Trainer(contender.model, contender.data, contender.fit_config)


def fit_contenders(contenders: Contenders, measures: Sequence[Measure], run: SeedRun) -> None:
    """Train and test the unfinished models of a seed, one after the other."""
    for contender in contenders(run):
        if contender.name in run.pending:
            history, memory = train(contender)
            # The other processes of torchrun have nothing to write, and wait.
            run_in_main_process(partial(_finish, contender, history, memory, measures))


def train(contender: Contender) -> tuple[History, float | None]:
    """Train in place, writing the CSV after every epoch and the checkpoint beside it.

    Returns the history, and the peak memory in MiB from this process's second epoch on, when
    everything is compiled; None if it made only one epoch, or the system does not report it.
    """
    run, seed = contender.run, contender.seed
    folder, options = run.folders[contender.name], run.config
    checkpoint = run.file(contender.name, ".pt")
    resume = options.resume and run_in_main_process(checkpoint.exists)
    folder.log(seed, f"{'resume' if resume else 'start'} on {contender.device}: {options}")
    if contender.watch is not None and not resume:
        contender.watch(0)
    steps = contender.steps
    total, epochs = contender.fit_config.total_steps(steps), 0
    description = f"{display_name(contender.name)} seed {seed}"
    bar = tqdm(total=total, desc=description, unit="step", disable=options.quiet)
    with bar, _logger(contender) as log:

        def on_epoch(progress: Progress) -> None:
            nonlocal epochs
            rows = progress.rows
            epochs += 1
            if epochs == 1:
                forget_peak_memory(contender.device)
            folder.write(seed, ".csv", _csv(contender, pd.DataFrame(rows)))
            last = {k: f"{v:.5g}" for k, v in rows[-1].items()}
            folder.log(seed, " ".join(f"{k}={v}" for k, v in last.items()))
            bar.set_postfix({k: last[k] for k in _SHOWN if k in last}, refresh=False)
            bar.update(min(len(rows) * steps, total) - bar.n)
            if contender.watch is not None:
                contender.watch(len(rows))
            log(progress)

        def on_step(progress: Progress) -> None:
            bar.update()

        try:
            history = fit(
                contender.model,
                contender.data,
                contender.fit_config,
                checkpoint=checkpoint,
                resume=resume,
                on_epoch=on_epoch,
                on_step=on_step,
                identity=contender.identity,
            )
            return history, peak_memory(contender.device) if epochs > 1 else None
        except KeyboardInterrupt:
            folder.log(seed, "interrupted")
            print(f"\n{checkpoint} holds the last whole epoch", file=sys.stderr)
            raise
        except PyroSSLError as error:
            folder.log(seed, f"error: {error}")
            raise


def _finish(
    contender: Contender, history: History, memory: float | None, measures: Sequence[Measure]
) -> None:
    """Measure a trained contender, reading the test set only this once; write the results."""
    run, name = contender.run, contender.name
    folder, frame = run.folders[name], history.to_frame()
    # A kill right after the last checkpoint may have left the CSV one row short.
    folder.write(run.seed, ".csv", _csv(contender, frame))
    contender = replace(contender, history=frame)
    measured: Result = {}
    title = f"{display_name(folder.path.name)}, seed {run.seed}"
    figures = {"learning_curves": plots.learning_curves(frame, title)}
    for measure in measures if not is_trial(run.config) else ():
        found, drawn = measure(contender, run.dataset, run.config)
        measured |= found
        figures |= drawn
    if is_trial(run.config):
        measured = {"labels": contender.data.num_labelled} | _validated(frame, history)
    about_training = {
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
    }
    run.finish(name, measured | about_training, figures)
    folder.log(run.seed, f"tested, {history.selection}: {measured}")


def _validated(frame: pd.DataFrame, history: History) -> Result:
    """Return the validation figures of the selected epoch, and of the last one as `last_...`."""
    frame = frame.filter(like="validation_").join(frame["epoch"])
    selected = frame[frame["epoch"] == history.selected_epoch].iloc[0].drop("epoch")
    last = frame.iloc[-1].drop("epoch").add_prefix("last_")
    return {str(k): v for k, v in (*selected.items(), *last.items(), ("epochs", len(frame)))}


def _logger(contender: Contender) -> AbstractContextManager[Callable[[Progress], None]]:
    """Return a callback to log every epoch, which is closed at the end."""
    run, name = contender.run, contender.name
    kind = run.config.log if isinstance(run.config, TrainingOptions) else None
    folder = run.folders[name]
    if kind == "mlflow":
        title = f"{folder.path.name} seed {run.seed}"
        return MLflowLogger(run.comparison.name, title, options=folder.config)
    if kind == "tensorboard":
        files = Path(run.config.results_root) / "tensorboard" / run.comparison.name
        seed = files / folder.path.name / f"seed_{run.seed}"
        return TensorBoardLogger(seed, options=folder.config)
    return nullcontext(lambda progress: None)


def _csv(contender: Contender, frame: pd.DataFrame) -> str:
    """Return the rows of a history as the text of the run's CSV."""
    labels = contender.data.num_labelled if isinstance(contender.model, SSLModel) else None
    dataset = contender.run.dataset.name
    return run_csv(frame, model=contender.name, dataset=dataset, labels=labels, seed=contender.seed)


def mean_with_error(name: str, values: Tensor) -> Result:
    """Return the mean over rows and its standard error, in the unit of the values."""
    error = values.std() / len(values) ** 0.5
    return {name: values.mean().item(), f"{name}_standard_error": error.item()}

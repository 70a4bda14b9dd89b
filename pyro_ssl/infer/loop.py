"""The training loop."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyro

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.files import as_path
from pyro_ssl.infer.checkpoint import load_checkpoint, own_random_state, save_checkpoint
from pyro_ssl.infer.config import FitConfig
from pyro_ssl.infer.data_checks import check_fits
from pyro_ssl.infer.digests import digests_of
from pyro_ssl.infer.engine import first_failed_parameter
from pyro_ssl.infer.leftovers import leaving_nothing
from pyro_ssl.infer.processes import is_main, process_share, run_in_main_process
from pyro_ssl.infer.progress import Progress, Row
from pyro_ssl.infer.selection import better, out_of_patience
from pyro_ssl.infer.stored import check_storable
from pyro_ssl.infer.trainer import Trainer
from pyro_ssl.models.base import PyroModel
from pyro_ssl.options import checked
from pyro_ssl.reading import refusing

if TYPE_CHECKING:
    import pandas as pd

Callback = Callable[[Progress], None]


@dataclass
class History:
    """The course of a run.

    Attributes:
        rows: one dict for each epoch, with the terms of `pyro_ssl.elbos.terms.objective_terms`, and
            `epoch`, `seconds` of training, `loss`, `gradient_norm` (of the loss, over all
            parameters, before the step and any cap), `penalty` if there is one,
            `validation_accuracy` and `validation_ece`; or, of real labels, `validation_log_q_y`
            (nats) and `validation_rmse`; or else `validation_elbo` (nats per example). With
            `validation_bound` also that, and `validation_kl_z_D` (nats) of each latent
            dimension D, from 0. With `select="bound"` also `validation_joint_bound`, see
            `pyro_ssl.metrics.joint_bound`.
        selection: the epoch whose weights the model has now: `best validation accuracy`, `best
            validation joint bound`, `best validation elbo` or `last epoch`.
        selected_epoch: the number of that epoch, from 0.
        termination: `all epochs`, `patience`, or `callback` where one called `stop()`.
        execution: how steps ran: `eager` or `compiled`, `in a CUDA graph` or not; or `SVI`.
    """

    rows: list[Row] = field(default_factory=list)
    selection: str = "last epoch"
    selected_epoch: int = -1
    termination: str = "all epochs"
    execution: str = "eager"

    def to_frame(self) -> "pd.DataFrame":
        """Return the rows as a pandas data frame."""
        import pandas as pd

        return pd.DataFrame(self.rows)


@checked
def fit(
    model: PyroModel,
    data: SSLData,
    config: FitConfig | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    on_epoch: Callback | None = None,
    on_step: Callback | None = None,
    identity: str | None = None,
) -> History:
    """Train `model` on `data` in place and return the course of the run.

    Each minibatch is one evaluation of the objective and one step of the optimiser. The global
    random state and Pyro's parameter store do not change; after a run without errors the model is
    in evaluation mode. Trained parameters have no gradients afterwards, not even those that they
    had before. The state after every whole epoch is written to `checkpoint`, so that an interrupt
    or a kill costs at most one epoch; a resumed run ends like one that never stopped, bit for bit
    on a CPU.

    If `torch.distributed` is initialised (`torchrun` starts such processes), all of its processes
    make the same call and train one model together, each with its share of every minibatch; batch
    norm sees only a share. Only the first process uses `on_epoch`, `on_step` and `checkpoint`.

    Args:
        model: the model, on the device of the data.
        data: the data.
        config: options of training; all defaults if None.
        checkpoint: file to keep the state in; None for no file.
        resume: start from `checkpoint` instead of the model's present weights.
        on_epoch: called after every epoch with a `Progress`: the model, the history so far,
            and `stop()` to end the run.
        on_step: called with a `Progress` after every step.
        identity: what the checkpoint calls the rows, in place of a digest of their values (a second
            for a gigabyte, once a run): for inputs that are computed, such as latents, and may come
            out with other rounding when the run is resumed.

    Raises:
        ConfigError: if the configuration does not suit the data, `checkpoint` exists without
            `resume`, or the model could not be loaded again from a checkpoint.
        DataError: if the data does not suit the model.
        CheckpointError: if there is no usable checkpoint of this run to resume from.
        NonFiniteError: naming the site that was not finite; the model and the checkpoint then have
            the state after the last good epoch.
    """
    config = config or FitConfig()
    check_fits(model, data, binarise=config.binarise is True)
    path = as_path(checkpoint, "checkpoint") if checkpoint is not None else None
    if path is not None and not resume and run_in_main_process(path.exists):
        raise ConfigError(f"checkpoint {path} exists already: pass resume=True, or delete the file")
    if path is not None:
        run_in_main_process(partial(check_storable, model))
    # Several processes must not draw the same noise.
    seed = config.seed + 1_000_003 * process_share().rank
    randomness = own_random_state(seed, data.labelled_xs.device)
    store = pyro.get_param_store().scope()
    with leaving_nothing(model), randomness, store, pyro.validation_enabled(False):
        trainer = Trainer(model, data, config)
        if path is not None:
            trainer.digests = run_in_main_process(partial(digests_of, data, identity))
        if resume:
            if path is None:
                raise ConfigError("resume is True, but checkpoint, its file, is None")
            with refusing(path):
                trainer.load_state(run_in_main_process(lambda: load_checkpoint(path)))
        termination = _train(trainer, path, on_epoch, on_step)
    history = History(
        trainer.progress.rows,
        selected_epoch=trainer.progress.epoch - 1,
        termination=termination,
        execution=trainer.execution,
    )
    trainer.average.put_in_place()
    if config.keep_best and trainer.best is not None:
        model.load_state_dict(trainer.best["model"])
        history.selection = f"best {trainer.best['measure'].replace('_', ' ')}"
        history.selected_epoch = trainer.best["epoch"]
    model.eval()
    return history


def _train(
    trainer: Trainer,
    path: Path | None,
    on_epoch: Callback | None,
    on_step: Callback | None,
) -> str:
    """Run the remaining epochs and return why they ended."""
    config, progress = trainer.config, trainer.progress
    snapshot = trainer.state()
    if not progress.epoch:
        # A state that was resumed from is there already.
        _save(snapshot, path)
    while progress.epoch < config.epochs:
        if out_of_patience(progress, config, trainer.best):
            return "patience"
        row = _run_epoch(trainer, on_step if is_main() else None, snapshot)
        with trainer.average.in_place():
            row.update(run_in_main_process(trainer.validate))
            progress.rows.append(row)
            trainer.best = better(progress, config, trainer.best)
        snapshot = trainer.state()
        _save(snapshot, path)
        with trainer.average.in_place():
            # Only the main process calls the callbacks, and tells all others whether to stop.
            stopped = run_in_main_process(partial(_is_stopped, progress, on_epoch))
        if stopped:
            return "callback"
    return "all epochs"


def _run_epoch(trainer: Trainer, on_step: Callback | None, snapshot: dict[str, Any]) -> Row:
    """Run an epoch; what was measured, and the model, are then finite."""
    cause: Exception | None = None
    try:
        row = trainer.run_epoch(on_step)
    except (RuntimeError, ValueError) as error:
        # Some distributions refuse parameters that are not finite.
        if first_failed_parameter(trainer.model) is None:
            raise
        row, cause = {"loss": math.nan}, error
    finite = all(map(math.isfinite, row.values()))
    if not finite or first_failed_parameter(trainer.model) is not None:
        raise trainer.locate_non_finite(snapshot) from cause
    return row


def _is_stopped(progress: Progress, on_epoch: Callback | None) -> bool:
    if on_epoch is not None:
        on_epoch(progress)
    return progress.stopped


def _save(snapshot: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        run_in_main_process(partial(save_checkpoint, snapshot, path))

"""The parts of one run: objective, engine, epochs, and a state that can be restored."""

import copy
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pyro

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.errors import ConfigError, NonFiniteError
from pyro_ssl.infer.averaging import WeightAverage
from pyro_ssl.infer.capture import CapturedStep
from pyro_ssl.infer.checkpoint import (
    check_belongs,
    own_random_state,
    random_states,
    set_random_states,
)
from pyro_ssl.infer.config import FitConfig
from pyro_ssl.infer.data_checks import check_batch_norm
from pyro_ssl.infer.digests import check_digests
from pyro_ssl.infer.engine import Engine, first_failed_parameter
from pyro_ssl.infer.native import NativeEngine
from pyro_ssl.infer.objective import Objective
from pyro_ssl.infer.processes import (
    copy_buffers_from_main,
    gather,
    mean_over_processes,
    process_share,
)
from pyro_ssl.infer.progress import Progress, Row
from pyro_ssl.infer.selection import check_selection
from pyro_ssl.infer.stored import stored_options
from pyro_ssl.infer.svi import SVIEngine
from pyro_ssl.infer.validation import validate
from pyro_ssl.models.base import PyroModel
from pyro_ssl.nets.modes import frozen_parts, set_training


class Trainer:
    """Trains a model epoch by epoch; users call `pyro_ssl.infer.fit`, which uses it.

    Args:
        model: the model, already on the data's device.
        data: the data.
        config: options of training.

    Attributes:
        digests: digests of the data, stored in states; see `pyro_ssl.infer.digests`.
        average: the average of the weights; has no effect without `FitConfig.weight_average`.
    """

    def __init__(self, model: PyroModel, data: SSLData, config: FitConfig) -> None:
        # The recommendation may name a latent that a user's subclass does not have.
        self._asked_to_anneal = config.anneal is not None
        self.share = process_share()
        config = config.resolved(model, data, self.share)
        self.model, self.data, self.config = model, data, config
        self.digests: dict[str, str] | None = None
        self.device = data.labelled_xs.device
        self._frozen = frozen_parts(model)
        self.batches = config.batches(data, self.share)
        check_selection(model, data, config)
        check_batch_norm(model, data, self.batches, self._frozen)
        self.objective = self._make_objective()
        self.compiles = self._may_compile() and config.compiles(self.batches.steps)
        self.engine = self._make_engine()
        self.progress = Progress(model)
        self.average = WeightAverage(model, config.weight_average, data, self._frozen)
        self.best: dict[str, Any] | None = None
        self._prepare_step()

    @property
    def execution(self) -> str:
        """How steps run: `eager` or `compiled`, with `in a CUDA graph` or without; or `SVI`."""
        captured = isinstance(self._step, CapturedStep) and self._step.graph is not None
        return self.engine.execution + (", in a CUDA graph" if captured else "")

    def run_epoch(self, on_step: Callable[[Progress], None] | None = None) -> Row:
        """Train for one epoch and return its row: means of terms in nats per example.

        The terms are summed on the device and read once, after the last step. If a sum is not
        finite, neither is the row; `locate_non_finite` then finds the cause.
        """
        self._begin_epoch()
        started = time.perf_counter()
        steps = self._steps_of_epoch()
        for _ in range(steps):
            self._step()
            self.average.update(self.progress.step)
            self.progress.step += 1
            if on_step is not None:
                on_step(self.progress)
        names, sums = self.engine.totals.sums()
        means = mean_over_processes(sums).div(steps).tolist()
        copy_buffers_from_main(self.model)
        seconds = time.perf_counter() - started
        epoch = self.progress.epoch
        row = {"epoch": epoch, "seconds": seconds, **dict(zip(names, means, strict=True))}
        self.progress.epoch += 1
        return row

    def validate(self) -> Row:
        """Return the measures of `pyro_ssl.infer.validation.validate` for the present model."""
        return validate(self.model, self.data, self.config)

    def locate_non_finite(self, snapshot: dict[str, Any]) -> NonFiniteError:
        """Return an error that names the place where the epoch after `snapshot` became non-finite.

        It replays the epoch, inspects every step, and then restores `snapshot`. A run of several
        processes is not replayed.
        """
        self.load_state(snapshot)
        self._begin_epoch()
        # On a GPU, a replay may differ in the last bits and find nothing.
        site, step, where = "loss", -1, "a replay of its steps did not meet it again"
        if self.share.processes > 1:
            where = "train in a single process to learn where"
        number = -1
        for number in range(self._steps_of_epoch() if self.share.processes == 1 else 0):
            found = self.engine.inspect()
            if found is not None:
                site, step, where = found, number, f"at step {number}, first at {found!r}"
                break
        last = first_failed_parameter(self.model) if step < 0 else None
        if last is not None and number >= 0:
            site, step, where = last, number, f"after step {number}, first {last!r}"
        self.load_state(snapshot)
        epoch = self.progress.epoch
        return NonFiniteError(
            f"the loss stopped being finite in epoch {epoch}: {where}. The last good state, "
            f"after {epoch} epochs, is kept: start again with a lower learning rate, or look "
            "at the inputs of that site",
            site,
            epoch,
            step,
        )

    def state(self) -> dict[str, Any]:
        """Return a copy of everything that training changes."""
        return copy.deepcopy(
            {
                "model_class": type(self.model).__name__,
                "model_options": stored_options(self.model),
                "rows": self._rows(),
                "digests": self.digests,
                "config": asdict(self.config),
                "compiles": self.compiles,
                "epoch": self.progress.epoch,
                "history": self.progress.rows,
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.engine.state_dict(),
                "rng": gather(random_states(self.device)),
                "best": self.best,
            }
        )

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned, possibly in another process.

        Raises:
            CheckpointError: if it belongs to another model, other rows or another configuration.
        """
        check_belongs(state, self.model, self.config, self._rows(), self.share.processes)
        if self.digests is not None:
            check_digests(state, self.digests)
        state = copy.deepcopy(state)
        if state["best"] is not None:
            # Checked now, since an error at the end of the run would be too late.
            self.model.load_state_dict(state["best"]["model"])
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state.get("average", {}))
        self.engine.load_state_dict(state["optimiser"])
        self.progress.epoch, self.progress.rows = state["epoch"], state["history"]
        self.progress.step = self._steps_before(self.progress.epoch)
        self.best = state["best"]
        if self.config.compile == state["config"]["compile"] == "auto":
            self.compiles = self._may_compile() and state["compiles"]
        set_random_states(state["rng"][self.share.rank], self.device)
        # The compiled or recorded step refers to the optimiser's former tensors.
        self._prepare_step()

    def _make_objective(self) -> Objective:
        model, config = self.model, self.config
        objective = Objective.of(model, self.data, config)
        if objective.annealing is not None and self._asked_to_anneal:
            # Warns now, not only after the first checkpoint has been written.
            set_training(model, self._frozen)
            with own_random_state(config.seed, self.device), pyro.get_param_store().scope():
                self.batches.shuffle(0)
                objective.check_annealed(self.batches.draw())
        return objective

    def _make_engine(self) -> Engine:
        if self.config.engine == "native":
            captured_on = self.device if self._may_capture() else None
            return NativeEngine(self.objective, self.batches, self.config, captured_on)
        if self.share.processes > 1:
            raise ConfigError('engine is "svi", which trains in one process: use engine="native"')
        return SVIEngine(self.objective, self.batches, self.config)

    def _prepare_step(self) -> None:
        """Decide whether steps are compiled, and whether they are replayed by a CUDA graph."""
        self._options = self.model.options
        self.engine.prepare(self.compiles)
        # The engine's step, since a method of this object would make a reference cycle.
        self._step: Callable[[], None] = self.engine.step
        if self._may_capture():
            self._step = CapturedStep(self.engine.step, self.device)

    def _may_capture(self) -> bool:
        # A graph can neither copy from main memory nor wait for another process.
        alone = not self.batches.streams and self.share.processes == 1
        config = self.config
        wanted = config.cuda_graph and config.engine == "native"
        return wanted and alone and self.device.type == "cuda"

    def _may_compile(self) -> bool:
        # A compiler would merge the second computation of each chunk with the first, and
        # DistributedDataParallel needs hooks of a backward pass that a compiled step does not run.
        return self.model.class_chunk is None and self.share.processes == 1

    def _begin_epoch(self) -> None:
        if self.model.options != self._options:
            # The compiled or recorded step contains the former options.
            self._prepare_step()
        set_training(self.model, self._frozen)
        epoch = self.progress.epoch
        self.batches.shuffle(epoch)
        self.engine.set_learning_rate(self.config.learning_rate_at(epoch))
        self.objective.begin_at(epoch * self.batches.steps)
        self.engine.totals.clear()

    def _steps_before(self, epoch: int) -> int:
        """Return the number of steps in the epochs before this one."""
        steps, limit = epoch * self.batches.steps, self.config.steps
        return steps if limit is None else min(steps, limit)

    def _steps_of_epoch(self) -> int:
        """Return the number of steps of the present epoch; the last one may be cut short."""
        epoch = self.progress.epoch
        return self._steps_before(epoch + 1) - self._steps_before(epoch)

    def _rows(self) -> list[int]:
        data = self.data
        return [data.num_labelled, data.num_unlabelled, len(data.validation_xs)]

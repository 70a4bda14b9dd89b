"""Training of several models of one class at once, each on its own rows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_ssl.errors import CheckpointError, NonFiniteError
from pyro_ssl.infer.checkpoint import own_random_state
from pyro_ssl.infer.ensemble_batches import MemberBatches
from pyro_ssl.infer.ensemble_checkpoint import EnsembleCheckpoint
from pyro_ssl.infer.ensemble_gradients import gpus
from pyro_ssl.infer.ensemble_options import (
    EnsembleConfig,
    Member,
    check_alike,
    check_members,
)
from pyro_ssl.infer.ensemble_step import Step, stacked_parameters
from pyro_ssl.infer.leftovers import leaving_nothing
from pyro_ssl.infer.restoring import check_rows
from pyro_ssl.models.base import PyroModel
from pyro_ssl.options import checked
from pyro_ssl.reading import check_kinds, refusing

__all__ = ["EnsembleConfig", "EnsembleHistory", "Member", "fit_ensemble"]


@dataclass
class EnsembleHistory:
    """The course of an ensemble's training.

    Attributes:
        rows: for each check, `step`, `loss` (mean over members and over the steps since the last
            check, in nats per example) and `measure`.
        steps: number of steps made.
        termination: `no better measure`, or `max_steps` if the step size fell only because the
            steps came to an end.
        at_once: whether one run of the programs served all models; otherwise they were trained one
            after the other.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    termination: str = "max_steps"
    at_once: bool = True


@checked
def fit_ensemble(
    models: Sequence[PyroModel],
    xs: Tensor,
    ys: Tensor,
    members: Sequence[Member],
    config: EnsembleConfig | None = None,
    measure: Callable[[], float] | None = None,
    on_check: Callable[[int], None] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> EnsembleHistory:
    """Train models of one class in place, each on its own rows, in one run of the programs a step.

    Their parameters are stacked, and `torch.func.vmap` maps model, guide and ELBO over them. Each
    model's gradient is that of `Objective` on its minibatch. The tensor operations of a step are
    recorded once and then run without Python, see `Recorded`. For small networks, five models take
    less time than one trained by `fit`. Programs that cannot be mapped (batch norm, some
    distributions) run model by model, after a warning: the steps are the same, only slower.

    Args:
        models: models of one class with equal options; their weights may differ. After training
            they are in evaluation mode, and trained parameters have no gradients.
        xs: inputs of all rows, `[N, *input_shape]`, on the device of the models.
        ys: their labels, `[N]`, -1 if unknown; real labels, NaN if unknown; or attributes `[N, L]`.
        members: the rows of each model. Some may have no labelled or no unlabelled rows.
        config: options; all defaults if None.
        measure: returns a value that should rise, such as a bound of held-out rows under the
            models' present weights; None to train for all `max_steps`.
        on_check: called after every `check_every` steps with the number of steps made.
        checkpoint: a file for the state after every check; None for no file.
        resume: continue from that file; on a CPU, the result is the same bit for bit.

    Raises:
        CheckpointError: if there is no such file to resume from, or it is of another run.
        ConfigError: if the models cannot be trained together, or a member's rows do not exist or
            lack labels.
        NonFiniteError: if a loss stopped being finite.
    """
    config = config or EnsembleConfig()
    check_members(members, ys, len(models))
    check_alike(models)
    batches = MemberBatches(xs, ys, members, config)
    with (
        leaving_nothing(*models),
        own_random_state(config.seed, xs.device),
        pyro.get_param_store().scope(),
        pyro.validation_enabled(False),
        stacked_parameters(models) as weights,
    ):
        step = Step(models, weights, batches, config)
        run = _Run(step, config, EnsembleCheckpoint(checkpoint, models, members, config, xs, ys))
        if resume:
            run.resume()
        try:
            run.go_on(measure, on_check, gpus(xs))
        finally:
            step.show()
    return run.history


class _Run:
    """A run that can continue from a file."""

    def __init__(self, step: Step, config: EnsembleConfig, checkpoint: EnsembleCheckpoint) -> None:
        self.history = EnsembleHistory(at_once=step.at_once)
        self._step, self._schedule, self._checkpoint = step, _Schedule(config), checkpoint

    def resume(self) -> None:
        progress = self._checkpoint.load(self._step)
        with refusing(self._checkpoint.path or Path()):
            kinds = {"rows": list, "steps": int, "termination": str}
            check_kinds(progress["history"], kinds, "the history")
            self.history = EnsembleHistory(**progress["history"], at_once=self._step.at_once)
            if self.history.steps != self._step.number:
                raise CheckpointError("the history and the minibatches are of different steps")
            check_rows(self.history.rows, "the history")
            self._schedule.load(progress["schedule"], self.history.steps)

    def go_on(
        self,
        measure: Callable[[], float] | None,
        on_check: Callable[[int], None] | None,
        devices: list[torch.device],
    ) -> None:
        history, schedule = self.history, self._schedule
        while history.steps < schedule.end:
            self._train(schedule.next_steps(history.steps))
            # The callback must not change the noise of later steps.
            with torch.random.fork_rng(devices=devices):
                value = None if measure is None else measure()
                history.rows[-1]["measure"] = math.nan if value is None else float(value)
                if schedule.advance(history.steps, value):
                    history.termination = schedule.reason
            told = {"rows": history.rows, "steps": history.steps}
            told["termination"] = history.termination
            self._checkpoint.save(self._step, {"history": told, "schedule": schedule.state()})
            if on_check is not None:
                with torch.random.fork_rng(devices=devices):
                    on_check(history.steps)

    def _train(self, numbers: range) -> None:
        """Run these steps, and copy the weights to the models."""
        losses = torch.stack([self._step(self._schedule.rate(number)) for number in numbers])
        _check_finite(losses, numbers[0])
        self._step.check_finite()
        self.history.steps = numbers[-1] + 1
        self.history.rows.append({"step": self.history.steps, "loss": float(losses.mean())})
        self._step.show()


def _check_finite(losses: Tensor, first: int) -> None:
    """Check the losses `[steps, E]` of several steps, whose first one has the number `first`."""
    bad = (~torch.isfinite(losses)).nonzero()
    if len(bad):
        step, member = first + int(bad[0, 0]), int(bad[0, 1])
        raise NonFiniteError(
            f"the loss of member {member} of an ensemble stopped being finite in step {step}: "
            "lower the learning rate, or look at the inputs",
            "loss",
            0,
            step,
        )


class _Schedule:
    """The step size: constant until a measure stops rising, then a half cosine down to 0.

    Attributes:
        end: number of steps of the whole run, as far as it is known.
        reason: why the step size fell.
    """

    def __init__(self, config: EnsembleConfig) -> None:
        self._config = config
        self._best, self._waited = -math.inf, 0
        self._falls_from: int | None = None
        # The latest step at which the fall can begin and still end at `max_steps`.
        self._last = max(1, math.floor(config.max_steps / (1 + config.decay)))
        self.end, self.reason = config.max_steps, "max_steps"

    def state(self) -> dict[str, Any]:
        """Return everything that changes in a run, as plain values."""
        return {k: v for k, v in vars(self).items() if k != "_config"}

    def load(self, state: dict[str, Any], made: int) -> None:
        """Restore what `state` returned after `made` steps.

        Raises:
            CheckpointError: if `state` is invalid.
        """
        kinds: dict[str, Any] = dict.fromkeys(("_waited", "_last", "end"), int)
        kinds |= {"_best": (int, float), "_falls_from": (int, type(None)), "reason": str}
        check_kinds(state, kinds, "the schedule")
        vars(self).update({name: state[name] for name in kinds})
        falls_from = self._falls_from
        falls = falls_from is None or 0 <= falls_from < self.end
        if made < 0 or not falls or (made < self.end and not self.next_steps(made)):
            raise CheckpointError(
                f"the schedule cannot be that of a run of {made} steps: delete it"
            )

    def next_steps(self, made: int) -> range:
        """Return the numbers of the steps until the next check."""
        bound = self.end if self._falls_from is not None else self._last
        return range(made, min(made + self._config.check_every, bound))

    def rate(self, step: int) -> float:
        """Return the step size of a step."""
        if self._falls_from is None:
            return self._config.learning_rate
        share = (step - self._falls_from) / (self.end - self._falls_from)
        return self._config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def advance(self, made: int, value: float | None) -> bool:
        """Record a measure after a check; return whether the step size now begins to fall.

        Args:
            made: number of steps made.
            value: the measure; None if the run has no measure.
        """
        if self._falls_from is not None:
            return False
        config = self._config
        if value is not None:
            self._waited += 1
            if value > self._best:
                self._best, self._waited = value, 0
        tired = self._waited >= config.patience and made >= config.min_steps
        if not tired and made < self._last:
            return False
        self._falls_from = made
        if tired:
            self.end = min(config.max_steps, math.ceil(made * (1 + config.decay)))
            self.reason = "no better measure"
        return True

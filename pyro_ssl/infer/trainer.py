"""One run's moving parts: objective, optimiser, epochs, and a state that can be put back."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.errors import CheckpointError, ConfigError, NonFiniteError
from pyro_ssl.infer.batches import MiniBatches
from pyro_ssl.infer.checkpoint import random_states, set_random_states
from pyro_ssl.infer.objective import Objective
from pyro_ssl.infer.terms import first_non_finite, objective_terms
from pyro_ssl.metrics import accuracy, expected_calibration_error, predict_in_chunks
from pyro_ssl.models.base import SSLModel

Row = dict[str, float]
SCHEDULES = ("constant", "cosine")
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Attributes:
        epochs: number of epochs.
        batch_size: unlabelled rows a step.
        labelled_batch_size: labelled rows a step; None for all, at most `batch_size`.
        steps_per_epoch: steps an epoch; None for one pass over the unlabelled rows.
        learning_rate: Adam's step size, at the start.
        learning_rate_schedule: `constant`, or `cosine` for a half cosine over the epochs, from
            `learning_rate` towards 0.
        binarise: draw pixels from a Bernoulli anew whenever a row is visited.
        precision: `float32`, or `bfloat16` for autocast matrix products.
        keep_best: end with the weights of the epoch of highest validation accuracy.
        patience: stop after so many epochs without a higher one; None for never.
        seed: seed of minibatches, binarisation, dropout and latent noise.
    """

    epochs: int = 40
    batch_size: int = 200
    labelled_batch_size: int | None = None
    steps_per_epoch: int | None = None
    learning_rate: float = 1e-3
    learning_rate_schedule: str = "constant"
    binarise: bool = True
    precision: str = "float32"
    keep_best: bool = True
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "labelled_batch_size", "steps_per_epoch", "patience")
        for name in (*positive, "learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}, expected a positive number")
        for name, choices in (
            ("precision", tuple(PRECISIONS)),
            ("learning_rate_schedule", SCHEDULES),
        ):
            if getattr(self, name) not in choices:
                expected = " or ".join(choices)
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected {expected}")

    def batches(self, data: SSLData) -> MiniBatches:
        """Return the minibatches of `data`.

        Raises:
            ConfigError: if a batch asks for more rows than there are.
        """
        return MiniBatches(
            data,
            self.batch_size,
            self.labelled_batch_size,
            self.steps_per_epoch,
            self.binarise,
        )

    def learning_rate_at(self, epoch: int) -> float:
        """Return the step size of an epoch, counted from 0."""
        if self.learning_rate_schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        return self.learning_rate


class Trainer:
    """Trains a model epoch by epoch; `pyro_ssl.infer.fit` is the way to use it.

    Args:
        model: the model, already on the data's device.
        data: the data.
        config: how to train.
    """

    def __init__(self, model: SSLModel, data: SSLData, config: FitConfig) -> None:
        self.model, self.data, self.config = model, data, config
        self.device = data.labelled_xs.device
        self.batches = config.batches(data)
        if config.patience is not None and not len(data.validation_xs):
            raise ConfigError(f"patience is {config.patience}, but there are no validation rows")
        if self.batches.labelled + self.batches.unlabelled < 2 and any(
            isinstance(m, torch.nn.BatchNorm1d) for m in model.modules()
        ):
            raise ConfigError("batch_norm needs batches of at least 2 rows, got 1: switch it off")
        self.objective = Objective(
            model, data.num_labelled, data.num_unlabelled, PRECISIONS[config.precision]
        )
        self.parameters = list(self.objective.parameters())
        self.optimiser = torch.optim.Adam(self.parameters, lr=config.learning_rate, fused=True)
        self.epoch = 0
        self.history: list[Row] = []
        self.best: dict[str, Any] | None = None

    def run_epoch(self, on_step: Callable[[], None] | None = None) -> Row:
        """Train for one epoch and return its row, term means in nats per example.

        The terms are summed on the device and looked at once, after the last step. If the sums
        are not finite, the row says so and `locate_non_finite` finds out where.
        """
        self.model.train()
        self._set_learning_rate()
        started = time.perf_counter()
        sums: dict[str, Tensor] = {}
        for batch in self.batches.epoch():
            for name, value in self._step(batch).items():
                sums[name] = sums[name] + value if name in sums else value
            if on_step is not None:
                on_step()
        means = torch.stack(list(sums.values())).div(self.batches.steps).tolist()
        seconds = time.perf_counter() - started
        row = {"epoch": self.epoch, "seconds": seconds, **dict(zip(sums, means, strict=True))}
        self.epoch += 1
        return row

    def validate(self) -> Row:
        """Return validation accuracy and calibration error; empty without validation rows."""
        data = self.data
        if not len(data.validation_xs):
            return {}
        probabilities = predict_in_chunks(self.model, data.validation_xs)
        return {
            "validation_accuracy": accuracy(probabilities, data.validation_ys),
            "validation_ece": expected_calibration_error(probabilities, data.validation_ys),
        }

    def locate_non_finite(self, snapshot: dict[str, Any]) -> NonFiniteError:
        """Replay the epoch after `snapshot`, looking at every step; leave `snapshot`'s state."""
        self.load_state(snapshot)
        self.model.train()
        self._set_learning_rate()
        # On a GPU a replay need not repeat to the last bit, so that it may find nothing.
        site, step, where = "loss", -1, "a replay of the epoch did not meet it again"
        for number, batch in enumerate(self.batches.epoch()):
            found = self._inspect(batch)
            if found is not None:
                site, step, where = found, number, f"at step {number}, first at {found!r}"
                break
        self.load_state(snapshot)
        return NonFiniteError(
            f"the loss stopped being finite in epoch {self.epoch}: {where}. The last good state, "
            f"after {self.epoch} epochs, is kept: start again with a lower learning rate, or look "
            "at the inputs of that site",
            site,
            self.epoch,
            step,
        )

    def state(self) -> dict[str, Any]:
        """Return a copy of everything that training changes."""
        return copy.deepcopy(
            {
                "model_class": type(self.model).__name__,
                "model_options": self.model.options,
                "rows": self._rows(),
                "config": asdict(self.config),
                "epoch": self.epoch,
                "history": self.history,
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "rng": random_states(self.device),
                "best": self.best,
            }
        )

    def load_state(self, state: dict[str, Any]) -> None:
        """Put back what `state` returned, possibly in another process.

        Raises:
            CheckpointError: if it belongs to another model or another configuration.
        """
        self._check_belongs(state)
        state = copy.deepcopy(state)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.history, self.best = state["epoch"], state["history"], state["best"]
        set_random_states(state["rng"], self.device)

    def _set_learning_rate(self) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate_at(self.epoch)

    def _step(self, batch: tuple[Tensor, Tensor, int]) -> dict[str, Tensor]:
        """Make one optimiser step and return its terms, still on the device."""
        self.optimiser.zero_grad()
        loss = self.objective(*batch)
        loss.backward()
        norm = torch.nn.utils.get_total_norm(
            [p.grad for p in self.parameters if p.grad is not None]
        )
        self.optimiser.step()
        terms = objective_terms(*self.objective.pop_traces())
        return {"loss": loss.detach(), **terms, "gradient_norm": norm}

    def _inspect(self, batch: tuple[Tensor, Tensor, int]) -> str | None:
        """Make one step; return the first site or gradient that was not finite, if any."""
        self.optimiser.zero_grad()
        loss = self.objective(*batch)
        site = first_non_finite(*self.objective.pop_traces())
        if site is not None:
            return site
        if not bool(torch.isfinite(loss)):
            return "loss"
        loss.backward()
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                return f"gradient of {name}"
        self.optimiser.step()
        return None

    def _rows(self) -> list[int]:
        data = self.data
        return [data.num_labelled, data.num_unlabelled, len(data.validation_xs)]

    def _check_belongs(self, state: dict[str, Any]) -> None:
        if state["model_class"] != type(self.model).__name__:
            raise CheckpointError(
                f"the checkpoint is of a {state['model_class']}, not of a "
                f"{type(self.model).__name__}: resume with the model that wrote it"
            )
        ours: dict[str, Any] = {
            **asdict(self.config),
            **self.model.options,
            "rows labelled, unlabelled, validation": self._rows(),
        }
        theirs = {
            **state["config"],
            **state["model_options"],
            "rows labelled, unlabelled, validation": state["rows"],
        }
        # At a constant step size more epochs continue the very same run; any other change
        # would make it another one.
        free = {"epochs"} if self.config.learning_rate_schedule == "constant" else set()
        differing = [k for k in ours if k not in free and ours[k] != theirs.get(k)]
        if differing:
            changes = ", ".join(f"{k} ({theirs.get(k)} then, {ours[k]} now)" for k in differing)
            raise CheckpointError(f"the checkpoint was written with another {changes}")

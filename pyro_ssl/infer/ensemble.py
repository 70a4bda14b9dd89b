"""Several models of one kind, each on rows of its own, trained at once."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap

from pyro_ssl.errors import ConfigError, NonFiniteError
from pyro_ssl.infer.annealing import Anneal
from pyro_ssl.infer.checkpoint import own_random_state
from pyro_ssl.infer.functional import Recorded, functional_programs
from pyro_ssl.infer.objective import Objective
from pyro_ssl.models.base import PyroModel
from pyro_ssl.models.rows import Batch

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Member:
    """The rows that one model of an ensemble learns from, by their numbers.

    Attributes:
        labelled: rows whose label it sees.
        unlabelled: rows it sees without a label; may be empty.
        weights: of all rows, `[N]`: a row is drawn in proportion to its weight among those of its
            kind. None to draw in passes, each of all rows.
    """

    labelled: Rows
    unlabelled: Rows
    weights: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True)
class EnsembleConfig:
    """Options of an ensemble's training.

    The step size is constant until `measure` stops rising, and then falls to 0 along a half cosine.

    Attributes:
        max_steps: most steps, the fall of the step size included.
        min_steps: steps before which the step size does not begin to fall.
        check_every: steps between two calls of `measure`.
        patience: calls of `measure` without a new highest value, after which the step size begins
            to fall.
        decay: steps of that fall, as a share of the steps before it.
        batch_size: unlabelled rows a step and member.
        labelled_batch_size: labelled rows a step and member.
        learning_rate: Adam's step size.
        weight_decay: AdamW's.
        anneal: as in `FitConfig`, over the first steps.
        seed: seed of minibatches and noise.
    """

    max_steps: int = 1500
    min_steps: int = 400
    check_every: int = 100
    patience: int = 3
    decay: float = 0.5
    batch_size: int = 64
    labelled_batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    anneal: dict[str, Anneal] = field(default_factory=dict)
    seed: int = 0


@dataclass
class EnsembleHistory:
    """The course of an ensemble's training.

    Attributes:
        rows: for each check `step`, `loss` (mean over members and over the steps since the last
            check, in nats per example) and `measure`.
        steps: number of steps made.
        termination: `no better measure`, or `max_steps` where the step size fell only because
            the steps came to an end.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    termination: str = "max_steps"


def fit_ensemble(
    models: Sequence[PyroModel],
    xs: Tensor,
    ys: Tensor,
    members: Sequence[Member],
    config: EnsembleConfig | None = None,
    measure: Callable[[], float] | None = None,
    on_check: Callable[[int], None] | None = None,
) -> EnsembleHistory:
    """Train models of one kind in place, each on its own rows, in one run of their programs a step.

    Their parameters are stacked, and `torch.func.vmap` maps model, guide and ELBO over them: each
    model's gradient is that of `Objective` on its minibatch. The tensor operations of a step are
    recorded once and then run without Python, see `Recorded`. For small networks five models cost
    less than one trained by `fit`.

    Args:
        models: models of one class with equal options, without batch norm; their weights may
            differ.
        xs: inputs of all rows, `[N, *input_shape]`, on the device of the models.
        ys: their labels, `[N]`, -1 where unknown.
        members: the rows of each model.
        config: options; all defaults if None.
        measure: returns what is to rise, such as a bound of held-out rows under the models'
            present weights; None to train for all `max_steps`.
        on_check: called with the number of steps made after every `check_every` steps.

    Raises:
        ConfigError: if the models cannot be trained together.
        NonFiniteError: if a loss stopped being finite.
    """
    config = config or EnsembleConfig()
    _check_alike(models, members)
    device = xs.device
    with (
        own_random_state(config.seed, device),
        pyro.get_param_store().scope(),
        pyro.validation_enabled(False),
    ):
        step = _Step(models, xs, ys, members, config)
        history = _run(step, config, measure, on_check)
    step.hand_over()
    return history


def _run(
    step: "_Step",
    config: EnsembleConfig,
    measure: Callable[[], float] | None,
    on_check: Callable[[int], None] | None,
) -> EnsembleHistory:
    history, best, waited = EnsembleHistory(), -math.inf, 0
    # The last step before the fall, at the latest, so that the fall ends at `max_steps`.
    last = math.floor(config.max_steps / (1 + config.decay))
    falls_from: int | None = None
    end = config.max_steps
    while history.steps < end:
        chunk = min(config.check_every, end - history.steps)
        if falls_from is None:
            chunk = min(chunk, max(1, last - history.steps))
        losses = torch.stack(
            [
                step(_rate(config, s, falls_from, end))
                for s in range(history.steps, history.steps + chunk)
            ]
        )
        history.steps += chunk
        loss = float(losses.mean())
        if not math.isfinite(loss):
            raise NonFiniteError(
                f"the loss of an ensemble stopped being finite within steps "
                f"{history.steps - chunk} to {history.steps}: lower the learning rate, or look at "
                "the inputs",
                "loss",
                0,
                history.steps - chunk,
            )
        value = measure() if measure is not None else math.nan
        history.rows.append({"step": history.steps, "loss": loss, "measure": value})
        if on_check is not None:
            on_check(history.steps)
        if falls_from is not None:
            continue
        waited = 0 if value > best else waited + 1
        best = max(best, value) if value == value else best
        tired = measure is not None and waited >= config.patience
        if (tired and history.steps >= config.min_steps) or history.steps >= last:
            falls_from = history.steps
            end = min(config.max_steps, math.ceil(history.steps * (1 + config.decay)))
            history.termination = "no better measure" if tired else "max_steps"
    return history


def _rate(config: EnsembleConfig, step: int, falls_from: int | None, end: int) -> float:
    """Return the step size of a step."""
    if falls_from is None:
        return config.learning_rate
    share = (step - falls_from) / max(1, end - falls_from)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


class _Step:
    """One step of all models: minibatches, the recorded gradients, and the optimiser."""

    def __init__(
        self,
        models: Sequence[PyroModel],
        xs: Tensor,
        ys: Tensor,
        members: Sequence[Member],
        config: EnsembleConfig,
    ) -> None:
        self.models = models
        self.names = [name for name, p in models[0].named_parameters() if p.requires_grad]
        self.weights = _stacked(models, self.names)
        # Not the first model itself: its parameters are replaced when it is called.
        prototype = copy.deepcopy(models[0])
        labelled = round(np.mean([len(np.unique(m.labelled)) for m in members]))
        unlabelled = round(np.mean([len(np.unique(m.unlabelled)) for m in members]))
        self.objective = Objective(prototype, labelled, unlabelled, None, config.anneal).train()
        self.batches = _Batches(xs, ys, members, config)
        self.optimiser = torch.optim.AdamW(
            self.weights, config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._buffers = dict(self.objective.named_buffers())
        inputs = [*(w.detach() for w in self.weights), *self._buffers.values(), *self.batches(0)]
        self._gradients = Recorded(self._evaluate, inputs)
        self._number = 0

    def __call__(self, rate: float) -> Tensor:
        """Make one step and return the members' losses, `[E]`."""
        self.objective.advance()
        buffers = [dict(self.objective.named_buffers())[name] for name in self._buffers]
        batch = self.batches(self._number)
        *gradients, losses = self._gradients(*(w.detach() for w in self.weights), *buffers, *batch)
        for weight, gradient in zip(self.weights, gradients, strict=True):
            # The fused optimiser reads memory in order, whatever the strides.
            weight.grad = gradient.contiguous()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self._number += 1
        return losses

    def _evaluate(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of stacked weights and the losses; see `inputs` above."""
        count = len(self.names)
        weights = [w.requires_grad_() for w in inputs[:count]]
        buffers = dict(zip(self._buffers, inputs[count:-2], strict=True))
        names = [f"model.{name}" for name in self.names]

        def loss(weights: list[Tensor], xs: Tensor, ys: Tensor) -> Tensor:
            state = {**dict(zip(names, weights, strict=True)), **buffers}
            batch = (Batch(xs, ys, self.batches.labelled),)
            with functional_programs():
                value: Tensor = functional_call(self.objective, state, batch)[0]
            return value

        losses = vmap(loss, randomness="different")(weights, *inputs[-2:])
        found = torch.autograd.grad(losses.sum(), weights, allow_unused=True)
        filled = (
            torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)
        )
        return (*filled, losses.detach())

    def hand_over(self) -> None:
        """Give each model weights of its own, and the final values of annealed options."""
        annealed = dict(self.objective.model.named_buffers())
        for model in self.models:
            for parameter in model.parameters():
                parameter.data = parameter.data.clone()
                parameter.grad = None
            for name, buffer in model.named_buffers():
                buffer.copy_(annealed[name])
            model.eval()


def _stacked(models: Sequence[PyroModel], names: list[str]) -> list[Tensor]:
    """Stack the models' parameters, and let the models' own be views of them."""
    stacked = []
    for name in names:
        each = [model.get_parameter(name) for model in models]
        together = torch.stack([p.detach() for p in each])
        for parameter, part in zip(each, together, strict=True):
            parameter.data = part
        stacked.append(together.requires_grad_())
    return stacked


class _Batches:
    """Minibatches of all members, `[E, B, ...]`, labelled rows first."""

    def __init__(
        self, xs: Tensor, ys: Tensor, members: Sequence[Member], config: EnsembleConfig
    ) -> None:
        self.xs, self.ys = xs, ys
        rng = np.random.default_rng(config.seed)
        most = max(len(m.labelled) for m in members)
        self.labelled = min(config.labelled_batch_size, most)
        unlabelled = config.batch_size if all(len(m.unlabelled) for m in members) else 0
        kinds = (("labelled", self.labelled), ("unlabelled", unlabelled))
        self._orders = [
            torch.from_numpy(
                np.stack(
                    [
                        _drawn(rng, getattr(m, kind), m.weights, config.max_steps, size)
                        for m in members
                    ],
                    1,
                )
            ).to(xs.device)
            for kind, size in kinds
        ]

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of a step's minibatches."""
        labelled, unlabelled = (order[step] for order in self._orders)
        ys = torch.cat([self.ys[labelled], torch.full_like(unlabelled, -1)], 1)
        return self.xs[torch.cat([labelled, unlabelled], 1)], ys


def _drawn(rng: np.random.Generator, rows: Rows, weights: Any, steps: int, size: int) -> Rows:
    """Return row numbers `[steps, size]`, by weight, or in passes, each in a new random order."""
    if not size:
        return np.empty((steps, 0), np.int64)
    if weights is not None:
        shares = weights[rows] / weights[rows].sum()
        return rng.choice(rows, (steps, size), p=shares)
    passes = -(-steps * size // len(rows))
    orders = np.concatenate([rng.permutation(rows) for _ in range(passes)])
    return orders[: steps * size].reshape(steps, size)


def _check_alike(models: Sequence[PyroModel], members: Sequence[Member]) -> None:
    if not models or len(models) != len(members):
        raise ConfigError(
            f"there are {len(models)} models and {len(members)} members: give one for each"
        )
    kinds = {type(model) for model in models}
    if len(kinds) > 1:
        raise ConfigError("models are of several classes: an ensemble is of one")
    for module in models[0].modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ConfigError(
                "models of an ensemble have batch norm, whose statistics cannot be mapped over "
                "models: use batch_norm=False, or train them one by one with fit"
            )
    if any(not len(m.labelled) and not len(m.unlabelled) for m in members):
        raise ConfigError("a member of an ensemble has no rows")

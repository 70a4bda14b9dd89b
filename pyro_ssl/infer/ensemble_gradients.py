"""Losses and gradients of several models, by one run of their programs or one by one."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from pyro_ssl.elbos.names import KINDS
from pyro_ssl.infer.annealing import BUFFER_PREFIX, Anneal, annealed_buffers
from pyro_ssl.infer.ensemble_batches import MemberBatches
from pyro_ssl.infer.functional import Recorded, functional_programs
from pyro_ssl.infer.objective import Objective
from pyro_ssl.infer.weights import RowWeights
from pyro_ssl.models.base import PyroModel
from pyro_ssl.models.rows import Batch
from pyro_ssl.nets.modes import frozen_parts, set_training

Weights = dict[str, Tensor]


class StackedGradients(Protocol):
    """Losses and gradients of several models, each on its own minibatch."""

    def __call__(self, xs: Tensor, ys: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """Advance annealed values; return gradients of stacked weights, and losses `[E]`."""

    def begin_at(self, step: int) -> None:
        """Set the number of the next step."""

    def set_buffers(self, model: PyroModel) -> None:
        """Give a model the present values of annealed options."""


class MappedGradients:
    """Losses and gradients of all models by one recorded run of their programs.

    Args:
        models: the models.
        weights: their stacked parameters.
        batches: their minibatches.
        anneal: the annealed values.

    Raises:
        Exception: any, if the programs cannot be mapped or recorded.
    """

    def __init__(
        self,
        models: Sequence[PyroModel],
        weights: Weights,
        batches: MemberBatches,
        anneal: Mapping[str, Anneal],
    ) -> None:
        # A copy, since calling it replaces its parameters.
        self._objective = Objective(copy.deepcopy(models[0]), 0, 0, None, anneal)
        set_training(self._objective, frozen_parts(self._objective.model))
        self._num_labelled, self._shares = batches.num_labelled, batches.shares
        _check_buffers_stay(self._objective, first_batch(batches), self._shares[0])
        self._names = [f"model.{name}" for name in weights]
        self._weights = [weight.detach() for weight in weights.values()]
        self._annealed = [f"{BUFFER_PREFIX}{key}" for key in annealed_buffers(models[0], anneal)]
        self._fixed, self._fixed_dims = _fixed(
            self._objective, models, set(self._names), {f"model.{n}" for n in self._annealed}
        )
        inputs = [*self._weights, *self._fixed.values(), *batches(0)]
        with warnings.catch_warnings():
            # Pyro warns because mapped parameters appear not to require a gradient.
            warnings.filterwarnings("ignore", ".*was not registered in the param store")
            self._recorded = Recorded(self._evaluate, inputs)

    def __call__(self, xs: Tensor, ys: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """Advance annealed values; return gradients of stacked weights, and losses `[E]`."""
        self._objective.advance()
        *gradients, losses = self._recorded(*self._weights, *self._fixed.values(), xs, ys)
        return gradients, losses

    def begin_at(self, step: int) -> None:
        """Set the number of the next step."""
        self._objective.begin_at(step)

    def set_buffers(self, model: PyroModel) -> None:
        """Give a model the present values of annealed options."""
        for name in self._annealed:
            model.get_buffer(name).copy_(self._objective.model.get_buffer(name))

    def _evaluate(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of stacked weights, and the losses; for `inputs` see above."""
        count = len(self._names)
        weights = [weight.requires_grad_() for weight in inputs[:count]]
        fixed, (xs, ys) = list(inputs[count:-2]), inputs[-2:]

        def loss(
            weights: list[Tensor], fixed: list[Tensor], shares: Tensor, xs: Tensor, ys: Tensor
        ) -> Tensor:
            state = dict(zip((*self._names, *self._fixed), (*weights, *fixed), strict=True))
            batch = Batch(xs, ys, self._num_labelled)
            self._objective.row_weights = MemberWeights(shares)
            with functional_programs():
                value: Tensor = functional_call(self._objective, state, (batch,))[0]
            return value

        mapped = vmap(loss, in_dims=(0, self._fixed_dims, 0, 0, 0), randomness="different")
        losses = mapped(weights, fixed, self._shares, xs, ys)
        found = torch.autograd.grad(losses.sum(), weights, allow_unused=True)
        return (*_filled(found, weights), losses.detach())


class MemberGradients:
    """Losses and gradients model by model, in Python: slower, but for any model.

    Args:
        models: the models.
        weights: their stacked parameters.
        batches: their minibatches.
        anneal: the annealed values.
    """

    def __init__(
        self,
        models: Sequence[PyroModel],
        weights: Weights,
        batches: MemberBatches,
        anneal: Mapping[str, Anneal],
    ) -> None:
        self._num_labelled = batches.num_labelled
        self._objectives = [Objective(model, 0, 0, None, anneal) for model in models]
        for objective, shares in zip(self._objectives, batches.shares, strict=True):
            objective.row_weights = MemberWeights(shares)
        self._frozen = [frozen_parts(model) for model in models]
        self._parameters = [[m.get_parameter(name) for name in weights] for m in models]

    def __call__(self, xs: Tensor, ys: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """Advance annealed values; return gradients of stacked weights, and losses `[E]`."""
        gradients, losses = [], []
        for number, objective in enumerate(self._objectives):
            set_training(objective, self._frozen[number])
            objective.advance()
            loss, _ = objective(Batch(xs[number], ys[number], self._num_labelled))
            own = self._parameters[number]
            gradients.append(_filled(torch.autograd.grad(loss, own, allow_unused=True), own))
            losses.append(loss.detach())
        return [torch.stack(each) for each in zip(*gradients, strict=True)], torch.stack(losses)

    def begin_at(self, step: int) -> None:
        """Set the number of the next step."""
        for objective in self._objectives:
            objective.begin_at(step)

    def set_buffers(self, model: PyroModel) -> None:
        """Do nothing, since the models already have these values."""


class MemberWeights(RowWeights):
    """`RowWeights` of one of several models; a kind of which it has no rows has weight 0.

    Args:
        shares: the shares of labelled and of unlabelled rows among the model's rows, `[2]`.
    """

    def __init__(self, shares: Tensor) -> None:
        super().__init__(0, 0)
        self.shares = dict(zip(KINDS, shares.unbind(), strict=True))

    def share(self, kind: str, infer: Mapping[str, Any]) -> Any:
        """Return the weight of the mean over rows of a site, 0 for a kind without rows."""
        return super().share(kind, infer) * (self.shares[kind] > 0)


def first_batch(batches: MemberBatches) -> Batch:
    """Return a minibatch of the first member."""
    xs, ys = batches(0)
    return Batch(xs[0], ys[0], batches.num_labelled)


def gpus(xs: Tensor) -> list[torch.device]:
    """Return the devices other than the CPU whose random states change in a run on `xs`."""
    return [xs.device] if xs.is_cuda else []


def _check_buffers_stay(objective: Objective, batch: Batch, shares: Tensor) -> None:
    """Raise an error if the programs change buffers, which all models would share in one run."""
    objective.row_weights = MemberWeights(shares)
    before = {name: (id(b), b._version) for name, b in objective.named_buffers()}
    with torch.no_grad(), torch.random.fork_rng(devices=gpus(batch.xs)):
        objective(batch)
    for name, buffer in objective.named_buffers():
        if before[name] != (id(buffer), buffer._version):
            raise RuntimeError(f"{name.removeprefix('model.')} changes in training (batch norm)")


def _fixed(
    objective: Objective, models: Sequence[PyroModel], trained: set[str], annealed: set[str]
) -> tuple[dict[str, Tensor], list[int | None]]:
    """Return tensors that gradients depend on but do not update, and their models' dimensions.

    These are buffers and frozen parameters. A tensor that all models share has no such dimension.
    """
    named = (*objective.named_parameters(), *objective.named_buffers())
    fixed = {name: tensor.detach() for name, tensor in named if name not in trained}
    dims: list[int | None] = []
    own = [dict((*m.named_parameters(), *m.named_buffers())) for m in models]
    for name, tensor in fixed.items():
        inner = name.removeprefix("model.")
        each = [state[inner].detach() for state in own if inner in state]
        alike = name in annealed or all(torch.equal(t, tensor) for t in each)
        dims.append(None if alike else 0)
        if not alike:
            fixed[name] = torch.stack(each)
    return fixed, dims


def _filled(found: Sequence[Tensor | None], weights: Sequence[Tensor]) -> list[Tensor]:
    """Return gradients, with zeros for weights that the loss does not depend on."""
    pairs = zip(found, weights, strict=True)
    return [torch.zeros_like(w) if g is None else g for g, w in pairs]

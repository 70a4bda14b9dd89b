"""One step of several models: minibatches, gradients, and the optimiser."""

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from pyro_ssl.errors import NonFiniteError, PyroSSLError
from pyro_ssl.infer.annealing import Anneal
from pyro_ssl.infer.ensemble_batches import MemberBatches
from pyro_ssl.infer.ensemble_gradients import (
    MappedGradients,
    MemberGradients,
    StackedGradients,
    Weights,
    first_batch,
    gpus,
)
from pyro_ssl.infer.ensemble_options import EnsembleConfig
from pyro_ssl.infer.objective import Objective
from pyro_ssl.models.base import PyroModel


@contextmanager
def stacked_parameters(models: Sequence[PyroModel]) -> Iterator[Weights]:
    """Stack the models' trained parameters; meanwhile the models' own parameters are views of them.

    Afterwards each model has its own parameters again, with the values of that moment.
    """
    names = [name for name, p in models[0].named_parameters() if p.requires_grad]
    owned = [[model.get_parameter(name) for model in models] for name in names]
    weights = [torch.stack([p.detach() for p in each]) for each in owned]
    for each, together in zip(owned, weights, strict=True):
        for parameter, part in zip(each, together, strict=True):
            parameter.data = part
    try:
        yield {n: w.requires_grad_() for n, w in zip(names, weights, strict=True)}
    finally:
        for each in owned:
            for parameter in each:
                parameter.data = parameter.data.clone()


class Step:
    """One step of all models.

    Args:
        models: the models.
        weights: their `stacked_parameters`, which the optimiser updates.
        batches: their minibatches.
        config: options of training.

    Attributes:
        number: number of steps made so far.
        optimiser: the optimiser.
        at_once: whether one run of the programs serves all models.
    """

    def __init__(
        self,
        models: Sequence[PyroModel],
        weights: Weights,
        batches: MemberBatches,
        config: EnsembleConfig,
    ) -> None:
        self.number = 0
        self._models, self._batches = models, batches
        self._names, self._weights = list(weights), list(weights.values())
        self._gradients = _make_gradients(models, weights, batches, config.anneal)
        self.at_once = isinstance(self._gradients, MappedGradients)
        self.optimiser = torch.optim.AdamW(
            self._weights, config.learning_rate, weight_decay=config.weight_decay, fused=True
        )

    def __call__(self, rate: float) -> Tensor:
        """Run one step and return the members' losses, `[E]`."""
        gradients, losses = self._gradients(*self._batches(self.number))
        for weight, gradient in zip(self._weights, gradients, strict=True):
            # The fused optimiser reads memory in order and ignores strides.
            weight.grad = gradient.contiguous()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.number += 1
        return losses

    def check_finite(self) -> None:
        """Check the members' weights after the last step.

        Raises:
            NonFiniteError: naming the first parameter and member that is not finite.
        """
        finite = torch.stack([w.isfinite().flatten(1).all(1) for w in self._weights])
        if not bool(finite.all()):
            parameter, member = (~finite).nonzero()[0].tolist()
            name = f"parameter {self._names[parameter]}"
            raise NonFiniteError(
                f"{name} of member {member} of an ensemble is not finite after step "
                f"{self.number - 1}: lower the learning rate, or look at the inputs",
                name,
                0,
                self.number - 1,
            )

    def go_to(self, number: int) -> None:
        """Set the number of the next step."""
        self.number = number
        self._gradients.begin_at(number)

    def show(self) -> None:
        """Give the models their weights and options of this step, in evaluation mode."""
        for model in self._models:
            self._gradients.set_buffers(model)
            model.eval()


def _make_gradients(
    models: Sequence[PyroModel],
    weights: Weights,
    batches: MemberBatches,
    anneal: Mapping[str, Anneal],
) -> StackedGradients:
    """Return gradients of all models at once; if that fails, warn and return them one by one."""
    if anneal:
        with torch.random.fork_rng(devices=gpus(batches.xs)):
            Objective(copy.deepcopy(models[0]), 0, 0, None, anneal).check_annealed(
                first_batch(batches)
            )
    try:
        return MappedGradients(models, weights, batches, anneal)
    except PyroSSLError:
        raise
    except Exception as error:
        # If torch cannot map a program over models, it may raise any error.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(
            f"the models of an ensemble are trained one after the other, which is slower: {reason}",
            stacklevel=4,
        )
        return MemberGradients(models, weights, batches, anneal)

"""The interface of engines, which execute the steps of a run: the native one and Pyro's SVI."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pyro_ssl.elbos.terms import Traces, first_non_finite
from pyro_ssl.infer.batches import MiniBatches
from pyro_ssl.infer.gradients import Measured, Totals
from pyro_ssl.infer.objective import Objective
from pyro_ssl.models.rows import Batch


class Engine:
    """Updates a model's parameters with one minibatch per step.

    Args:
        objective: the loss that is minimised.
        batches: the minibatches.

    Attributes:
        totals: sums of the measurements of all steps.
        execution: how steps run, see `History`.
    """

    execution: str

    def __init__(self, objective: Objective, batches: MiniBatches) -> None:
        self.objective = objective
        self.batches = batches
        self.totals = Totals()

    def prepare(self, compiles: bool) -> None:
        """Reset the engine; call it before the first step and after the model's options change.

        Args:
            compiles: whether to compile the steps, if the engine can.
        """
        # With other options, a model may have other terms.
        self.totals = Totals()

    def step(self) -> None:
        """Draw a batch, update the parameters, and add the measured terms to the totals."""
        self.objective.advance()
        self.totals.add(self._move(self.batches.draw()))

    def inspect(self) -> str | None:
        """Run one step; return the first site or gradient that was not finite, or None.

        If the program raises an error because a parameter is not finite, return that parameter.
        """
        self.objective.advance()
        try:
            return self._inspect(self.batches.draw())
        except (RuntimeError, ValueError):
            failed = first_failed_parameter(self.objective.model)
            if failed is None:
                raise
            return failed

    def set_learning_rate(self, rate: float) -> None:
        """Set the step size."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state, which does not depend on the model's name."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        raise NotImplementedError

    def _move(self, batch: Batch) -> Measured:
        """Update the parameters with a batch; return loss and terms from before the update."""
        raise NotImplementedError

    def _inspect(self, batch: Batch) -> str | None:
        raise NotImplementedError


def first_failure(
    loss: Tensor, terms: Mapping[str, Tensor], traces: Iterable[Traces]
) -> str | None:
    """Return the first site or term that was not finite, or `loss`; None if all were finite."""
    for pair in traces:
        site = first_non_finite(*pair)
        if site is not None:
            return site
    values = {**terms, "loss": loss}
    return next((name for name, value in values.items() if not bool(value.isfinite())), None)


def first_failed_gradient(model: nn.Module) -> str | None:
    """Return the first parameter whose gradient is not finite; None if all gradients are finite.

    The norm of all gradients may overflow even if all gradients are finite. Then return the
    parameter with the largest gradient.
    """
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    for name, gradient in found.items():
        if not bool(torch.isfinite(gradient).all()):
            return f"gradient of {name}"
    if not found or bool(nn.utils.get_total_norm(list(found.values())).isfinite()):
        return None
    return f"gradient of {max(found, key=lambda name: float(found[name].abs().max()))}"


def first_failed_parameter(model: nn.Module) -> str | None:
    """Return the first trained parameter that is not finite; None if all are finite."""
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    if not trained or bool(torch.stack([p.isfinite().all() for _, p in trained]).all()):
        return None
    return next(f"parameter {n}" for n, p in trained if not bool(p.isfinite().all()))

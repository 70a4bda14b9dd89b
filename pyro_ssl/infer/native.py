"""The library's own steps: one loss, one optimiser, compiled if that saves time."""

from typing import Any

import torch
from torch import Tensor

from pyro_ssl.infer.batches import MiniBatches
from pyro_ssl.infer.config import FitConfig
from pyro_ssl.infer.engine import Engine, first_failed_gradient, first_failure
from pyro_ssl.infer.gradients import CompiledGradients, Gradients, Measured
from pyro_ssl.infer.objective import Objective
from pyro_ssl.infer.optimiser import cap_gradients, make_optimiser, set_learning_rate, total_norm
from pyro_ssl.infer.processes import shared_gradients
from pyro_ssl.infer.restoring import check_optimiser
from pyro_ssl.models.rows import Batch


class NativeEngine(Engine):
    """Steps that read no tensor's value, so that they can be compiled and recorded.

    Args:
        objective: the loss that is minimised.
        batches: the minibatches.
        config: options of training.
        captured_on: the GPU, if its steps are to be part of a CUDA graph.
    """

    def __init__(
        self,
        objective: Objective,
        batches: MiniBatches,
        config: FitConfig,
        captured_on: torch.device | None = None,
    ) -> None:
        super().__init__(objective, batches)
        self.cap = config.max_gradient_norm
        self.optimiser = make_optimiser(objective.parameters(), config, captured_on)

    def prepare(self, compiles: bool) -> None:
        """Drop the compiled step, which contains options and the optimiser's tensors."""
        super().prepare(compiles)
        gradients = CompiledGradients if compiles else Gradients
        self._gradients = gradients(shared_gradients(self.objective))

    @property
    def execution(self) -> str:  # type: ignore[override]
        """How steps run: `eager` or `compiled`."""
        compiled = isinstance(self._gradients, CompiledGradients) and not self._gradients.failed
        return "compiled" if compiled else "eager"

    def set_learning_rate(self, rate: float) -> None:
        """Set the step size, in place on a GPU."""
        set_learning_rate(self.optimiser, rate)

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        return self.optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        # Not the step size: it follows from the epoch, and its tensor on a GPU must stay the same.
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({**state, "param_groups": groups})
        check_optimiser(self.optimiser)

    def _move(self, batch: Batch) -> Measured:
        measured = self._gradients(batch)
        self._step(measured.norm)
        return measured

    def _inspect(self, batch: Batch) -> str | None:
        self.optimiser.zero_grad()
        loss, terms, traces = self.objective.evaluate(batch)
        failure = first_failure(loss, terms, traces)
        if failure is None:
            loss.backward()
            failure = first_failed_gradient(self.objective.model)
        if failure is None:
            self._step(total_norm(self.objective.model.parameters()))
        return failure

    def _step(self, norm: Tensor) -> None:
        """Update the parameters along their gradients, whose total norm is `norm`."""
        cap_gradients(self._gradients.parameters, norm, self.cap)
        self.optimiser.step()

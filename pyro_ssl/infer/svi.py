"""Steps by Pyro's own `SVI`, the reference that the native engine is tested against."""

from typing import Any

import torch
from pyro.infer import ELBO, SVI, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.optim import Adam, PyroOptim, RMSprop
from torch import Tensor

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.elbos.names import PENALTY
from pyro_ssl.elbos.terms import Program, keeping_traces, terms_of
from pyro_ssl.infer.batches import MiniBatches
from pyro_ssl.infer.checkpoint import own_random_state
from pyro_ssl.infer.config import FitConfig
from pyro_ssl.infer.engine import Engine, first_failed_gradient, first_failure
from pyro_ssl.infer.gradients import Measured
from pyro_ssl.infer.objective import Objective
from pyro_ssl.infer.optimiser import cap_gradients, total_norm
from pyro_ssl.models.rows import Batch

OPTIMISERS = {"adam": Adam, "rmsprop": RMSprop}


class SVIEngine(Engine):
    """Steps by `pyro.infer.SVI`, `pyro.optim` and an ELBO of Pyro's where there is one.

    The programs are the model's under the handlers of rows' and terms' weights, nothing is
    compiled, and tensors are looked at as Pyro looks at them.

    Args:
        objective: what is minimised; its weights, its annealing and its penalty are used, and
            neither its loss nor its gradients.
        batches: where minibatches come from.
        config: how to train.
    """

    execution = "SVI"

    def __init__(self, objective: Objective, batches: MiniBatches, config: FitConfig) -> None:
        super().__init__(objective, batches)
        self.optim: PyroOptim = OPTIMISERS[config.optimiser]({"lr": config.learning_rate})
        self._loss = _Loss(objective, config.max_gradient_norm)
        programs = objective.weighted_programs()
        self._svi = SVI(*programs, self.optim, loss=self._loss, loss_and_grads=self._loss)

    def set_learning_rate(self, rate: float) -> None:
        """Set the step size of every parameter's optimiser, and of those to come."""
        self.optim.pt_optim_args["lr"] = rate
        for optimiser in self.optim.optim_objs.values():
            for group in optimiser.param_groups:
                group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """Return each parameter's optimiser's state, by the parameter's name in the model.

        Pyro's own `get_state` has names of the parameter store, which another instance of the
        model would not have.
        """
        return {
            name: self.optim.optim_objs[parameter].state_dict()
            for name, parameter in self.objective.model.named_parameters()
            if parameter in self.optim.optim_objs
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.optim.optim_objs.clear()
        for name, parameter in self.objective.model.named_parameters():
            if name in state:
                optimiser = self.optim.pt_optim_constructor([parameter], **self.optim.pt_optim_args)
                optimiser.load_state_dict(state[name])
                self.optim.optim_objs[parameter] = optimiser
                self.optim.grad_clip[parameter] = None

    def _move(self, batch: Batch) -> Measured:
        self._svi.step(batch)
        assert self._loss.measured is not None
        return self._loss.measured

    def _inspect(self, batch: Batch) -> str | None:
        self._loss.inspects = True
        try:
            self._svi.step(batch)
            return self._loss.failure
        finally:
            self._loss.inspects = False


class _Loss:
    """What `SVI` calls for the loss of a batch, which leaves its gradients in the parameters.

    Attributes:
        measured: what the last batch measured.
        inspects: whether to look for what is not finite.
        failure: what was not, in the last batch that was inspected.
    """

    def __init__(self, objective: Objective, cap: float | None) -> None:
        self.objective = objective
        self.cap = cap
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        self.measured: Measured | None = None
        self.inspects = False
        self.failure: str | None = None
        self._elbo: Any = None

    def __call__(self, model: Program, guide: Program, batch: Batch) -> Tensor:
        """Return the loss, a scalar."""
        if self._elbo is None:
            self._elbo = keeping_traces(pyro_elbo(self.objective, batch))
        self._elbo.traces = []
        loss = torch.as_tensor(self._elbo.loss_and_grads(model, guide, batch))
        # A Python number of Pyro's is a double.
        loss = loss.to(self.parameters[0])
        traces, self._elbo.traces = self._elbo.traces, []
        terms = terms_of(self._elbo, traces)
        if self.objective.penalty is not None:
            penalty = self.objective.penalty(self.objective.model)
            penalty.backward()
            loss, terms[PENALTY] = loss + penalty.detach(), penalty.detach()
        if self.inspects:
            failed = first_failure(loss, traces)
            self.failure = failed or first_failed_gradient(self.objective.model)
        norm = total_norm(self.parameters)
        self.measured = Measured.of(loss, terms, norm)
        cap_gradients(self.parameters, norm, self.cap)
        return loss


def pyro_elbo(objective: Objective, batch: Batch) -> ELBO:
    """Return Pyro's own ELBO where it has one of the model's objective, else the model's.

    `TraceEnum_ELBO` stands in for `StaticEnum_ELBO`, `TraceMeanField_ELBO` for the one with KL
    divergences in closed form, unless a label is enumerated as well, which it cannot do.

    Args:
        objective: the objective.
        batch: rows to run the programs on, which changes no state.
    """
    elbo = objective.model.make_elbo()
    if type(elbo) is not StaticEnum_ELBO:
        return elbo
    if not elbo.closed_form_kl:
        return TraceEnum_ELBO(max_plate_nesting=elbo.max_plate_nesting)
    with own_random_state(0, batch.xs.device):
        sites = objective.sites(batch)
    enumerated = any(site["infer"].get("enumerate") for site in sites)
    return elbo if enumerated else TraceMeanField_ELBO(max_plate_nesting=elbo.max_plate_nesting)

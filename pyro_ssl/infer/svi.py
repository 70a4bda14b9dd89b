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
from pyro_ssl.infer.restoring import check_optimiser
from pyro_ssl.models.rows import Batch

OPTIMISERS = {"adam": Adam, "rmsprop": RMSprop}


class SVIEngine(Engine):
    """Steps by `pyro.infer.SVI`, `pyro.optim` and, if Pyro has the objective, Pyro's ELBO.

    The programs are those of the model, with handlers for the weights of rows and terms. Nothing is
    compiled, and Pyro reads tensors' values.

    Args:
        objective: the loss that is minimised; only its weights, annealing and penalty are used, not
            its own loss and gradients.
        batches: the minibatches.
        config: options of training.
    """

    execution = "SVI"

    def __init__(self, objective: Objective, batches: MiniBatches, config: FitConfig) -> None:
        super().__init__(objective, batches)
        self.optim: PyroOptim = OPTIMISERS[config.optimiser]({"lr": config.learning_rate})
        self._loss = _Loss(objective, config.max_gradient_norm)
        programs = objective.weighted_programs()
        self._svi = SVI(*programs, self.optim, loss=self._loss, loss_and_grads=self._loss)

    def set_learning_rate(self, rate: float) -> None:
        """Set the step size for the optimisers of all parameters, including later ones."""
        self.optim.pt_optim_args["lr"] = rate
        for optimiser in self.optim.optim_objs.values():
            for group in optimiser.param_groups:
                group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each parameter's optimiser, by the parameter's name in the model.

        Pyro's own `get_state` uses names of the parameter store, which differ between instances of
        a model.
        """
        return {
            name: self.optim.optim_objs[parameter].state_dict()
            for name, parameter in self.objective.model.named_parameters()
            if parameter in self.optim.optim_objs
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.optim.optim_objs.clear()
        for name, parameter in self.objective.model.named_parameters():
            if name in state:
                optimiser = self.optim.pt_optim_constructor([parameter], **self.optim.pt_optim_args)
                optimiser.load_state_dict(state[name])
                check_optimiser(optimiser)
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
    """The loss function of `SVI`, which stores its gradients in the parameters.

    Attributes:
        measured: loss, terms and gradient norm of the last batch.
        inspects: whether to search for sites and gradients that are not finite.
        failure: the first of these in the last inspected batch.
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
        # Pyro's loss may be a Python number, which has double precision.
        loss = loss.to(self.parameters[0])
        traces, self._elbo.traces = self._elbo.traces, []
        terms = terms_of(self._elbo, traces)
        if self.objective.penalty is not None:
            penalty = self.objective.penalty(self.objective.model)
            penalty.backward()
            loss, terms[PENALTY] = loss + penalty.detach(), penalty.detach()
        if self.inspects:
            failed = first_failure(loss, terms, traces)
            self.failure = failed or first_failed_gradient(self.objective.model)
        norm = total_norm(self.parameters)
        self.measured = Measured.of(loss, terms, norm)
        cap_gradients(self.parameters, norm, self.cap)
        return loss


def pyro_elbo(objective: Objective, batch: Batch) -> ELBO:
    """Return Pyro's own ELBO for the model's objective if there is one, else the model's ELBO.

    `TraceEnum_ELBO` replaces `StaticEnum_ELBO`. If KL divergences are in closed form and no label
    is enumerated, `TraceMeanField_ELBO` replaces it; it cannot enumerate.

    Args:
        objective: the objective.
        batch: rows to run the programs on; no state changes.
    """
    elbo = objective.model.make_elbo()
    if type(elbo) is not StaticEnum_ELBO:
        return elbo
    several = elbo.num_particles > 1
    # Pyro itself adds the plate of several draws.
    nesting, draws = elbo.max_plate_nesting - several, elbo.num_particles
    if not elbo.closed_form_kl:
        return TraceEnum_ELBO(draws, nesting, vectorize_particles=several)
    with own_random_state(0, batch.xs.device):
        sites = objective.sites(batch)
    enumerated = any(site["infer"].get("enumerate") for site in sites)
    return elbo if enumerated else TraceMeanField_ELBO(draws, nesting, vectorize_particles=several)

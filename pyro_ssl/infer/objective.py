"""The scalar that training minimises, as a module that owns the model."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from pyro_ssl.elbos.sites import sample_sites
from pyro_ssl.elbos.terms import objective_terms, recorded_traces
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.annealing import (
    Anneal,
    Annealing,
    annealed_buffers,
    check_ranges,
    is_weight,
    site_keys,
)
from pyro_ssl.infer.penalty import Penalty
from pyro_ssl.infer.weights import RowWeights, TermWeights
from pyro_ssl.models.base import PyroModel
from pyro_ssl.models.rows import Batch


class Objective(nn.Module):
    """Negative objective of a model on a mixed minibatch, in nats per example.

    With N_l labelled and N_u unlabelled rows in the data, N = N_l + N_u, of which a batch
    holds B_l and B_u drawn uniformly, `forward` is an unbiased estimate of::

        -1/N [sum over labelled bounds + sum over unlabelled bounds]
            + alpha/N_l [sum over labelled rows of -log q(y|x)]

    by weighing its rows as `RowWeights` says. What is annealed has the value of the step that
    `advance` came to; that of the first step before it was called.

    Args:
        model: the model, whose `make_elbo()` is used.
        num_labelled: N_l, labelled rows in the whole data.
        num_unlabelled: N_u, unlabelled rows in the whole data.
        compute_dtype: dtype of the matrix products inside model and guide (autocast), None
            for the parameters' own. Log-probabilities and their sums are never autocast.
        anneal: what changes in the first steps, as in `FitConfig`; None for nothing.
        penalty: what to add for the model's weights; None for nothing.

    Raises:
        ConfigError: if the model has no such buffer as is to be annealed, or a value would be out
            of range.
    """

    def __init__(
        self,
        model: PyroModel,
        num_labelled: int,
        num_unlabelled: int,
        compute_dtype: torch.dtype | None = None,
        anneal: Mapping[str, Anneal] | None = None,
        penalty: Penalty | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.row_weights = RowWeights(num_labelled, num_unlabelled)
        self.compute_dtype = compute_dtype
        self.elbo = model.make_elbo()
        self.penalty = penalty
        self.annealing: Annealing | None = None
        if anneal:
            annealed_buffers(model, anneal)
            check_ranges(anneal)
            self.annealing = Annealing(anneal, next(model.parameters()))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of a batch and its terms, as `objective_terms` has them.

        With a penalty there is one more, `penalty`, in nats per example.

        Args:
            batch: its rows, the labelled ones first.
        """
        annealed = TermWeights(dict(self.annealing.items()) if self.annealing else {})
        with self.row_weights, annealed, recorded_traces(self.elbo) as traces:
            loss = self.elbo.differentiable_loss(
                self._autocast(self.model.model, batch.xs),
                self._autocast(self.model.guide, batch.xs),
                batch,
            )
        terms = objective_terms(*traces[-1])
        if self.penalty is not None:
            penalty = self.penalty(self.model)
            loss, terms["penalty"] = loss + penalty, penalty.detach()
        return loss, terms

    def begin_at(self, step: int) -> None:
        """Let `step` be the number, from 0, of the step that `advance` comes to next."""
        if self.annealing is not None:
            self.annealing.step.fill_(step)

    def advance(self) -> None:
        """Give what is annealed its value in the next step; looks at no tensor."""
        if self.annealing is not None:
            self.annealing.advance()
            values = dict(self.annealing.items())
            for key, buffer in annealed_buffers(self.model, values).items():
                buffer.copy_(values[key])

    @torch.no_grad()
    def check_annealed(self, batch: Batch) -> None:
        """Check by a batch, which changes no state, that every annealed weight weighs something.

        Args:
            batch: its rows, the labelled ones first.

        Raises:
            ConfigError: naming the key that no term has, and those that there are.
        """
        if self.annealing is None:
            return
        buffers = [(buffer, buffer.clone()) for buffer in self.buffers()]
        with recorded_traces(self.elbo) as traces:
            self(batch)
        for buffer, before in buffers:
            buffer.copy_(before)
        sites = [site for trace in traces[-1] for site in sample_sites(trace)]
        found = {key for site in sites for key in site_keys(site)}
        for key in self.annealing.keys:
            if is_weight(key) and key not in found:
                raise ConfigError(
                    f"anneal has the key {key!r}, but {type(self.model).__name__} has no such "
                    f"term on these rows: expected one of {', '.join(sorted(found))}"
                )

    def _autocast(self, program: Callable[..., None], xs: Tensor) -> Callable[..., None]:
        """Autocast while the program runs its networks, not while the ELBO sums its sites."""

        def run(*args: Any) -> None:
            context: AbstractContextManager[Any] = nullcontext()
            if self.compute_dtype is not None:
                context = torch.autocast(xs.device.type, dtype=self.compute_dtype)
            with context:
                program(*args)

        return run

"""The scalar that training minimises, as a module that owns the model."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from pyro_ssl.infer.terms import objective_terms, recorded_traces
from pyro_ssl.models.base import PyroModel
from pyro_ssl.models.rows import LABELLED, UNLABELLED


class RowWeights(Messenger):
    """Pyro handler that scales the sites of labelled and of unlabelled rows.

    Args:
        weights: factor for each part's sites, keyed `"labelled"` and `"unlabelled"`.
    """

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights

    def _pyro_sample(self, msg: Any) -> None:
        part = msg["name"].partition("/")[0]
        if part in self.weights:
            msg["scale"] = msg["scale"] * self.weights[part]


class Objective(nn.Module):
    """Negative objective of a model on a mixed minibatch, in nats per example.

    With N_l labelled and N_u unlabelled rows in the data, N = N_l + N_u, of which a batch
    holds B_l and B_u drawn uniformly, `forward` is an unbiased estimate of::

        -1/N [sum over labelled rows (bound + classification term) + sum over unlabelled bounds]

    by weighing the batch's labelled rows by N_l / (B_l N) and its unlabelled ones by
    N_u / (B_u N).

    Args:
        model: the model, whose `make_elbo()` is used.
        num_labelled: N_l, labelled rows in the whole data.
        num_unlabelled: N_u, unlabelled rows in the whole data.
        compute_dtype: dtype of the matrix products inside model and guide (autocast), None
            for the parameters' own. Log-probabilities and their sums are never autocast.
    """

    def __init__(
        self,
        model: PyroModel,
        num_labelled: int,
        num_unlabelled: int,
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.num_labelled = num_labelled
        self.num_unlabelled = num_unlabelled
        self.compute_dtype = compute_dtype
        self.elbo = model.make_elbo()

    def forward(
        self, xs: Tensor, ys: Tensor, num_labelled: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of a batch and its terms, as `objective_terms` has them.

        Args:
            xs: inputs `[B, *input_shape]`, the labelled rows first.
            ys: labels `[B]`, -1 where unknown.
            num_labelled: number of labelled rows B_l.
        """
        weights = RowWeights(self._weights(num_labelled, len(xs) - num_labelled))
        with weights, recorded_traces(self.elbo) as traces:
            loss = self.elbo.differentiable_loss(
                self._autocast(self.model.model, xs),
                self._autocast(self.model.guide, xs),
                xs,
                ys,
                num_labelled,
            )
        return loss, objective_terms(*traces[-1])

    def _weights(self, batch_labelled: int, batch_unlabelled: int) -> dict[str, float]:
        total = self.num_labelled + self.num_unlabelled
        weights = {}
        if batch_labelled:
            weights[LABELLED] = self.num_labelled / (batch_labelled * total)
        if batch_unlabelled:
            weights[UNLABELLED] = self.num_unlabelled / (batch_unlabelled * total)
        return weights

    def _autocast(self, program: Callable[..., None], xs: Tensor) -> Callable[..., None]:
        """Autocast while the program runs its networks, not while the ELBO sums its sites."""

        def run(*args: Any) -> None:
            context: AbstractContextManager[Any] = nullcontext()
            if self.compute_dtype is not None:
                context = torch.autocast(xs.device.type, dtype=self.compute_dtype)
            with context:
                program(*args)

        return run

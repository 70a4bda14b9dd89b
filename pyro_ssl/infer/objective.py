"""The scalar that training minimises, as a module that owns the model."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.elbos.names import PENALTY
from pyro_ssl.elbos.sites import Site, sample_sites
from pyro_ssl.elbos.terms import Program, Traces, keeping_traces, loss_and_traces, terms_of
from pyro_ssl.infer.annealing import Anneal, Annealing, annealed_buffers, check_keys, check_ranges
from pyro_ssl.infer.config import PRECISIONS, FitConfig
from pyro_ssl.infer.consistency import Consistency
from pyro_ssl.infer.penalty import Penalty
from pyro_ssl.infer.weights import RowWeights, TermWeights
from pyro_ssl.models.base import PyroModel, SSLModel
from pyro_ssl.models.rows import Batch
from pyro_ssl.option_kinds import Range
from pyro_ssl.options import checked


class Objective(nn.Module):
    """Negative objective of a model on a mixed minibatch, in nats per example.

    The data has N_l labelled and N_u unlabelled rows, N = N_l + N_u. A batch has B_l and B_u of
    them, drawn uniformly. `forward` is an unbiased estimate of::

        -1/N [sum over labelled bounds + sum over unlabelled bounds]
            + alpha/N_l [sum over labelled rows of -log q(y|x)]

    with rows weighed by `RowWeights`; with `equal`, the two sums are divided by N_l and N_u instead
    of N. Annealed weights and options have the values that `advance` set last; before its first
    call, those of the first step.

    Args:
        model: the model, whose `make_elbo()` is used.
        num_labelled: N_l, labelled rows in the whole data.
        num_unlabelled: N_u, unlabelled rows in the whole data.
        compute_dtype: dtype of the matrix products in model and guide (autocast); None for the
            parameters' own dtype. Log-probabilities and their sums are never autocast.
        anneal: the values that change in the first steps, as in `FitConfig`; None for none.
        penalty: a penalty on the model's weights, added to the loss; None for none.
        equal: weigh both bounds equally, see `RowWeights`.
        consistency: a term of unlabelled rows that is added to the guide; None for none.

    Raises:
        ConfigError: if an annealed value would be out of range.
    """

    @checked
    def __init__(
        self,
        model: PyroModel,
        num_labelled: Annotated[int, Range(0)],
        num_unlabelled: Annotated[int, Range(0)],
        compute_dtype: torch.dtype | None = None,
        anneal: Mapping[str, Anneal] | None = None,
        penalty: Penalty | None = None,
        equal: bool = False,
        consistency: Consistency | None = None,
    ) -> None:
        super().__init__()
        self.model, self.consistency = model, consistency
        self.row_weights = RowWeights(num_labelled, num_unlabelled, equal)
        self.compute_dtype = compute_dtype
        self.elbo = keeping_traces(model.make_elbo())
        self.penalty = penalty
        self.annealing: Annealing | None = None
        if anneal:
            check_ranges(model, anneal)
            self.annealing = Annealing(anneal, next(model.parameters()))

    @classmethod
    @checked
    def of(cls, model: PyroModel, data: SSLData, config: FitConfig | None = None) -> "Objective":
        """Return the objective that `fit` uses for a model.

        Args:
            model: the model.
            data: the data; the weights of rows depend on the numbers of rows.
            config: options of training; all defaults if None.

        Raises:
            ConfigError: as for the constructor, or if `config` does not suit the data.
        """
        config = (config or FitConfig()).resolved(model, data)
        penalty = None
        if config.l1 or config.l2:
            penalty = Penalty(model, config.l1, config.l2, config.penalised)
        rows, dtype = (data.num_labelled, data.num_unlabelled), PRECISIONS[config.precision]
        equal = config.bound_weights == "equal"
        return cls(model, *rows, dtype, config.weights(), penalty, equal, config.consistency)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of a batch and its terms, see `objective_terms`.

        With a penalty there is one more term, `penalty`, in nats per example.

        Args:
            batch: the rows, with the labelled ones first.
        """
        loss, terms, _ = self.evaluate(batch)
        return loss, terms

    def evaluate(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], list[Traces]]:
        """Return what `forward` returns, and the traces of the evaluation."""
        with self.row_weights, self.term_weights():
            loss, traces = loss_and_traces(self.elbo, *self.programs(), batch)
        terms = terms_of(self.elbo, traces)
        if self.penalty is not None:
            penalty = self.penalty(self.model)
            loss, terms[PENALTY] = loss + penalty, penalty.detach()
        return loss, terms, traces

    def programs(self) -> tuple[Program, Program]:
        """Return model and guide, whose networks compute in `compute_dtype`."""
        return self._autocast(self.model.model), self._autocast(self._guide)

    def weighted_programs(self) -> tuple[Program, Program]:
        """Return model and guide with the same weights of rows and terms as in `forward`.

        They are for your own training loop, `SVI(*objective.weighted_programs(), ...)`, whose steps
        take a `Batch`, or inputs and labels; call `advance` before each step.
        """
        model, guide = self.programs()
        return self._weighted(model), self._weighted(guide)

    def term_weights(self) -> TermWeights:
        """Return the handler that scales terms by the present annealed weights."""
        values = dict(self.annealing.items()) if self.annealing else {}
        options = annealed_buffers(self.model, values)
        return TermWeights({key: value for key, value in values.items() if key not in options})

    def begin_at(self, step: int) -> None:
        """Set the number, from 0, of the step that the next `advance` prepares."""
        if self.annealing is not None:
            self.annealing.step.fill_(step)

    def advance(self) -> None:
        """Set annealed values for the next step, without reading tensors on the host."""
        if self.annealing is not None:
            self.annealing.advance()
            values = dict(self.annealing.items())
            for key, buffer in annealed_buffers(self.model, values).items():
                buffer.copy_(values[key])

    def check_annealed(self, batch: Batch) -> None:
        """Check on a batch that each annealed weight applies to a term; no buffer changes.

        Args:
            batch: the rows, with the labelled ones first.

        Raises:
            ConfigError: naming a key that no term has, and all keys that terms have.
        """
        if self.annealing is not None:
            check_keys(self.model, self.annealing.keys, self.sites(batch))

    def sites(self, batch: Batch) -> list[Site]:
        """Return the sites of model and guide on a batch; no buffer changes.

        Args:
            batch: the rows, with the labelled ones first.
        """
        buffers = [(buffer, buffer.clone()) for buffer in self.buffers()]
        _, _, traces = self.evaluate(batch)
        for buffer, before in buffers:
            buffer.copy_(before)
        return [site for pair in traces for trace in pair for site in sample_sites(trace)]

    def _guide(self, batch: Batch) -> None:
        """Run the term of consistency, and the model's guide."""
        if self.consistency is not None:
            assert isinstance(self.model, SSLModel)
            self.consistency.add_to_guide(self.model, batch)
        self.model.guide(batch)

    def _weighted(self, program: Program) -> Program:
        def run(xs: Tensor | Batch, ys: Tensor | None = None) -> None:
            with self.row_weights, self.term_weights():
                program(Batch.of(xs, ys))

        return run

    def _autocast(self, program: Program) -> Program:
        """Use autocast for the networks of a program, but not for the ELBO's sums over sites."""

        def run(batch: Batch) -> None:
            context: AbstractContextManager[Any] = nullcontext()
            if self.compute_dtype is not None:
                context = torch.autocast(batch.xs.device.type, dtype=self.compute_dtype)
            with context:
                program(batch)

        return run

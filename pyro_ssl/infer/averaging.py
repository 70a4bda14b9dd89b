"""Exponential averages of a model's weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.errors import CheckpointError
from pyro_ssl.models.base import PyroModel, SSLModel
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.reading import REMEDY

# Rows, and rows at a time, of which batch norm's statistics are.
_ROWS, _AT_ONCE = 10_000, 500


class WeightAverage:
    """An exponential moving average of all floating weights and buffers of a model.

    After step t, from 0, the average moves towards the weights by 1 - d of their distance, where d
    is `decay`, at first less: (1 + t) / (10 + t), so that the first weights do not stay in it.

    Running statistics of batch norm in the classifier are not averaged: they are those of the
    averaged weights for up to 10,000 unlabelled rows (labelled ones if there are no others), as
    they are, neither augmented nor binarised. Statistics kept while training are of other weights,
    and of augmented images and the views of `Consistency` too.

    Source: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal
    on Control and Optimization, 1992; for semi-supervised learning Tarvainen, Valpola, "Mean
    teachers are better role models", NeurIPS 2017; of the statistics Izmailov et al., "Averaging
    weights leads to wider optima and better generalization", UAI 2018, section 3.2.

    Args:
        model: the model, whose tensors must stay in place.
        decay: d, at least 0 and below 1; None for no average: then nothing here has an effect.
        data: the data it is trained on; None to average the statistics too.
        frozen: parts of the model that are not trained.
    """

    def __init__(
        self,
        model: PyroModel,
        decay: float | None,
        data: SSLData | None = None,
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        self.decay = decay
        self._model, self._data = model, data
        self._all = {} if decay is None else model.state_dict()
        self._present = {n: t for n, t in self._all.items() if t.is_floating_point()}
        self._average = {n: t.clone() for n, t in self._present.items()}
        self._norms: list[_BatchNorm] = []
        # Statistics of the present average; None if it has moved since.
        self._statistics: list[list[Tensor]] | None = None
        if data is not None and isinstance(model, SSLModel):
            still = {part for whole in frozen for part in whole.modules()}
            norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m not in still]
            self._norms = [m for m in norms if m.track_running_stats]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after a step, which are numbered from 0."""
        if self.decay is None:
            return
        self._statistics = None
        decay = min(self.decay, (1 + step) / (10 + step))
        move = get_ema_multi_avg_fn(decay)
        move([*self._average.values()], [*self._present.values()], step)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the average's weights within the context."""
        present = [t.clone() for t in self._all.values()]
        self.put_in_place()
        try:
            yield
        finally:
            _copy([*self._all.values()], present)

    def put_in_place(self) -> None:
        """Let the model have the average's weights."""
        _copy([*self._present.values()], [*self._average.values()])
        if self.decay is None or not self._norms:
            return
        if self._statistics is None:
            self._renew_statistics()
            self._statistics = [[b.clone() for b in norm.buffers()] for norm in self._norms]
        for norm, statistics in zip(self._norms, self._statistics, strict=True):
            _copy([*norm.buffers()], statistics)

    @torch.no_grad()
    def _renew_statistics(self) -> None:
        """Let batch norm have the statistics of the present weights; dropout is off."""
        model, data = self._model, self._data
        assert isinstance(model, SSLModel)
        assert data is not None
        rows = data.unlabelled_xs if len(data.unlabelled_xs) else data.labelled_xs
        generator = torch.Generator().manual_seed(0)
        chosen = torch.randperm(len(rows), generator=generator)[:_ROWS].to(rows.device)
        momenta = [norm.momentum for norm in self._norms]
        averages = [[b.clone() for b in norm.buffers()] for norm in self._norms]
        with evaluating(model):
            for norm in self._norms:
                norm.reset_running_stats()
                # Of equal weights for all batches.
                norm.momentum = None
                norm.train()
            # Not a last batch of a few rows, which would weigh as much.
            for part in chosen.chunk(-(-len(chosen) // _AT_ONCE)):
                xs = rows[part].to(data.labelled_xs.device)
                model.class_logits(xs.float() / 255 if xs.dtype == torch.uint8 else xs)
        for norm, momentum, average in zip(self._norms, momenta, averages, strict=True):
            norm.momentum = momentum
            if not norm.num_batches_tracked:
                # The classifier does not pass it: the averaged statistics stay.
                _copy([*norm.buffers()], average)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages, by the names of the model's tensors."""
        return self._average

    def load_state_dict(self, state: Any) -> None:
        """Restore what `state_dict` returned.

        Raises:
            CheckpointError: if it is of other tensors.
        """
        shapes = {n: t.shape for n, t in self._average.items()}
        if {n: getattr(t, "shape", None) for n, t in dict(state).items()} != shapes:
            raise CheckpointError(f"the average of the weights is not of this model's: {REMEDY}")
        _copy([*self._average.values()], [state[n] for n in self._average])
        self._statistics = None


@torch.no_grad()
def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)

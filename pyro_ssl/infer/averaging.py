"""Exponential averages of a model's weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pyro_ssl.errors import CheckpointError
from pyro_ssl.reading import REMEDY


class WeightAverage:
    """An exponential moving average of all floating weights and buffers of a model.

    After step t, from 0, the average moves towards the weights by 1 - d of their distance, where d
    is `decay`, at first less: (1 + t) / (10 + t), so that the first weights do not stay in it.

    Source: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal
    on Control and Optimization, 1992; for semi-supervised learning Tarvainen, Valpola, "Mean
    teachers are better role models", NeurIPS 2017.

    Args:
        model: the model, whose tensors must stay in place.
        decay: d, at least 0 and below 1; None for no average: then nothing here has an effect.
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.decay = decay
        tensors = {} if decay is None else model.state_dict()
        self._present = {n: t for n, t in tensors.items() if t.is_floating_point()}
        self._average = {n: t.clone() for n, t in self._present.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after a step, which are numbered from 0."""
        if self.decay is None:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        move = get_ema_multi_avg_fn(decay)
        move([*self._average.values()], [*self._present.values()], step)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the average's weights within the context."""
        present = [t.clone() for t in self._present.values()]
        self.put_in_place()
        try:
            yield
        finally:
            _copy([*self._present.values()], present)

    def put_in_place(self) -> None:
        """Let the model have the average's weights."""
        _copy([*self._present.values()], [*self._average.values()])

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


@torch.no_grad()
def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)

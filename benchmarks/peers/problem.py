"""What all contestants learn from, and the sizes of their networks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

PIXELS, CLASSES = 784, 10
# 512 is the width that pythae's networks have.
HIDDEN, LATENT = 512, 50
LEARNING_RATE = 1e-3
# Weight of the mean of -log q(y|x) over labelled rows beside the bound per example.
ALPHA = 15.0


class Passed(NamedTuple):
    """An epoch that has passed.

    Attributes:
        loss: mean loss of its steps, in nats an example.
        seconds: its seconds, if the contestant measures them itself to leave out a start-up.
    """

    loss: float
    seconds: float | None = None


# Trains for an epoch.
Epoch = Callable[[], Passed]


@dataclass(frozen=True)
class Problem:
    """Binary images of ten prototypes with noise.

    Attributes:
        xs: unlabelled images `[N, 784]`, floats.
        known_xs: labelled images `[n, 784]`, all of which are in every batch.
        known_ys: their labels `[n]`.
        batch_size: unlabelled images a step; N is a multiple of it.
    """

    xs: Tensor
    known_xs: Tensor
    known_ys: Tensor
    batch_size: int

    @classmethod
    def drawn(cls, rows: int, labels: int, batch_size: int) -> "Problem":
        """Return new images.

        Args:
            rows: unlabelled images N, rounded down to a multiple of `batch_size`.
            labels: labelled images n.
            batch_size: see above.
        """
        generator = torch.Generator().manual_seed(0)
        rows -= rows % batch_size
        shapes = 0.1 + 0.8 * (torch.rand(CLASSES, PIXELS, generator=generator) > 0.7)
        ys = torch.arange(rows + labels) % CLASSES
        xs = torch.bernoulli(shapes[ys], generator=generator)
        return cls(xs[labels:], xs[:labels], ys[:labels], batch_size)

    def counts(self) -> Tensor:
        """Return unlabelled and labelled rows as counts `[N + n, 784]`, means 1 and 5."""
        rates = 1 + 4 * torch.cat([self.known_xs, self.xs])
        return torch.poisson(rates, generator=torch.Generator().manual_seed(1))

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return len(self.xs) // self.batch_size

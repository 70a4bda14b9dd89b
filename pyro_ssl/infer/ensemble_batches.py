"""Minibatches of several models, each from the model's own rows."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pyro_ssl.data.known import unknown_of
from pyro_ssl.elbos.names import KINDS
from pyro_ssl.infer.ensemble_options import EnsembleConfig, Member, Rows


class MemberBatches:
    """Minibatches of all members, `[E, B, ...]`, labelled rows first.

    The rows of a minibatch depend only on the seed, the member's number and the step's. A member
    may lack rows of a kind that others have. It then gets rows of the other kind in their place,
    and its `shares` of 0 keep these out of its objective.

    Args:
        xs: inputs of all rows, `[N, *input_shape]`.
        ys: their labels.
        members: the rows of each member.
        config: options of training.

    Attributes:
        num_labelled: number of labelled rows in a member's minibatch.
        shares: the shares of labelled and of unlabelled rows among a member's rows, `[E, 2]`.
    """

    def __init__(
        self, xs: Tensor, ys: Tensor, members: Sequence[Member], config: EnsembleConfig
    ) -> None:
        self.xs, self.ys = xs, ys
        numbers = np.array([[len(np.unique(getattr(m, kind))) for kind in KINDS] for m in members])
        self.shares = torch.from_numpy(numbers / numbers.sum(1, keepdims=True)).to(xs)
        self.num_labelled = min(
            config.labelled_batch_size, max(len(member.labelled) for member in members)
        )
        some = any(len(member.unlabelled) for member in members)
        sizes = (self.num_labelled, config.batch_size if some else 0)
        self._orders = [
            torch.from_numpy(_orders(members, kind, size, config)).to(xs.device)
            for kind, size in zip(KINDS, sizes, strict=True)
        ]
        lacks = torch.from_numpy(numbers[:, 0] == 0).to(xs.device)
        self._lacks_labels = lacks if self.num_labelled and bool(lacks.any()) else None

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of the minibatches of a step."""
        labelled, unlabelled = (order[step] for order in self._orders)
        known = self.ys[labelled]
        if self._lacks_labels is not None:
            known[self._lacks_labels] = 0
        unknown = known.new_full((*unlabelled.shape, *known.shape[2:]), unknown_of(known))
        xs = self.xs[torch.cat([labelled, unlabelled], 1)]
        return xs, torch.cat([known, unknown], 1)


def _orders(members: Sequence[Member], kind: str, size: int, config: EnsembleConfig) -> Rows:
    """Return the members' row indices of one kind in all steps, `[steps, E, size]`."""
    each = []
    for number, member in enumerate(members):
        rng = np.random.default_rng([config.seed, number, KINDS.index(kind)])
        rows: Rows = getattr(member, kind)
        if not len(rows):
            # Any rows will do, since their weight is 0.
            rows = np.concatenate([member.labelled, member.unlabelled])[:1]
        each.append(_drawn(rng, rows.astype(np.int64), member.weights, config.max_steps, size))
    return np.stack(each, 1)


def _drawn(
    rng: np.random.Generator, rows: Rows, weights: np.ndarray | None, steps: int, size: int
) -> Rows:
    """Return row indices `[steps, size]`, drawn by weight, or in passes in new random orders."""
    if not size:
        return np.empty((steps, 0), np.int64)
    if weights is not None and len(rows) > 1:
        shares = weights[rows] / weights[rows].sum()
        return rng.choice(rows, (steps, size), p=shares)
    passes = -(-steps * size // len(rows))
    orders = np.concatenate([rng.permutation(rows) for _ in range(passes)])
    return orders[: steps * size].reshape(steps, size)

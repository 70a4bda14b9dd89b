"""Minibatches, drawn by index on the device of the rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.models.rows import Batch


@dataclass(frozen=True)
class Share:
    """The part of every minibatch that one process takes, in training by several processes.

    Attributes:
        rank: number of this process.
        processes: number of processes; all take equally many rows.
    """

    rank: int = 0
    processes: int = 1


class MiniBatches:
    """Epochs of minibatches of fixed shape, labelled rows first.

    An epoch is one pass over the unlabelled rows in a new random order (over the labelled rows if
    there are no unlabelled ones); rows that do not fill a last batch are left out of the epoch.
    Labelled rows are drawn in pass after pass, each in a new random order, so that no row comes
    twice within a pass. The orders depend only on `seed` and the epoch, and are the same in every
    process.

    Drawing a batch changes tensors in place and reads no value on the host, so that it can be part
    of a CUDA graph. Unlabelled rows may be in main memory, or in a file mapped to it, and all other
    rows on a GPU: unlabelled rows are then copied batch by batch.

    Args:
        data: the rows.
        batch_size: unlabelled rows a batch (labelled ones if there are no unlabelled ones).
        labelled_batch_size: labelled rows a batch; None for all of them, but no more than
            `batch_size`.
        steps: batches an epoch; None for one pass.
        binarise: draw each pixel from a Bernoulli with the pixel as its mean, each time again.
        seed: seed of the orders.
        share: the part of every batch to draw.

    Raises:
        ConfigError: if a batch asks for more rows than there are, or cannot be shared evenly.
    """

    def __init__(
        self,
        data: SSLData,
        batch_size: int,
        labelled_batch_size: int | None = None,
        steps: int | None = None,
        binarise: bool = True,
        seed: int = 0,
        share: Share | None = None,
    ) -> None:
        self.data = data
        self.binarise = binarise
        self.seed = seed
        self.share = share or Share()
        unlabelled = batch_size if data.num_unlabelled else 0
        if labelled_batch_size is None:
            labelled_batch_size = min(data.num_labelled, batch_size)
            if not data.num_unlabelled:
                labelled_batch_size = batch_size
        labelled = labelled_batch_size if data.num_labelled else 0
        for what, wanted, rows in (
            ("batch_size", unlabelled, data.num_unlabelled),
            ("labelled batch size", labelled, data.num_labelled),
        ):
            if wanted > rows:
                raise ConfigError(
                    f"{what} is {wanted}, but there are only {rows} such rows: use at most {rows}"
                )
            if wanted % self.share.processes:
                raise ConfigError(
                    f"{what} is {wanted}, which {self.share.processes} processes cannot share "
                    "evenly: choose a multiple of their number"
                )
        if batch_size < 1 or labelled_batch_size < 0:
            raise ConfigError(f"batch_size is {batch_size}, expected at least 1")
        whole, part = (
            (data.num_unlabelled, unlabelled) if unlabelled else (data.num_labelled, labelled)
        )
        if binarise and data.real_valued:
            raise ConfigError(
                "binarise draws pixels from inputs in [0, 1], but these are any real "
                "numbers: use binarise=False"
            )
        self.steps = whole // part if steps is None else steps
        self.labelled = labelled // self.share.processes
        self.unlabelled = unlabelled // self.share.processes
        self._labelled_order = self._empty_order(data.labelled_xs, self.labelled)
        self._unlabelled_order = self._empty_order(data.unlabelled_xs, self.unlabelled)
        ys = data.labelled_ys
        self._unknown = ys.new_full((self.unlabelled, *ys.shape[1:]), -1)

    @property
    def streams(self) -> bool:
        """Whether unlabelled rows are copied to the training device from elsewhere."""
        return self.data.unlabelled_xs.device != self.data.labelled_xs.device

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of epoch `number`, as `draw` returns them."""
        self.shuffle(number)
        for _ in range(self.steps):
            yield self.draw()

    def shuffle(self, epoch: int) -> None:
        """Put the rows in the orders of an epoch, so that the next batch is the epoch's first."""
        # torch's CPU generator takes 32 bits of a seed: a mixture, not a concatenation.
        seed = (self.seed * 1_000_003 + epoch) % 2**32
        for rows, (order, position) in (
            (self.data.labelled_xs, self._labelled_order),
            (self.data.unlabelled_xs, self._unlabelled_order),
        ):
            generator = torch.Generator(rows.device).manual_seed(seed)
            order.copy_(self._new_order(len(rows), order.shape[1], generator))
            position.zero_()

    def draw(self) -> Batch:
        """Return the next batch, with its number of labelled rows."""
        data = self.data
        known = self._next(self._labelled_order)
        rest = data.unlabelled_xs.index_select(0, self._next(self._unlabelled_order))
        xs = torch.cat([data.labelled_xs.index_select(0, known), self._arrive(rest)])
        if self.binarise:
            # Four times faster than torch.bernoulli on a CPU.
            xs = (torch.rand_like(xs) < xs).to(xs.dtype)
        ys = torch.cat([data.labelled_ys.index_select(0, known), self._unknown])
        return Batch(xs, ys, len(known))

    def _empty_order(self, rows: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Return zeros for row numbers `[steps, batch]` and for the next step's number `[1]`."""
        order = torch.zeros(self.steps, batch, dtype=torch.int64, device=rows.device)
        return order, torch.zeros(1, dtype=torch.int64, device=rows.device)

    def _new_order(self, rows: int, batch: int, generator: torch.Generator) -> Tensor:
        """Return row numbers `[steps, batch]`: the whole batches of one or more random orders."""
        device, (rank, processes) = generator.device, (self.share.rank, self.share.processes)
        if not batch:
            return torch.empty(self.steps, 0, dtype=torch.int64, device=device)
        whole = batch * processes
        passes = -(-self.steps // (rows // whole))
        orders = [
            torch.randperm(rows, generator=generator, device=device)[: rows - rows % whole]
            for _ in range(passes)
        ]
        return torch.cat(orders).view(-1, whole)[: self.steps, rank::processes]

    @staticmethod
    def _next(order: tuple[Tensor, Tensor]) -> Tensor:
        numbers, position = order
        now = numbers.index_select(0, position).squeeze(0)
        position.add_(1)
        return now

    def _arrive(self, rows: Tensor) -> Tensor:
        """Return unlabelled rows on the device and in the dtype of the labelled ones."""
        target = self.data.labelled_xs
        if rows.device != target.device:
            rows = rows.pin_memory().to(target.device, non_blocking=True)
        return rows.to(target.dtype) / 255 if rows.dtype == torch.uint8 else rows

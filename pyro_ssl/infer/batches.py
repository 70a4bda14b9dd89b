"""Minibatches, drawn by index on the device of the rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_ssl.data.augmentation import Augmentation
from pyro_ssl.data.known import unknown_of
from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.elbos.names import LABELLED, UNLABELLED
from pyro_ssl.errors import ConfigError
from pyro_ssl.models.rows import Batch
from pyro_ssl.option_kinds import Natural, Size
from pyro_ssl.options import check_fields, checked


@dataclass(frozen=True)
class Share:
    """The part of every minibatch that one process takes when several processes train together.

    Attributes:
        rank: number of this process.
        processes: number of processes; all take equally many rows.
    """

    rank: Natural = 0
    processes: Size = 1

    def __post_init__(self) -> None:
        check_fields(self)


class MiniBatches:
    """Epochs of minibatches of fixed shape, labelled rows first.

    The numbers of labelled and of unlabelled rows in a batch are independent of each other. An
    epoch is one pass over the kind of rows that needs more batches, in a new random order; rows
    that do not fill a last batch are left out of the pass. Rows of the other kind are drawn in
    repeated passes, each in a new random order, so that no row occurs twice within a pass. The
    orders depend only on `seed` and the epoch, and are the same in every process.

    Drawing a batch changes tensors in place and reads no value on the host, so that it can be part
    of a CUDA graph. Unlabelled rows may be in main memory, or in a memory-mapped file, while all
    other rows are on a GPU: unlabelled rows are then copied batch by batch.

    Args:
        data: the rows.
        batch_size: number of unlabelled rows per batch, or all of them if there are fewer.
        labelled_batch_size: number of labelled rows per batch, or all of them if there are fewer;
            None for `batch_size`.
        steps: number of batches per epoch; None for one pass, as above.
        binarise: draw each pixel from a Bernoulli with the pixel as its mean, anew in each batch.
        seed: seed of the orders.
        augmentation: how to change the images of a batch, before pixels are drawn; None to leave
            them as they are.
        share: the part of every batch to draw. If there are fewer rows than `batch_size`, a batch
            has as many of them as all processes can share evenly.

    Raises:
        ConfigError: if a number is below 1, or a batch cannot be shared evenly.
    """

    @checked
    def __init__(
        self,
        data: SSLData,
        batch_size: Size,
        labelled_batch_size: Size | None = None,
        steps: Size | None = None,
        binarise: bool = True,
        seed: int = 0,
        share: Share | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        if augmentation is not None:
            augmentation.check(data.input_shape)
        if binarise and data.real_valued:
            raise ConfigError(
                "binarise draws pixels from inputs in [0, 1], but these are any real "
                "numbers: use binarise=False"
            )
        self.data, self.augmentation = data, augmentation
        self.binarise = binarise
        self.seed = seed
        self.share = share or Share()
        processes = self.share.processes
        sizes = {LABELLED: ("batch_size", batch_size), UNLABELLED: ("batch_size", batch_size)}
        if labelled_batch_size is not None:
            sizes[LABELLED] = ("labelled_batch_size", labelled_batch_size)
        rows = {LABELLED: data.num_labelled, UNLABELLED: data.num_unlabelled}
        whole = {k: _rows_a_batch(k, *sizes[k], n, processes) for k, n in rows.items() if n}
        self.steps = max(rows[k] // n for k, n in whole.items()) if steps is None else steps
        self.labelled = whole.get(LABELLED, 0) // processes
        self.unlabelled = whole.get(UNLABELLED, 0) // processes
        self._labelled_order = self._empty_order(data.labelled_xs, self.labelled)
        self._unlabelled_order = self._empty_order(data.unlabelled_xs, self.unlabelled)
        ys = data.labelled_ys
        self._unknown = ys.new_full((self.unlabelled, *ys.shape[1:]), unknown_of(ys))

    @property
    def streams(self) -> bool:
        """Whether unlabelled rows are copied to the training device from another place."""
        return self.data.unlabelled_xs.device != self.data.labelled_xs.device

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of epoch `number`, as `draw` returns them."""
        self.shuffle(number)
        for _ in range(self.steps):
            yield self.draw()

    def shuffle(self, epoch: int) -> None:
        """Put the rows in the orders of an epoch, so that the next batch is the epoch's first."""
        # torch's CPU generator uses 32 bits of a seed, so seed and epoch are mixed in 32 bits.
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
        if self.augmentation is not None:
            xs = self.augmentation(xs)
        if self.binarise:
            # Four times faster than torch.bernoulli on a CPU.
            xs = (torch.rand_like(xs) < xs).to(xs.dtype)
        ys = torch.cat([data.labelled_ys.index_select(0, known), self._unknown])
        return Batch(xs, ys, len(known))

    def _empty_order(self, rows: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Return zeros for row indices `[steps, batch]` and for the next step's index `[1]`."""
        order = torch.zeros(self.steps, batch, dtype=torch.int64, device=rows.device)
        return order, torch.zeros(1, dtype=torch.int64, device=rows.device)

    def _new_order(self, rows: int, batch: int, generator: torch.Generator) -> Tensor:
        """Return row indices `[steps, batch]`: the whole batches of one or more random orders."""
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


def _rows_a_batch(kind: str, name: str, wanted: int, rows: int, processes: int) -> int:
    """Return the number of rows of a kind in a batch of all processes, for the option `name`."""
    if rows < processes:
        raise ConfigError(
            f"{processes} processes cannot share {rows} {kind} rows: use at most {rows} processes"
        )
    if wanted <= rows and wanted % processes:
        raise ConfigError(
            f"{name} is {wanted}, which {processes} processes cannot share evenly: choose a "
            "multiple of their number"
        )
    return wanted if wanted <= rows else rows - rows % processes

"""Minibatches by index from tensors that already lie on the device."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.errors import ConfigError

Batch = tuple[Tensor, Tensor, int]


class MiniBatches:
    """Epochs of minibatches of fixed shape, labelled rows first.

    An epoch is one pass over the unlabelled rows in a new random order (over the labelled
    rows where there are no others); rows that do not fill a last batch wait for another
    epoch's order. Labelled rows are drawn by going through ever new orders of them, so
    that within a pass none comes twice.

    Args:
        data: where the rows lie.
        batch_size: unlabelled rows a batch (labelled ones where there are no others).
        labelled_batch_size: labelled rows a batch; None for all of them, but no more than
            `batch_size`.
        steps: batches an epoch; None for one pass.
        binarise: draw each pixel from a Bernoulli with the pixel as its mean, anew each time.

    Raises:
        ConfigError: if a batch asks for more rows than there are.
    """

    def __init__(
        self,
        data: SSLData,
        batch_size: int,
        labelled_batch_size: int | None = None,
        steps: int | None = None,
        binarise: bool = True,
    ) -> None:
        self.data = data
        self.binarise = binarise
        self.unlabelled = batch_size if data.num_unlabelled else 0
        if labelled_batch_size is None:
            labelled_batch_size = min(data.num_labelled, batch_size)
            if not data.num_unlabelled:
                labelled_batch_size = batch_size
        self.labelled = labelled_batch_size if data.num_labelled else 0
        for what, wanted, rows in (
            ("batch_size", self.unlabelled, data.num_unlabelled),
            ("labelled batch size", self.labelled, data.num_labelled),
        ):
            if wanted > rows:
                raise ConfigError(
                    f"{what} is {wanted}, but there are only {rows} such rows: use at most {rows}"
                )
        if batch_size < 1 or labelled_batch_size < 0:
            raise ConfigError(f"batch_size is {batch_size}, expected at least 1")
        whole, part = (
            (data.num_unlabelled, self.unlabelled)
            if self.unlabelled
            else (data.num_labelled, self.labelled)
        )
        self.steps = whole // part if steps is None else steps

    def epoch(self) -> Iterator[Batch]:
        """Yield `(xs, ys, num_labelled)`: `[B, *input_shape]`, `[B]` with -1 if unknown, B_l."""
        data = self.data
        labelled = self._order(data.num_labelled, self.labelled)
        unlabelled = self._order(data.num_unlabelled, self.unlabelled)
        unknown = data.labelled_ys.new_full((self.unlabelled,), -1)
        for step in range(self.steps):
            known = labelled[step * self.labelled : (step + 1) * self.labelled]
            rest = unlabelled[step * self.unlabelled : (step + 1) * self.unlabelled]
            xs = torch.cat([data.labelled_xs[known], data.unlabelled_xs[rest]])
            ys = torch.cat([data.labelled_ys[known], unknown])
            yield (torch.bernoulli(xs) if self.binarise else xs), ys, self.labelled

    def _order(self, rows: int, batch: int) -> Tensor:
        """Return enough row numbers for an epoch: whole batches of as many orders as needed."""
        device = self.data.labelled_xs.device
        if not batch:
            return torch.empty(0, dtype=torch.int64, device=device)
        passes = -(-self.steps // (rows // batch))
        usable = rows - rows % batch
        return torch.cat([torch.randperm(rows, device=device)[:usable] for _ in range(passes)])

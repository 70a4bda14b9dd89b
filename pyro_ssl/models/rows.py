"""The labelled and the unlabelled rows of a call, and their Pyro plates."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro.contrib.autoname import scope
from torch import Tensor

from pyro_ssl.data.known import has_known
from pyro_ssl.elbos.names import KINDS, LABELLED, UNLABELLED
from pyro_ssl.errors import DataError

# Names of the plates of both kinds of rows; `RowWeights` tells the rows apart by them.
PLATES = {f"{kind}_rows": kind for kind in KINDS}


@dataclass(frozen=True)
class Rows:
    """Rows of one call, either labelled ones or unlabelled ones.

    Attributes:
        xs: inputs `[n, ...]`.
        ys: labels `[n]`, all known; or attributes `[n, L]`, -1 where unknown, some known in each
            row; None for unlabelled rows.
        index: where the rows are in the call's `xs`.
        mixed: whether the call may have rows of both kinds; site names then begin with the kind
            (`"labelled/x"`), so that they differ.
    """

    xs: Tensor
    ys: Tensor | None
    index: slice | Tensor = field(default_factory=lambda: slice(None))
    mixed: bool = False

    _plates: list[Any] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """`"labelled"` or `"unlabelled"`."""
        return UNLABELLED if self.ys is None else LABELLED

    def named(self, name: str) -> str:
        """Return a plate's name that is unique to this kind of rows; a scope renames only sites."""
        return f"{self.kind}_{name}"

    @contextmanager
    def plate(self) -> Iterator[None]:
        """Enter the plate of these rows, at dimension -1; it can be entered more than once."""
        with ExitStack() as stack:
            if self.mixed:
                stack.enter_context(scope(prefix=self.kind))
            if not self._plates:
                self._plates.append(pyro.plate(self.named("rows"), len(self.xs), dim=-1))
            stack.enter_context(self._plates[0])
            yield


@dataclass(frozen=True)
class Batch:
    """Inputs and labels of one call of a program, as `fit` passes them.

    A program takes either a batch or inputs and labels; its first line calls `Batch.of`.

    Attributes:
        xs: inputs `[B, ...]`.
        ys: labels `[B]`, integers with -1 where unknown, or floats with NaN where unknown; or
            attributes `[B, L]`, where a row with any known attribute counts as labelled; None if no
            label is known.
        num_labelled: promise that exactly the first `num_labelled` rows are labelled. The programs
            then do not read `ys` to find them, for which a GPU would make the host wait; site
            names are those of a mixed call even if all rows are of one kind. None for no promise.

    Raises:
        DataError: if `num_labelled` promises labels and `ys` is None.
    """

    xs: Tensor
    ys: Tensor | None = None
    num_labelled: int | None = None

    def __post_init__(self) -> None:
        if self.num_labelled and self.ys is None:
            raise DataError(f"num_labelled is {self.num_labelled}, but ys is None: give the labels")

    @classmethod
    def of(cls, xs: "Tensor | Batch", ys: Tensor | None = None) -> "Batch":
        """Return a program's arguments as a batch: `xs` itself if it is one."""
        return xs if isinstance(xs, Batch) else cls(xs, ys)

    def parts(self) -> list[Rows]:
        """Return the labelled and the unlabelled rows, in this order, for one run of a program.

        A call with one kind of rows has one part with plain site names. A mixed call has two parts,
        separate programs under two scopes. Its ELBO is therefore the sum of their two ELBOs: the
        guide's entropy does not enter the objective of labelled rows.
        """
        xs, ys, split = self.xs, self.ys, self.num_labelled
        if split is not None:
            parts = []
            if split > 0:
                assert ys is not None
                parts.append(Rows(xs[:split], ys[:split], slice(0, split), mixed=True))
            if split < len(xs):
                parts.append(Rows(xs[split:], None, slice(split, None), mixed=True))
            return parts
        if ys is None:
            return [Rows(xs, None)]
        known = has_known(ys)
        if bool(known.all()):
            return [Rows(xs, ys)]
        if not bool(known.any()):
            return [Rows(xs, None)]
        labelled, unlabelled = torch.where(known)[0], torch.where(~known)[0]
        return [
            Rows(xs[labelled], ys[labelled], labelled, mixed=True),
            Rows(xs[unlabelled], None, unlabelled, mixed=True),
        ]


def side_by_side(*latents: Tensor) -> Tensor:
    """Concatenate latents `[..., n, D_i]` of the same rows to `[..., n, sum of D_i]`.

    Within a plate of draws (several particles, `Predictive`) leading dimensions may differ; each
    latent is then repeated along the plates that it is not in.
    """
    if len({latent.dim() for latent in latents}) > 1:
        batch = torch.broadcast_shapes(*(latent.shape[:-1] for latent in latents))
        latents = tuple(latent.expand(*batch, -1) for latent in latents)
    return torch.cat(latents, -1)

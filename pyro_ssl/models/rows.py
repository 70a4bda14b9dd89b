"""Which rows of a call carry labels, and the Pyro plates they live in."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro.contrib.autoname import scope
from torch import Tensor

from pyro_ssl.errors import DataError

LABELLED = "labelled"
UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class Rows:
    """Rows of one call that are treated alike.

    Attributes:
        part: `"labelled"`, `"unlabelled"`, or `""` for a call that does not mix the two;
            it prefixes the site names (`"labelled/x"`), so that both parts can coexist.
        index: where the rows are in the call's `xs`.
        xs: inputs `[n, ...]`.
        ys: labels `[n]`, or attributes `[n, L]` of which each row knows some, -1 where unknown;
            None where no label is known.
    """

    part: str
    index: slice | Tensor
    xs: Tensor
    ys: Tensor | None

    _plates: list[Any] = field(default_factory=list)

    def named(self, name: str) -> str:
        """Return `name` made unique to this part, for a plate: scopes rename sites alone."""
        return f"{self.part}_{name}" if self.part else name

    @contextmanager
    def plate(self) -> Iterator[None]:
        """Enter the plate of these rows, of their exact size, at dimension -1; also again."""
        with ExitStack() as stack:
            if self.part:
                stack.enter_context(scope(prefix=self.part))
            if not self._plates:
                self._plates.append(pyro.plate(self.named("rows"), len(self.xs), dim=-1))
            stack.enter_context(self._plates[0])
            yield


def split_rows(xs: Tensor, ys: Tensor | None, num_labelled: int | None = None) -> list[Rows]:
    """Split a call into its labelled and its unlabelled rows.

    A call of one kind is a single part with plain site names. A mixed call is two parts,
    each a program of its own under a scope, so that its ELBO is the sum of the two ELBOs
    by construction: no entropy of the guide reaches a labelled row.

    Args:
        xs: inputs `[B, ...]`.
        ys: None if no label is known, else integers `[B]` with -1 where unknown; or attributes
            `[B, L]`, whose rows count as labelled where they know any.
        num_labelled: promise that exactly the first `num_labelled` rows are labelled. It
            spares the look at `ys`, for which a GPU would make the host wait, and the call
            always counts as mixed, whose empty parts are left out.

    Returns:
        One or two `Rows`, labelled rows first.

    Raises:
        DataError: if `num_labelled` promises labels and `ys` is None.
    """
    if num_labelled is not None:
        split = num_labelled
        parts = []
        if split > 0:
            if ys is None:
                raise DataError(f"num_labelled is {num_labelled}, but ys is None: give the labels")
            parts.append(Rows(LABELLED, slice(0, split), xs[:split], ys[:split]))
        if split < len(xs):
            parts.append(Rows(UNLABELLED, slice(split, None), xs[split:], None))
        return parts
    everything = slice(None)
    if ys is None:
        return [Rows("", everything, xs, None)]
    known = ys >= 0 if ys.dim() == 1 else (ys >= 0).any(-1)
    if bool(known.all()):
        return [Rows("", everything, xs, ys)]
    if not bool(known.any()):
        return [Rows("", everything, xs, None)]
    labelled, unlabelled = torch.where(known)[0], torch.where(~known)[0]
    return [
        Rows(LABELLED, labelled, xs[labelled], ys[labelled]),
        Rows(UNLABELLED, unlabelled, xs[unlabelled], None),
    ]

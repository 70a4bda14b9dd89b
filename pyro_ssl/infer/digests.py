"""Digests, which tell the rows of one run apart from those of another."""

import hashlib
import warnings
from typing import Any

import torch
from torch import Tensor

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.errors import CheckpointError

_PARTS = ("labelled_xs", "labelled_ys", "unlabelled_xs", "validation_xs", "validation_ys")
# Bytes read at once, of rows that may lie on a GPU or in a file larger than memory.
_BLOCK = 1 << 26


def digest_of(values: Tensor) -> str:
    """Return the SHA-256 of a tensor's bytes: on one core about a second for a gigabyte."""
    found = hashlib.sha256()
    if values.numel():
        rows = values.detach().reshape(len(values), -1) if values.dim() else values.detach()[None]
        for part in rows.split(max(1, _BLOCK // max(1, rows[0].nbytes))):
            found.update(part.cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


def digests_of(data: SSLData, identity: str | None = None) -> dict[str, str]:
    """Return the digests of inputs and labels, by what they are called in `SSLData`.

    Args:
        data: the rows.
        identity: what tells them apart in place of their values; None for the values.
    """
    if identity is not None:
        return {"identity": identity}
    return {name: digest_of(getattr(data, name)) for name in _PARTS}


def check_digests(state: dict[str, Any], now: dict[str, str]) -> None:
    """Check that a checkpoint's rows are those of this run; warn if it does not say.

    Args:
        state: what `load_checkpoint` returned; of earlier versions it has no digests.
        now: the digests of this run's rows.

    Raises:
        CheckpointError: naming what differs.
    """
    then = state.get("digests")
    if then is None:
        warnings.warn(
            "the checkpoint is of a version that kept no digest of its rows: that they are the "
            "same now is taken for granted",
            stacklevel=2,
        )
        return
    differing = [name for name in now if then.get(name) != now[name]]
    if differing:
        raise CheckpointError(
            f"the checkpoint was written with other data, its {', '.join(differing)} differ in "
            "values or order: resume with the rows of then, or start afresh with --overwrite"
        )

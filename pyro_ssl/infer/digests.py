"""Digests of rows, which detect that a run continues with other rows."""

import hashlib
import warnings
from typing import Any

import torch
from torch import Tensor

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.errors import CheckpointError

_PARTS = ("labelled_xs", "labelled_ys", "unlabelled_xs", "validation_xs", "validation_ys")
# Bytes read at a time, since rows may be on a GPU or in a file larger than the memory.
_BLOCK = 1 << 26


def digest_of(values: Tensor) -> str:
    """Return the SHA-256 of a tensor's bytes; a gigabyte takes about a second on one core."""
    found = hashlib.sha256()
    if values.numel():
        rows = values.detach().reshape(len(values), -1) if values.dim() else values.detach()[None]
        for part in rows.split(max(1, _BLOCK // max(1, rows[0].nbytes))):
            found.update(part.cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


def digests_of(data: SSLData, identity: str | None = None) -> dict[str, str]:
    """Return the digests of inputs and labels, by their names in `SSLData`.

    Args:
        data: the rows.
        identity: a name that stands for the values of the rows; None to compute digests of them.
    """
    if identity is not None:
        return {"identity": identity}
    return {name: digest_of(getattr(data, name)) for name in _PARTS}


def check_digests(state: dict[str, Any], now: dict[str, str]) -> None:
    """Check that a checkpoint's rows are those of this run; warn if it has no digests.

    Args:
        state: what `load_checkpoint` returned; earlier versions stored no digests.
        now: the digests of this run's rows.

    Raises:
        CheckpointError: naming what differs.
    """
    then = state.get("digests")
    if then is None:
        warnings.warn(
            "the checkpoint is of a version that kept no digest of its rows: they are assumed to "
            "be the same now",
            stacklevel=2,
        )
        return
    differing = [name for name in now if then.get(name) != now[name]]
    if differing:
        raise CheckpointError(
            f"the checkpoint was written with other data, its {', '.join(differing)} differ in "
            "values or order: resume with the same rows as then, or start afresh with --overwrite"
        )

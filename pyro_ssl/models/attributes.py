"""Rows of binary attributes: their prior, and draws of unknown ones."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError
from pyro_ssl.option_kinds import Elsewhere, shown

# p(y_l = 1) of each attribute; 1/2 if None.
Frequencies = Annotated[Sequence[float] | None, Elsewhere()]


def attribute_logits(frequencies: Sequence[float] | None, num_attributes: int) -> Tensor:
    """Return the log-odds of each attribute in p(y), `[L]`, float64.

    Args:
        frequencies: p(y_l = 1) of each attribute; 1/2 if None.
        num_attributes: number of attributes L.

    Raises:
        ConfigError: if `frequencies` are not `num_attributes` numbers between 0 and 1.
    """
    try:
        shares = [0.5] * num_attributes if frequencies is None else [float(f) for f in frequencies]
    except (TypeError, ValueError, OverflowError):
        shares = []
    if len(shares) != num_attributes or not all(0 < share < 1 for share in shares):
        raise ConfigError(
            f"frequencies is {shown(frequencies)}, expected {num_attributes} numbers between 0 and "
            "1"
        )
    return torch.tensor(shares, dtype=torch.float64).logit()


def complete(ys: Tensor, logits: Tensor) -> Tensor:
    """Return attributes `[B, L]`; unknown ones (-1) are drawn from log-odds `logits` `[L]`."""
    drawn = logits.sigmoid().expand(ys.shape).bernoulli().to(ys.dtype)
    return torch.where(ys < 0, drawn, ys)

"""Which labels are known: the only place that defines how an unknown label is marked."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pyro_ssl.errors import DataError
from pyro_ssl.option_kinds import shown

# Possible meanings of -1 in a table of attributes.
_MEANINGS = ("unknown", "absent")


def unknown_of(ys: Tensor) -> float:
    """Return the marker of an unknown label: NaN among floats, -1 among integers."""
    return math.nan if ys.is_floating_point() else -1


def is_known(ys: Tensor) -> Tensor:
    """Return which labels are known, of the shape of `ys`: no NaN, or integers of at least 0."""
    return ~ys.isnan() if ys.is_floating_point() else ys >= 0


def has_known(ys: Tensor) -> Tensor:
    """Return which rows have a known label, `[N]`; of attributes `[N, L]`, at least one."""
    known = is_known(ys)
    return known.any(-1) if ys.dim() > 1 else known


def with_minus_one(
    parts: Mapping[str, Tensor], meaning: str | None, columns: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Return attributes with -1 where one is unknown, and 0 where it is absent.

    In tables of 1 and -1 (such as CelebA's), -1 means that an attribute is absent. They look like
    tables of 1, 0 and -1 in which an attribute is either known to be present, or unknown.

    Args:
        parts: parts of one table, rows `[n, L]`, by name; labels of classes `[n]` are left alone.
        meaning: meaning of -1, `unknown` or `absent`; None for unknown, unless the meaning is
            ambiguous.
        columns: names of the attributes, for errors.

    Raises:
        DataError: if the meaning is neither, or if it is None and an attribute has only the values
            1 and -1.
    """
    if meaning is not None and not (isinstance(meaning, str) and meaning in _MEANINGS):
        expected = " or ".join(map(repr, _MEANINGS))
        raise DataError(f"minus_one is {shown(meaning)}, expected {expected}")
    tables = {name: ys for name, ys in parts.items() if ys.dim() == 2 and len(ys)}
    if meaning == "absent":
        return {**parts, **{name: ys.where(ys != -1, 0) for name, ys in tables.items()}}
    if meaning is None and len({ys.shape[1] for ys in tables.values()}) == 1:
        together = torch.cat([ys.cpu() for ys in tables.values()])
        doubtful = (together == -1).any(0) & (together == 1).any(0) & (together != 0).all(0)
        if bool(doubtful.any()):
            column = int(doubtful.nonzero()[0])
            called = f"column {column}" if columns is None else f"{columns[column]!r}"
            raise DataError(
                f"attribute {called} of {next(iter(tables))} has only the values 1 and -1, so that "
                "-1 may mean absent or unknown: use minus_one='absent' to read 1 and -1 as present "
                "and absent, or minus_one='unknown'"
            )
    return dict(parts)

"""Checks that the inputs stored in a file can be used, before any rows arrive."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from pyro_ssl.errors import CheckpointError
from pyro_ssl.estimator.cells import CellInputs
from pyro_ssl.estimator.images import ArrayInputs
from pyro_ssl.estimator.inputs import DocumentInputs, Inputs, TableInputs
from pyro_ssl.reading import check_kinds

_NUMBER = (int, float)
_ENTRY = (str, int, float, bool)
_FLOATS = ("centre", "spread", "shift", "scale", "raw_shift", "raw_scale", "missing")
_COLUMN: dict[str, Any] = {
    "dtype": str,
    "transform": str,
    "constant": (*_NUMBER, type(None)),
    **dict.fromkeys(("categories", "levels"), tuple),
    **dict.fromkeys(("ordered", "parsed", "covariate"), bool),
    **dict.fromkeys(_FLOATS, _NUMBER),
}


def check_stored_inputs(inputs: Inputs, features: int, xs: Tensor, names: list[Any]) -> None:
    """Check inputs: the types of their values, and rows that they have encoded.

    Args:
        inputs: the inputs.
        features: number of columns that they should take.
        xs: some encoded rows.
        names: names of the columns, if the training rows had names.

    Raises:
        CheckpointError: naming what is impossible.
        Exception: any error from using them.
    """
    if isinstance(inputs, TableInputs):
        columns = inputs.columns.columns
        for column in columns:
            check_kinds(vars(column), _COLUMN, f"column {column.name!r}")
            _check_all((*column.categories, *column.levels), _ENTRY, f"column {column.name!r}")
        if features != len(columns):
            raise CheckpointError(f"there are {len(columns)} columns, but {features} features")
        if names and names != [column.name for column in columns]:
            raise CheckpointError(f"the names of columns are {names}, but the columns have others")
    elif isinstance(inputs, ArrayInputs):
        _check_all((*inputs.locs, *inputs.scales, *(inputs.bounds or ())), _NUMBER, "channels")
    elif isinstance(inputs, DocumentInputs):
        _check_all(inputs.frequencies, _NUMBER, "frequencies")
    elif isinstance(inputs, CellInputs):
        _check_all((*inputs.genes, *inputs.batches), (str,), "genes or batches")
        _check_all((inputs.target, *inputs.shifts, *inputs.scales), _NUMBER, "scales of genes")
    inputs.decode(xs)
    inputs.features(xs)


def _check_all(values: Iterable[Any], kinds: tuple[type, ...], name: str) -> None:
    for value in values:
        if not isinstance(value, kinds):
            raise CheckpointError(f"the {name} have {value!r:.50}, of an invalid type")

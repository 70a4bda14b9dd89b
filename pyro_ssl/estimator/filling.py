"""Features of rows for scikit-learn's estimators, missing entries filled in by the models."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mode
from torch import Tensor

from pyro_ssl.estimator.inputs import Inputs
from pyro_ssl.estimator.members import Members
from pyro_ssl.likelihoods import Categorical, Ordinal

Floats = NDArray[np.floating[Any]]
# What missing entries are taken for: by all models together, then by each; None where there are no
# such entries.
Fills = list[Floats | None]


def fillings(members: Members, inputs: Inputs, xs: Tensor, needed: bool = True) -> Fills:
    """Return what missing entries are taken for: by all models together, then by each.

    A model that fills in missing entries has learnt from labels. Rows that are held out are
    therefore filled in by the model that does not see their labels, as are those an estimator
    then learns from; in the end all models fill them in together.

    Args:
        members: the models.
        inputs: how rows are encoded.
        xs: encoded rows.
        needed: whether anything is to be filled in.
    """
    families = getattr(inputs.likelihood, "columns", ())
    coded = [isinstance(family, Categorical | Ordinal) for family in families]
    each = members.fills(xs, coded) if needed else None
    if each is None:
        return [None] * (len(members.models) + 1)
    return [np.where(coded, mode(each, axis=0).mode, each.mean(0)), *each]


def filled_features(inputs: Inputs, xs: Tensor, fills: Fills, logs: bool) -> list[Any]:
    """Return features of rows, `[N, D]`, with each filling.

    Args:
        inputs: how rows are encoded.
        xs: encoded rows.
        fills: fillings of these rows.
        logs: take logarithms where encoding does; otherwise the numbers, standardised.
    """
    if fills[0] is None:
        return [inputs.features(xs, None, logs)] * len(fills)
    return [inputs.features(xs, fill, logs) for fill in fills]

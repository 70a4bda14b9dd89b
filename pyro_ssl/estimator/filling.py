"""Features of rows for scikit-learn's estimators, with missing entries filled in by the models."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mode
from torch import Tensor

from pyro_ssl.estimator.inputs import Inputs
from pyro_ssl.estimator.members import Members
from pyro_ssl.likelihoods import Categorical, Ordinal

Floats = NDArray[np.floating[Any]]
# Rows with missing entries filled in: by all models together, then by each model; None if no entry
# is missing.
Fills = list[Floats | None]


def fillings(members: Members, inputs: Inputs, xs: Tensor, needed: bool = True) -> Fills:
    """Return rows with missing entries filled in: by all models together, then by each model.

    A model that fills in missing entries has learnt from labels. To judge an estimator on held-out
    rows, the model that does not see their labels therefore fills in these rows, and the rows that
    the estimator learns from. In the end, all models together fill in all rows.

    Args:
        members: the models.
        inputs: how rows are encoded.
        xs: encoded rows.
        needed: whether rows must be filled in at all.
    """
    families = getattr(inputs.likelihood, "columns", ())
    coded = [isinstance(family, Categorical | Ordinal) for family in families]
    each = members.fills(xs, coded) if needed else None
    if each is None:
        return [None] * (len(members.models) + 1)
    return [np.where(coded, mode(each, axis=0).mode, each.mean(0)), *each]


def filled_features(inputs: Inputs, xs: Tensor, fills: Fills, logs: bool) -> list[Any]:
    """Return features of rows, `[N, D]`, for each filling.

    Args:
        inputs: how rows are encoded.
        xs: encoded rows.
        fills: fillings of these rows.
        logs: keep the logarithms of the encoding; otherwise use the standardised numbers.
    """
    if fills[0] is None:
        return [inputs.features(xs, None, logs)] * len(fills)
    return [inputs.features(xs, fill, logs) for fill in fills]

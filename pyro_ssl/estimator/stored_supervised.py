"""scikit-learn's estimators in files: fitted again, with a check of their predictions."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_ssl.data.known import is_known
from pyro_ssl.errors import CheckpointError
from pyro_ssl.estimator.candidates import Candidate
from pyro_ssl.estimator.members import Floats

# Rows, labels and weights.
Taught = tuple[Tensor, NDArray[Any], Floats]

# Number of labelled rows whose predictions are compared.
_ROWS = 20
# Allowed difference, since other processors may round differently.
_TOLERANCE = 1e-6


class Weighed(Protocol):
    """The class that weighs candidates: `Weighing` or `RegressionWeighing`."""

    members: Any
    supervised: dict[str, Any]
    propagated: dict[str, Any]

    def say(self, xs: Tensor) -> dict[str, Floats]:
        """Return each candidate's predictions for rows."""


def supervised_of(weighing: Weighed) -> dict[str, Candidate]:
    """Return all of scikit-learn's estimators among candidates, by name."""
    return {**weighing.supervised, **weighing.propagated}


def samples(weighing: Weighed, taught: Taught) -> dict[str, Floats]:
    """Return each estimator's predictions for a few labelled rows, `[n, K]`."""
    if not supervised_of(weighing):
        return {}
    xs, labels, _ = taught
    parameter = next(weighing.members.models[0].parameters())
    rows = np.flatnonzero(is_known(torch.from_numpy(labels)).numpy())[:_ROWS]
    said = weighing.say(xs[rows].to(parameter.device, parameter.dtype))
    return {name: said[name] for name in supervised_of(weighing)}


def check_restored(
    weighing: Weighed, taught: Taught, said: Mapping[str, Floats], versions: Mapping[str, Any]
) -> None:
    """Check that estimators that were fitted again give the stored predictions.

    Args:
        weighing: the candidates.
        taught: the rows they have learnt from.
        said: their predictions when they were stored.
        versions: the versions at that time.

    Raises:
        CheckpointError: naming the estimator and the versions.
    """
    if name := _differing(samples(weighing, taught), said):
        then = versions.get("version_scikit-learn")
        raise CheckpointError(
            f"candidate {name!r}, fitted again to the stored rows, predicts differently from "
            f"when it was saved, by scikit-learn {then}; here it is {version('scikit-learn')}: "
            "if they differ, install the former version, or fit anew; if not, give it a "
            "random_state, or keep the whole by joblib.dump(estimator, path)"
        )


def _differing(now: Mapping[str, Floats], then: Mapping[str, Floats]) -> str:
    """Return the name of an estimator whose predictions differ; empty if there is none."""
    for name, one in now.items():
        if not np.allclose(one, then[name], rtol=0, atol=_TOLERANCE):
            return name
    return ""

"""scikit-learn's classifiers in files: fitted again, and checked to predict the same."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from torch import Tensor

from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.estimator.as_json import encoded
from pyro_ssl.estimator.candidates import Supervised
from pyro_ssl.estimator.members import Codes, Floats
from pyro_ssl.estimator.weighing import Weighing

Taught = tuple[Tensor, Codes, Floats]

# Labelled rows whose predictions are compared.
_ROWS = 20
# What other processors may round otherwise.
_TOLERANCE = 1e-6


def supervised_of(weighing: Weighing) -> dict[str, Supervised]:
    """Return all of scikit-learn's classifiers among candidates, by name."""
    return {**weighing.supervised, **weighing.propagated}


def samples(weighing: Weighing, taught: Taught) -> dict[str, Floats]:
    """Return what each classifier says of a few labelled rows, `[n, K]`."""
    if not supervised_of(weighing):
        return {}
    xs, codes, _ = taught
    parameter = next(weighing.members.models[0].parameters())
    rows = np.flatnonzero(codes >= 0)[:_ROWS]
    said = weighing.say(xs[rows].to(parameter.device, parameter.dtype))
    return {name: said[name] for name in supervised_of(weighing)}


def check_before(weighing: Weighing, again: Weighing, taught: Taught) -> None:
    """Check, before classifiers are stored, that they can be, and predict the same when refitted.

    Args:
        weighing: the candidates.
        again: the same, with classifiers that have learnt again.
        taught: the rows they learn from.

    Raises:
        ConfigError: naming the classifier.
    """
    for name, one in supervised_of(weighing).items():
        encoded(f"classifier {name!r}", one.estimator)
    if name := _differing(samples(again, taught), samples(weighing, taught)):
        raise ConfigError(
            f"classifier {name!r}, fitted again to the same rows, predicts something else: "
            "give it a random_state, or keep the whole by joblib.dump(classifier, path)"
        )


def check_restored(
    weighing: Weighing, taught: Taught, said: Mapping[str, Floats], versions: Mapping[str, Any]
) -> None:
    """Check that classifiers that have learnt again predict what they did.

    Args:
        weighing: the candidates.
        taught: the rows they have learnt from.
        said: what they said when they were stored.
        versions: the versions then.

    Raises:
        CheckpointError: naming the classifier and the versions.
    """
    if name := _differing(samples(weighing, taught), said):
        then = versions.get("version_scikit-learn")
        raise CheckpointError(
            f"classifier {name!r}, fitted again to the stored rows, predicts something else than "
            f"when it was saved, by scikit-learn {then}; here it is {version('scikit-learn')}: "
            "install the former version, or fit anew"
        )


def _differing(now: Mapping[str, Floats], then: Mapping[str, Floats]) -> str:
    """Return the name of a classifier whose predictions differ; empty if there is none."""
    for name, one in now.items():
        if not np.allclose(one, then[name], rtol=0, atol=_TOLERANCE):
            return name
    return ""

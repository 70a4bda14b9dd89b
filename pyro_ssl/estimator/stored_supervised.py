"""scikit-learn's classifiers in files: fitted again, and checked to predict the same."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.estimator.as_json import encoded
from pyro_ssl.estimator.candidates import Supervised
from pyro_ssl.estimator.members import Floats
from pyro_ssl.estimator.reservoir import Reservoir

# Labelled rows whose predictions are compared.
_ROWS = 20
# What other processors may round otherwise.
_TOLERANCE = 1e-6


def samples(classifiers: Mapping[str, Supervised], labelled: Reservoir) -> dict[str, Floats]:
    """Return what each classifier says of a few labelled rows, `[n, K]`."""
    features = labelled["features"][:_ROWS]
    return {name: one.predict(features) for name, one in classifiers.items()}


def restored_supervised(
    estimators: Mapping[str, Any], labelled: Reservoir, weights: Floats, classes: int
) -> dict[str, Supervised]:
    """Return scikit-learn's classifiers, fitted to the labelled rows."""
    features, codes = labelled["features"], labelled["codes"]
    return {
        name: Supervised(estimator, classes).fit(features, codes, weights)
        for name, estimator in estimators.items()
    }


def check_again(
    classifiers: Mapping[str, Supervised],
    labelled: Reservoir,
    weights: Floats | None,
    said: Mapping[str, Floats] | None = None,
    versions: Mapping[str, Any] | None = None,
) -> None:
    """Check that classifiers that learn the same rows again predict the same.

    Args:
        classifiers: the classifiers.
        labelled: their rows.
        weights: the rows' weights, before classifiers are stored.
        said: what they said of some rows when they were stored; None before that.
        versions: the versions then.

    Raises:
        ConfigError: before they are stored; naming the classifier.
        CheckpointError: afterwards; naming the versions.
    """
    if said is None:
        assert weights is not None
        said = samples(classifiers, labelled)
        estimators = {name: one.estimator for name, one in classifiers.items()}
        for name, one in estimators.items():
            encoded(f"classifier {name!r}", one)
        classes = max([one.classes for one in classifiers.values()], default=0)
        again = restored_supervised(estimators, labelled, weights, classes)
        if name := _differing(samples(again, labelled), said):
            raise ConfigError(
                f"classifier {name!r}, fitted again to the same rows, predicts something else: "
                "give it a random_state, or keep the whole by joblib.dump(classifier, path)"
            )
    elif name := _differing(samples(classifiers, labelled), said):
        then = (versions or {}).get("version_scikit-learn")
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

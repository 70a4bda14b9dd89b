"""scikit-learn's regressors among the candidates of a decision."""

import inspect
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import RidgeCV

from pyro_ssl.errors import ConfigError
from pyro_ssl.estimator.candidates import Candidate

Floats = NDArray[np.floating[Any]]

_TREES = 100
# Number of labelled rows above which a Gaussian process takes too long.
_MOST_IN_PROCESS = 1000
_PENALTIES = tuple(np.logspace(-2, 4, 13).tolist())


def default_regressors(
    labelled: int, features: int, dense: bool, n_jobs: int | None, seed: int
) -> dict[str, Any]:
    """Return the regressors that a model is weighed against.

    Args:
        labelled: number of labelled rows.
        features: number of features of a row.
        dense: whether features are an array; otherwise they are a sparse matrix.
        n_jobs: number of processes of the forest.
        seed: seed of the forest.
    """
    found: dict[str, Any] = {
        "ridge": RidgeCV(_PENALTIES),
        "random forest": RandomForestRegressor(_TREES, n_jobs=n_jobs, random_state=seed),
    }
    if dense and labelled <= _MOST_IN_PROCESS:
        found["Gaussian process"] = gaussian_process(features, seed)
    return found


def gaussian_process(features: int, seed: int) -> GaussianProcessRegressor:
    """Return a Gaussian process for standardised labels, with a length scale for `features` D.

    Standardised rows are about sqrt(2 D) from each other. With a length scale of 1 and a large D,
    all rows would be unrelated, and no step of the optimiser would change that.
    """
    length = RBF(float(np.sqrt(max(features, 1))), (1e-1, 1e4))
    kernel = ConstantKernel(1.0, (1e-3, 1e3)) * length + WhiteKernel(0.5, (1e-4, 1e2))
    return GaussianProcessRegressor(kernel, random_state=seed)


class Regressed(Candidate):
    """A scikit-learn regressor that learns from labelled rows only.

    It predicts mean and deviation of a row's label; without a predicted deviation, it is 1.

    Args:
        estimator: the regressor, which is cloned; it needs `predict`.
        seed: as for `Candidate`.
    """

    def __init__(self, estimator: Any, seed: int = 0) -> None:
        if not hasattr(estimator, "predict") or hasattr(estimator, "predict_proba"):
            raise ConfigError(
                f"regressors has {estimator!r}, expected regressors: estimators of scikit-learn's "
                "kind whose predict returns real numbers"
            )
        super().__init__(estimator, 2, seed)

    def fit(self, features: Any, labels: NDArray[Any], weights: Floats) -> "Regressed":
        """Learn from labelled rows: features `[L, D]`, standardised labels and weights `[L]`."""
        with warnings.catch_warnings():
            # Few rows lead to kernels at their bounds; held-out rows judge the result.
            warnings.simplefilter("ignore", ConvergenceWarning)
            super().fit(features, labels, weights)
        return self

    def predict(self, features: Any) -> Floats:
        """Return mean and deviation of rows' labels, `[N, 2]`."""
        last = getattr(self.fitted, "steps", [("", self.fitted)])[-1][1]
        if "return_std" in inspect.signature(last.predict).parameters:
            mean, deviation = self.fitted.predict(features, return_std=True)
            return np.stack([mean, np.maximum(deviation, 1e-6)], 1)
        mean = np.asarray(self.fitted.predict(features), dtype=np.float64)
        return np.stack([mean, np.ones_like(mean)], 1)

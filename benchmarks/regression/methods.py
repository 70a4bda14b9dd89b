"""The regressors that are compared: three that use only labelled rows, and ours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.tables.methods import columns

# Deviations from scikit-learn's defaults.
_TREES = 300
_PENALTIES = np.logspace(-3, 4, 29)
_RESTARTS = 2


@dataclass(frozen=True)
class Part:
    """Training rows, their known labels, and test rows without labels."""

    train: pd.DataFrame
    """`[T, ...]`."""
    partial: np.ndarray
    """Floats `[T]`, NaN where unknown."""
    test: pd.DataFrame
    """`[M, ...]`."""
    seed: int
    """Seed of all random draws."""


# A method's predictions for the test rows: labels `[M]`, and standard deviations if it has them.
Said = tuple[np.ndarray, np.ndarray | None]
Method = Callable[[Part], Said]


def _of_labelled_rows(make: Callable[[int, int], Any], says_deviations: bool = False) -> Method:
    """Return a method that fits the usual pipeline of columns and regressor to labelled rows.

    Args:
        make: takes a seed and the number of features, returns a regressor.
        says_deviations: whether its predictions have standard deviations.
    """

    def method(part: Part) -> Said:
        known = ~np.isnan(part.partial)
        rows, ys = part.train[known], part.partial[known]
        made = columns(rows)
        features = made.fit_transform(rows)
        regressor = make(part.seed, features.shape[1]).fit(features, ys)
        test = made.transform(part.test)
        if says_deviations:
            mean, deviation = regressor.predict(test, return_std=True)
            return mean, deviation
        return regressor.predict(test), None

    return method


def _ridge(seed: int, features: int) -> Any:
    from sklearn.linear_model import RidgeCV

    return RidgeCV(_PENALTIES)


def _forest(seed: int, features: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(_TREES, random_state=seed, n_jobs=1)


def _process(seed: int, features: int) -> Any:
    """Return a Gaussian process of a smooth function and noise, for standardised labels.

    The fit starts with a length scale for this number of features, and with two random ones.
    """
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel = ConstantKernel() * RBF(features**0.5, (1e-1, 1e4)) + WhiteKernel(0.5)
    options = {"normalize_y": True, "n_restarts_optimizer": _RESTARTS, "random_state": seed}
    return GaussianProcessRegressor(kernel, **options)


def _ours(part: Part) -> Said:
    import pyro_ssl

    regressor = pyro_ssl.SemiSupervisedVAERegressor(random_state=part.seed)
    return regressor.fit(part.train, part.partial).predict(part.test, return_std=True)


OURS = "ours"
METHODS: dict[str, Method] = {
    "ridge": _of_labelled_rows(_ridge),
    "random forest": _of_labelled_rows(_forest),
    "Gaussian process": _of_labelled_rows(_process, says_deviations=True),
    OURS: _ours,
}
# Baselines that our regressor must keep up with.
BASELINES = tuple(name for name in METHODS if name != OURS)

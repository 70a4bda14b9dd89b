"""A scikit-learn regressor for your own data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from pyro_ssl.estimator.inputs import infer_inputs
from pyro_ssl.estimator.parameters import check_parameters
from pyro_ssl.estimator.regression.stored import StoredRegressionMethods
from pyro_ssl.estimator.regression.targets import Scaling, real_labels, training_targets
from pyro_ssl.infer.devices import resolve_device

Floats = NDArray[np.floating[Any]]


class SemiSupervisedVAERegressor(
    StoredRegressionMethods,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
    BaseEstimator,
):
    """A regressor by deep generative models, for data with few labels.

    It takes tables, documents as sparse counts, images and signals, with tens to hundreds of
    labelled rows, and also learns from unlabelled rows. `members` models of p(x, y, z)
    (`RegressionM2`) are trained at once, each without one part of the labelled rows. Candidates for
    the label are the models' q(y|x) and, for model="auto", its mean under p(y|x) by importance
    sampling, and `regressors`, for which the models fill in missing entries. The prediction is a
    mean of all candidates, weighed by their errors on labelled rows that they did not see
    (`decision_`). Its standard deviation is that of their mixture, calibrated on the same rows.

    Labels are standardised internally. If positive labels spread over orders of magnitude, give
    their logarithms.

    Equal seeds give equal predictions on one machine. The order of rows makes no difference.

    Args:
        model: "auto", "m2", `RegressionM2` or a class derived from it, or a model whose options
            are used, for data of its shape.
        columns: families of columns, by name or one for each; see `Columns.infer`.
        regressors: regressors by name, for "auto"; None for ridge regression, a random forest and,
            up to 1,000 labelled rows, a Gaussian process, all on the labelled rows; {} for none.
        members: number of models.
        model_options: options of the model that replace the defaults for tables.
        max_steps: largest number of training steps.
        min_steps: number of steps before which the step size does not begin to fall.
        batch_size: number of labelled rows, and of unlabelled rows, per step.
        learning_rate: Adam's step size.
        device: "auto", "cpu", "cuda" or "cuda:N".
        n_jobs: number of processes of the default forest.
        random_state: None, a whole number or a RandomState: seed of all random draws.
        verbose: above 0 for a progress bar on standard error.
        checkpoint: a file in which a long training keeps its state every 100 steps. If the file
            exists, the same `fit` continues from it; after the training it is deleted.

    Attributes:
        columns_: the inferred content of each column.
        decision_: the candidates, their root mean squared errors (in units of the labels) and log
            losses (in nats) on held-out rows, and their weights.
        scaling_: mean and standard deviation of the known labels.
        models_, model_: the trained models, and the first of them.
        n_iter_, termination_condition_: number of steps made, and why they ended.
        history_: `step`, `loss` and `measure` (nats per row) every 100 steps.
        n_features_in_, feature_names_in_: number of columns, and their names if they are strings.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> y[50:] = float("nan")
        >>> regressor = SemiSupervisedVAERegressor(max_steps=100, random_state=0).fit(X, y)
        >>> mean, deviation = regressor.predict(X, return_std=True)
        >>> mean.shape, deviation.shape
        ((442,), (442,))
    """

    def __init__(
        self,
        model: Any = "auto",
        *,
        columns: Mapping[Any, str] | Sequence[str | None] | None = None,
        regressors: Mapping[str, Any] | None = None,
        members: int = 5,
        model_options: Mapping[str, Any] | None = None,
        max_steps: int = 600,
        min_steps: int = 200,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        device: str = "auto",
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
        checkpoint: str | Path | None = None,
    ) -> None:
        self.model = model
        self.columns = columns
        self.regressors = regressors
        self.members = members
        self.model_options = model_options
        self.max_steps = max_steps
        self.min_steps = min_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint = checkpoint

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SemiSupervisedVAERegressor":  # noqa: N803
        """Learn from rows, most of which may have no label.

        Args:
            X: pandas or polars data frame, array or sparse matrix, `[N, C]`; NaN is missing.
            y: labels `[N]`, numbers; NaN, None or pd.NA where unknown; at least two are known.
            sample_weight: weights `[N]`; a weight of n equals n equal rows, see `training_rows`.

        Raises:
            ConfigError: a ValueError, if a parameter is invalid.
            DataError: a ValueError, if rows or labels are invalid.
        """
        check_parameters(self)
        X = self._checked(X, reset=True)  # noqa: N806
        ys = real_labels(y)
        check_consistent_length(X, ys)
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        X, ys, weights, groups = training_targets(X, ys, sample_weight)  # noqa: N806
        self.inputs_ = infer_inputs(X, self.columns)
        self.columns_ = self.inputs_.to_frame()
        self.scaling_ = Scaling.fit(ys, weights)
        xs = self.inputs_.encode(X).to(resolve_device(str(self.device)))
        self._learn(xs, self.scaling_(ys), weights, groups)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:  # noqa: N803
        """Return labels `[N]`, float64, and their standard deviations if `return_std`.

        Args:
            X: rows with the columns of training.
            return_std: return a pair of labels and standard deviations, both in units of y.

        Raises:
            DataError: a ValueError, if columns are missing or unknown.
        """
        check_is_fitted(self)
        mean, deviation = self._weighing.mix(self._encoded(self._checked(X)))
        found = self.scaling_.back(mean)
        return (found, self.scaling_.deviation * deviation) if return_std else found

"""The part of fitting a regressor that starts from encoded rows, and predictions of its models."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from pyro_ssl.errors import DataError
from pyro_ssl.estimator.bounds import SAMPLES
from pyro_ssl.estimator.completion import CompletionMethods
from pyro_ssl.estimator.members import Codes, make_folds
from pyro_ssl.estimator.model_choice import make_models
from pyro_ssl.estimator.parameters import training_options
from pyro_ssl.estimator.regression.candidates import default_regressors
from pyro_ssl.estimator.regression.members import RegressionMembers, mixed_bound
from pyro_ssl.estimator.regression.targets import Scaling, known_pairs, real_labels
from pyro_ssl.estimator.regression.weighing import RegressionWeighing
from pyro_ssl.estimator.training import TrainingMethods

Floats = NDArray[np.floating[Any]]


class RegressionMethods(TrainingMethods, CompletionMethods):
    """Methods of a regressor beside `fit` and `predict`; see `SemiSupervisedVAERegressor`."""

    # Parameters.
    members: int
    model: Any
    model_options: Any
    n_jobs: int | None
    regressors: Mapping[str, Any] | None

    # Set by `fit`.
    scaling_: Scaling
    _members: RegressionMembers
    _weighing: RegressionWeighing
    # Labelled rows, standardised labels and weights that scikit-learn's regressors learnt from.
    _taught: tuple[Tensor, Floats, Floats]

    def predict(self, X: Any, return_std: bool = False) -> Any:  # noqa: N803
        """Return labels `[N]`, and their standard deviations `[N]` if `return_std`."""
        raise NotImplementedError

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Return R^2, the coefficient of determination, on rows with known labels.

        Args:
            X: rows.
            y: labels `[N]`; rows with unknown labels are ignored.
            sample_weight: weights of the rows, `[N]`.

        Raises:
            DataError: if no label is known.
        """
        check_is_fitted(self)
        ys, predicted, weights = known_pairs(y, self.predict(X), sample_weight)
        return float(r2_score(ys, predicted, sample_weight=weights))

    def score_samples(self, X: Any, y: Any = None) -> Floats:  # noqa: N803
        """Return a lower bound on log p(x) of each row, `[N]`, in nats.

        This is an importance-weighted bound of the models' mixture; a density in the units of the
        raw columns. Missing entries are left out. The expectation over the noise is a bound; the
        noise is the same in every call.

        Args:
            X: rows.
            y: labels `[N]`, all known; if given, the bound is on log p(x, y).

        Raises:
            DataError: if a label is unknown, or the number of labels is not that of rows.
        """
        check_is_fitted(self)
        xs = self._encoded(self._checked(X))
        jacobian = self.inputs_.log_jacobian(xs)
        if y is None:
            found: Floats = mixed_bound(self._members.log_marginal(xs, SAMPLES, self._seed))
            return found + jacobian
        ys = real_labels(y)
        if ys.shape != (len(xs),) or np.isnan(ys).any():
            raise DataError(f"y has shape {ys.shape}, expected ({len(xs)},), all of them known")
        scaled = torch.from_numpy(self.scaling_(ys))
        joint = mixed_bound(self._members.log_joint(xs, scaled, SAMPLES, self._seed))
        return joint + jacobian - np.log(self.scaling_.deviation)

    @property
    def decision_(self) -> pd.DataFrame:
        """The candidates, their figures on held-out labelled rows, and their weights."""
        check_is_fitted(self)
        return self._weighing.table

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.string = True
        tags.input_tags.three_d_array = True
        return tags

    def _learn(self, xs: Tensor, ys: Floats, weights: Floats, groups: Codes) -> None:
        """Train the models, and weigh the candidates.

        Args:
            xs: encoded rows, float32.
            ys: their standardised labels, NaN where unknown.
            weights: weights of the rows.
            groups: numbers of the rows, equal for copies.
        """
        known = ~np.isnan(ys)
        copies = groups if self.inputs_.continuous else None
        # All labelled rows form one class, so that folds are not stratified.
        folds = make_folds(np.where(known, 0, -1), self.members, self._seed, copies)
        seeds = range(self._seed, self._seed + self.members)
        options = self.model_options or {}
        models = make_models(self.model, self.inputs_, None, options, seeds, xs.device)
        self._members = RegressionMembers(models, folds)
        config = training_options(self, self._seed, models[0].recommended_anneal)
        self._train(self._members, xs, ys.astype(np.float32), weights, config)
        self._n_features_out = self.transform_dim_
        weighing = self._make_weighing(xs, int(known.sum()))
        unit = self.scaling_.deviation
        self._weighing = weighing.fit(xs.double(), ys, weights, unit)
        rows = np.flatnonzero(known)
        self._taught = xs[torch.from_numpy(rows).to(xs.device)].cpu(), ys[rows], weights[rows]
        self._fit_bounds(xs)

    def _make_weighing(self, xs: Tensor, labelled: int) -> RegressionWeighing:
        """Return the candidates; only those of the model unless `model` is "auto"."""
        auto = isinstance(self.model, str) and self.model == "auto"
        given = self.regressors if auto else {}
        if given is None:
            row = self.inputs_.features(xs[:1], None, False)
            dense = isinstance(row, np.ndarray)
            given = default_regressors(labelled, row.shape[1], dense, self.n_jobs, self._seed)
        return RegressionWeighing(self._members, self.inputs_, given, auto, self._seed)

    def _labels_of(self, X: Any, rng: np.random.RandomState) -> Callable[[], Tensor]:  # noqa: N803
        mean, deviation = self._weighing.mix(self._encoded(X))
        parameter = next(self.model_.parameters())

        def draw() -> Tensor:
            return torch.from_numpy(mean + deviation * rng.randn(len(mean))).to(parameter)

        return draw

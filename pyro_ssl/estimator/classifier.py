"""A scikit-learn classifier for your own data."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_consistent_length,
    check_is_fitted,
)

from pyro_ssl.estimator.labels import LabelCodes
from pyro_ssl.estimator.parameters import check_parameters, prior_shares
from pyro_ssl.estimator.predictions import PredictionMethods
from pyro_ssl.estimator.probabilities import reweighed
from pyro_ssl.estimator.rows import class_weighted, training_rows
from pyro_ssl.estimator.sampling import Kept, RowSample
from pyro_ssl.estimator.stored import StoredMethods
from pyro_ssl.infer.devices import resolve_device

Floats = NDArray[np.floating[Any]]


class SemiSupervisedVAEClassifier(
    PredictionMethods,
    StoredMethods,
    ClassNamePrefixFeaturesOutMixin,
    ClassifierMixin,
    TransformerMixin,
    BaseEstimator,
):
    """A classifier by deep generative models, for data with few labels.

    It takes tables, documents as sparse counts, images and signals, with tens to thousands of
    labelled rows, and also learns from unlabelled rows. `members` models of p(x, y, z) are trained
    at once, each without one part of the labelled rows. Candidates for p(y|x) are the models'
    q(y|x) and, for model="auto", p(y|x) by Bayes' rule and `classifiers`, for which the models fill
    in missing entries. Each candidate is calibrated by a temperature. The prediction is a mixture
    of all candidates, weighed by their predictions for labelled rows that they did not see
    (`decision_`). If most rows are labelled, gradient boosting is hard to beat.

    Equal seeds give equal predictions on one machine. The order of rows makes no difference.

    Args:
        model: "auto", "m2", "m1m2", "rao_blackwell", "ccvae", a class of models that classify, or
            a model whose options are used, for data of its shape.
        columns: families of columns, by name or one for each; "covariate" for columns that are
            conditioned on and not modelled; see `Columns.infer`.
        unlabelled: the marker of unknown labels, beside NaN and None; None for -1.
        class_prior: class shares of predictions: "uniform", "estimated" from all rows, or shares
            `[K]` in the order of `classes_`.
        class_weight: costs of errors by label, which multiply the class shares of predictions, and
            weights in training; "balanced" for training with equally frequent classes.
        classifiers: classifiers with `predict_proba` by name, for "auto"; None for logistic
            regression and a random forest on the labelled rows, and label spreading; {} for none.
            Those of `sklearn.semi_supervised` learn from all rows.
        members: number of models.
        model_options: options of the model that replace the defaults for tables.
        max_steps: largest number of training steps.
        min_steps: number of steps before which the step size does not begin to fall.
        batch_size: number of labelled rows, and of unlabelled rows, per step.
        max_rows: largest number of labelled and of unlabelled rows to keep; of more, a uniform
            sample is drawn. None for all. A model sees at most `max_steps * batch_size` of each.
        learning_rate: Adam's step size.
        device: "auto", "cpu", "cuda" or "cuda:N".
        n_jobs: number of processes of the default random forest.
        random_state: None, a whole number or a RandomState: seed of all random draws.
        warm_start: begin the next `fit` with the weights of the last one.
        verbose: above 0 for a progress bar on standard error.
        checkpoint: a file in which a long training keeps its state every 100 steps. If the file
            exists, the same `fit` continues from it; after the training it is deleted.

    Attributes:
        classes_: known labels, sorted, `[K]`.
        class_shares_: shares of the classes among all rows, estimated, `[K]`.
        columns_: the inferred content of each column.
        decision_: the candidates, their figures on held-out rows, and their weights.
        held_out_: labels of held-out rows, and the mixture's predictions; None after `load`.
        models_, model_: the trained models, and the first of them.
        n_iter_, termination_condition_: number of steps made, and why they ended.
        history_: `step`, `loss` and `measure` (nats per row) every 100 steps.
        n_features_in_, feature_names_in_: number of columns, and their names if they are strings.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> y[10:50] = y[60:100] = y[110:] = -1
        >>> classifier = SemiSupervisedVAEClassifier(max_steps=100, random_state=0).fit(X, y)
        >>> classifier.predict_proba(X).shape
        (150, 3)
    """

    def __init__(
        self,
        model: Any = "auto",
        *,
        columns: Mapping[Any, str] | Sequence[str | None] | None = None,
        unlabelled: Any = None,
        class_prior: Any = "uniform",
        class_weight: Any = None,
        classifiers: Mapping[str, Any] | None = None,
        members: int = 5,
        model_options: Mapping[str, Any] | None = None,
        max_steps: int = 1200,
        min_steps: int = 400,
        batch_size: int = 64,
        max_rows: int | None = 100_000,
        learning_rate: float = 3e-3,
        device: str = "auto",
        n_jobs: int | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        checkpoint: str | Path | None = None,
    ) -> None:
        self.model = model
        self.columns = columns
        self.unlabelled = unlabelled
        self.class_prior = class_prior
        self.class_weight = class_weight
        self.classifiers = classifiers
        self.members = members
        self.model_options = model_options
        self.max_steps = max_steps
        self.min_steps = min_steps
        self.batch_size = batch_size
        self.max_rows = max_rows
        self.learning_rate = learning_rate
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.checkpoint = checkpoint

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SemiSupervisedVAEClassifier":  # noqa: N803
        """Learn from rows, most of which may be unlabelled.

        Args:
            X: pandas or polars data frame, array or sparse matrix, `[N, C]`; NaN is missing. Or
                cells, as `from_anndata` returns them.
            y: labels `[N]` of at least two classes: numbers, strings or truth values.
            sample_weight: weights `[N]`; a weight of n equals n equal rows, see `training_rows`.

        Raises:
            ConfigError: a ValueError, if a parameter is invalid.
            DataError: a ValueError, if rows or labels are invalid.
        """
        check_parameters(self)
        X = self._checked(X, reset=True)  # noqa: N806
        sample = RowSample(self.max_rows, self.unlabelled)
        if y is not None:
            check_consistent_length(X, y)
        sample.add(X, y)
        kept = sample.rows()
        if sample_weight is not None and len(kept.places) < _num_samples(X):
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
            sample_weight = weights[kept.places]
        return self._fit_kept(kept, sample_weight)

    def fit_parts(self, parts: Iterable[tuple[Any, Any]]) -> "SemiSupervisedVAEClassifier":
        """Learn from rows that come in parts, in one pass, as `fit` would from all of them.

        The memory needed is that of one part and of the rows kept, see `max_rows`. All parts have
        the columns of the first; data frames should have its dtypes.

        Args:
            parts: pairs of rows and labels, as for `fit`; all labels of a part may be unknown.

        Raises:
            ConfigError: as for `fit`.
            DataError: as for `fit`, or if there are no parts.
        """
        check_parameters(self)
        sample = RowSample(self.max_rows, self.unlabelled)
        for number, (rows, labels) in enumerate(parts):
            rows = self._checked(rows, reset=number == 0)
            check_consistent_length(rows, labels)
            sample.add(rows, labels)
        return self._fit_kept(sample.rows(), None)

    def _fit_kept(self, kept: Kept, sample_weight: Any) -> "SemiSupervisedVAEClassifier":
        X = kept.X  # noqa: N806
        codes, classes = LabelCodes.fit(kept.y, self.unlabelled)
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        X, codes, classes, weights, groups = training_rows(X, codes, classes, sample_weight)  # noqa: N806
        prior_shares(self.class_prior, len(classes), None)
        self._begin(X, classes)
        xs = self.inputs_.encode(X).to(resolve_device(str(self.device)))
        folds = self._keep_labelled(xs, codes, weights, groups)
        weights = class_weighted(weights, codes, classes, self.class_weight)
        standing_for = 1 / np.maximum(kept.shares, 1e-9)
        self._learn(xs, codes, weights, folds, standing_for=standing_for)
        return self

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Return p(y|x) under the class shares `class_prior`, `[N, K]`, float64.

        Args:
            X: rows with the columns of training.

        Raises:
            DataError: a ValueError, if columns are missing or unknown.
        """
        check_is_fitted(self)
        xs = self._encoded(self._checked(X))
        mixed = self._weighing.mix(xs)
        prior = self._prior()
        found = reweighed(mixed, np.full_like(prior, 1 / len(prior)), prior)
        return self._less_certain(found, prior, xs)

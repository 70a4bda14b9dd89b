"""A scikit-learn classifier for your own data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator.candidates import (
    Supervised,
    decide,
    default_classifiers,
    labelled_shares,
)
from pyro_ssl.estimator.decision import normalised, reweighed
from pyro_ssl.estimator.labels import LabelCodes, known_labels
from pyro_ssl.estimator.members import Members
from pyro_ssl.estimator.model_choice import make_model
from pyro_ssl.estimator.stored import StoredMethods
from pyro_ssl.infer.annealing import Anneal
from pyro_ssl.infer.ensemble import EnsembleConfig

Floats = NDArray[np.floating[Any]]

# Rows that each kind of candidate has in advance; the sum is about the labels of a small table.
_PREFERENCE = {"q(y|x)": 4.0, "p(y|x)": 2.0}
_PREFERENCE_OF_CLASSIFIERS = 6.0


class SemiSupervisedVAEClassifier(
    StoredMethods,
    ClassNamePrefixFeaturesOutMixin,
    ClassifierMixin,
    TransformerMixin,
    BaseEstimator,
):
    """A classifier of rows of which few are labelled."""

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
        max_steps: int = 1500,
        min_steps: int = 400,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        device: str = "auto",
        n_jobs: int | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
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
        self.learning_rate = learning_rate
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SemiSupervisedVAEClassifier":  # noqa: N803
        """Learn from rows `X` and labels `y` `[N]`, of which most may be unknown."""
        X = self._checked(X, reset=True)  # noqa: N806
        codes, classes = LabelCodes.fit(y, self.unlabelled)
        check_consistent_length(X, codes)
        self._begin(X, classes)
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        weights = self._weights(X, codes, sample_weight)
        xs, features = self.inputs_.encode(X).to(self._device()), self.inputs_.features(X)
        folds = self._keep_labelled(xs, features, codes, weights, sample_weight)
        self._fit_members(xs, codes, weights, folds)
        self._fit_decision(features, xs, codes, weights, folds)
        self._fit_bounds(xs)
        return self

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Return p(y|x), `[N, K]`."""
        check_is_fitted(self)
        X = self._checked(X)  # noqa: N806
        xs = self._encoded(X)
        each = self._say(X, xs)
        mixed = self.decision_rule_.mix(each)
        prior = self._prior()
        found = reweighed(mixed, np.full_like(prior, 1 / len(prior)), prior)
        return self._less_certain(found, prior, xs)

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the likeliest label of each row, `[N]`."""
        found: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(1)]
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Return the accuracy among rows whose label is known."""
        known, labels = known_labels(y, self.unlabelled)
        guesses = self.predict(X)[known]
        weights = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(accuracy_score(labels, guesses, sample_weight=weights))

    @property
    def decision_(self) -> pd.DataFrame:
        """The candidates, their figures on held-out labelled rows, and their weights."""
        check_is_fitted(self)
        return self.decision_rule_.table

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.string = True
        return tags

    def _fit_members(
        self, xs: Any, codes: Any, weights: Any, folds: Any, share: float = 1.0
    ) -> None:
        options = dict(self.model_options or {})
        models = [
            make_model(
                self.model,
                self.inputs_.input_shape,
                len(self.classes_),
                self.inputs_.likelihood,
                options,
                self._seed + n,
            ).to(xs.device)
            for n in range(len(folds))
        ]
        anneal = {
            key: Anneal(start, end, max(1, round(part * self.min_steps)))
            for key, (start, end, part) in models[0].recommended_anneal.items()
        }
        config = EnsembleConfig(
            max_steps=max(1, round(share * self.max_steps)),
            min_steps=round(share * self.min_steps),
            batch_size=self.batch_size,
            labelled_batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            anneal={} if self._go_on(models) else anneal,
            seed=self._seed,
        )
        self._members = Members(models, folds)
        history = self._members.fit(xs, codes, weights, config)
        for model in models:
            model.double()
        self.models_, self.model_ = models, models[0]
        self.n_iter_ = history.steps
        self.history_ = pd.DataFrame(history.rows)
        self.termination_condition_ = history.termination
        self._n_features_out = self.transform_dim_

    def _fit_decision(self, features: Any, xs: Any, codes: Any, weights: Any, folds: Any) -> None:
        rows = np.flatnonzero(codes >= 0)
        classes = len(self.classes_)
        known = xs[torch.from_numpy(rows)].double()
        said = {"q(y|x)": normalised(self._members.held_out(self._members.log_q(known), rows))}
        self.class_shares_ = self._members.class_shares(xs.double())
        shares = labelled_shares(codes[rows], classes, weights[rows])
        implied = {"q(y|x)": shares}
        preference = dict(_PREFERENCE)
        self._classifiers: dict[str, Supervised] = {}
        if self.model == "auto":
            joint = self._members.held_out(self._members.log_joint(known, 4, self._seed), rows)
            said["p(y|x)"] = normalised(joint)
            implied["p(y|x)"] = 0.9 * self._label_prior() + 0.1 / classes
            given = self.classifiers
            if given is None:
                given = default_classifiers(self.n_jobs, self._seed)
            for name, estimator in given.items():
                one = Supervised(estimator, classes)
                said[name] = one.held_out(features, codes, weights, rows, folds)
                self._classifiers[name] = one.fit(features[rows], codes[rows], weights[rows])
                implied[name] = shares
                preference[name] = _PREFERENCE_OF_CLASSIFIERS / len(given)
        self.decision_rule_ = decide(said, codes[rows], implied, preference)

    def _say(self, X: Any, xs: Any) -> dict[str, Floats]:  # noqa: N803
        """Return what each candidate says of rows, `[N, K]`."""
        found = {"q(y|x)": normalised(self._members.log_q(xs)).mean(0)}
        if self.model == "auto":
            joint = self._members.log_joint(xs, 4, self._seed)
            found["p(y|x)"] = normalised(joint).mean(0)
            features = self.inputs_.features(X) if self._classifiers else None
            found |= {name: one.predict(features) for name, one in self._classifiers.items()}
        return found

    def _prior(self) -> Floats:
        """Return the class shares of predictions, `[K]`."""
        classes = len(self.classes_)
        if isinstance(self.class_prior, str):
            if self.class_prior == "uniform":
                return np.full(classes, 1 / classes)
            if self.class_prior == "estimated":
                return self.class_shares_
        else:
            shares = np.asarray(self.class_prior, dtype=np.float64)
            if shares.shape == (classes,) and (shares > 0).all():
                return shares / shares.sum()
        raise ConfigError(
            f"class_prior is {self.class_prior!r}, expected 'uniform', 'estimated', or {classes} "
            "positive shares, in the order of classes_"
        )

    def _weights(self, X: Any, codes: Any, sample_weight: Any) -> Floats:  # noqa: N803
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        known = codes >= 0
        if self.class_weight is not None:
            each = compute_class_weight(
                self.class_weight, classes=self.classes_, y=self.classes_[codes[known]]
            )
            weights[known] *= each[codes[known]]
        if not (weights[known] > 0).any():
            raise DataError("sample_weight is zero for all labelled rows")
        return weights

    def _device(self) -> torch.device:
        if self.device != "auto":
            return torch.device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

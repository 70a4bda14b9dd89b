"""Candidates of a decision: their predictions for held-out labelled rows, and for new rows."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import LabelSpreading
from sklearn.utils.validation import has_fit_parameter

from pyro_ssl.errors import ConfigError
from pyro_ssl.estimator.members import Fold

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

# Number of rows above which a graph of neighbours takes too long.
_MOST_PROPAGATED = 10_000
# Number of neighbours in that graph.
_NEIGHBOURS = 7
_TREES = 200


def default_classifiers(rows: int, n_jobs: int | None, seed: int) -> dict[str, Any]:
    """Return the classifiers that are weighed against a model, for this number of rows."""
    found = {
        "logistic regression": LogisticRegression(max_iter=1000),
        "random forest": RandomForestClassifier(_TREES, n_jobs=n_jobs, random_state=seed),
    }
    if _NEIGHBOURS < rows <= _MOST_PROPAGATED:
        found["label spreading"] = LabelSpreading(kernel="knn", n_neighbors=_NEIGHBOURS)
    return found


def learns_from_all_rows(estimator: Any) -> bool:
    """Return whether a classifier, or the last step of a pipeline, is semi-supervised."""
    last = getattr(estimator, "steps", [("", estimator)])[-1][1]
    return type(last).__module__.startswith("sklearn.semi_supervised")


class Candidate:
    """A scikit-learn estimator that learns from labelled rows only.

    Args:
        estimator: the estimator, which is cloned.
        numbers: number of values that it predicts for a row.
        seed: replaces a `random_state` of None, also in parts of the estimator.
    """

    def __init__(self, estimator: Any, numbers: int, seed: int = 0) -> None:
        self.numbers = numbers
        self.estimator = clone(estimator)
        states = [
            key
            for key, value in self.estimator.get_params().items()
            if key.split("__")[-1] == "random_state" and value is None
        ]
        self.estimator.set_params(**dict.fromkeys(states, seed))
        self.fitted: Any = None

    def fit(self, features: Any, labels: NDArray[Any], weights: Floats) -> "Candidate":
        """Learn from labelled rows: features `[L, D]`, labels and weights `[L]`."""
        self.fitted = clone(self.estimator)
        options = {}
        if not np.all(weights == weights[0]):
            last = getattr(self.fitted, "steps", [("", self.fitted)])[-1]
            if has_fit_parameter(last[1], "sample_weight"):
                options = {f"{last[0]}__sample_weight" if last[0] else "sample_weight": weights}
        self.fitted.fit(features, labels, **options)
        return self

    def learn(self, features: Any, labels: NDArray[Any], weights: Floats, labelled: Codes) -> None:
        """Learn from those of all rows `[N, D]` whose indices are in `labelled`."""
        self.fit(features[labelled], labels[labelled], weights[labelled])

    def predict(self, features: Any) -> Floats:
        """Return the predictions for rows, `[N, numbers]`."""
        raise NotImplementedError

    def held_out(
        self,
        features: Sequence[Any],
        labels: NDArray[Any],
        weights: Floats,
        rows: Codes,
        folds: Sequence[Fold],
    ) -> Floats:
        """Return predictions for each labelled row, by a fit without it; NaN if there is none.

        Args:
            features: features of all rows, `[N, D]`, for each fold.
            labels: labels of all rows.
            weights: weights of all rows.
            rows: indices of the labelled rows, sorted.
            folds: the folds.

        Returns:
            Predictions `[L, numbers]`.
        """
        found = np.full((len(rows), self.numbers), np.nan)
        for fold, of_fold in zip(folds, features, strict=True):
            if len(fold.held_out):
                self.learn(of_fold, labels, weights, fold.kept)
                places = np.searchsorted(rows, fold.held_out)
                found[places] = self.predict(of_fold[fold.held_out])
        return found


class Supervised(Candidate):
    """A scikit-learn classifier that learns from labelled rows only.

    Args:
        estimator: the classifier, which is cloned; it needs `predict_proba`.
        classes: number of classes K.
        seed: as for `Candidate`.
    """

    def __init__(self, estimator: Any, classes: int, seed: int = 0) -> None:
        if not hasattr(estimator, "predict_proba"):
            raise ConfigError(
                f"classifiers has {estimator!r}, expected classifiers with predict_proba: wrap it "
                "in CalibratedClassifierCV"
            )
        super().__init__(estimator, classes, seed)

    def predict(self, features: Any) -> Floats:
        """Return p(y|x) of rows, `[N, K]`."""
        found = np.zeros((features.shape[0], self.numbers))
        found[:, self.fitted.classes_] = self.fitted.predict_proba(features)
        return found


class Propagated(Supervised):
    """A semi-supervised scikit-learn classifier, which learns from all rows; -1 is unknown."""

    def learn(self, features: Any, labels: NDArray[Any], weights: Floats, labelled: Codes) -> None:
        """Learn from all rows, `[N, D]`, seeing only the labels of the rows in `labelled`."""
        known = np.full(len(labels), -1)
        known[labelled] = labels[labelled]
        self.fit(features, known, weights)

    def fit(self, features: Any, labels: NDArray[Any], weights: Floats) -> "Propagated":
        """Learn from all rows: features `[N, D]`, labels `[N]`, -1 where unknown."""
        with warnings.catch_warnings():
            # Warnings about many classes, and about rows that no label reaches.
            warnings.simplefilter("ignore")
            self.fitted = clone(self.estimator).fit(features, labels)
        return self

    def predict(self, features: Any) -> Floats:
        """Return p(y|x) of rows, `[N, K]`, uniform for a row that no label reaches."""
        with np.errstate(invalid="ignore"):
            found = np.nan_to_num(super().predict(features))
        found[found.sum(1) < 1e-6] = 1.0
        return found / found.sum(1, keepdims=True)

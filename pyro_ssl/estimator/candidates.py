"""Candidates of a decision: what each says of held-out labelled rows, and of new ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.semi_supervised import LabelSpreading
from sklearn.utils.validation import has_fit_parameter

from pyro_ssl.errors import ConfigError
from pyro_ssl.estimator.decision import (
    class_balanced,
    floored,
    log_loss,
    mixture_weights,
    normalised,
    reweighed,
    shares_of,
    temperature,
)
from pyro_ssl.estimator.members import Fold

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

# Rows above which a graph of neighbours takes too long.
_MOST_PROPAGATED = 10_000


def default_classifiers(n_jobs: int | None, seed: int) -> dict[str, Any]:
    """Return the classifiers of labelled rows alone that a model is weighed against."""
    linear = LogisticRegression(max_iter=1000)
    forest = RandomForestClassifier(200, n_jobs=n_jobs, random_state=seed)
    return {"logistic regression": linear, "random forest": forest}


def default_propagation(rows: int) -> dict[str, Any]:
    """Return the semi-supervised classifiers that a model is weighed against."""
    if rows > _MOST_PROPAGATED:
        return {}
    return {"label spreading": LabelSpreading(kernel="knn", n_neighbors=7)}


class Supervised:
    """A scikit-learn classifier that learns from labelled rows alone.

    Args:
        estimator: the classifier, which is cloned; it needs `predict_proba`.
        classes: number of classes K.
        seed: what its `random_state` is where that is None, in parts of it too.
    """

    def __init__(self, estimator: Any, classes: int, seed: int = 0) -> None:
        if not hasattr(estimator, "predict_proba"):
            raise ConfigError(
                f"classifiers has {estimator!r}, expected classifiers with predict_proba: wrap it "
                "in CalibratedClassifierCV"
            )
        self.classes = classes
        self.estimator = clone(estimator)
        states = [
            key
            for key, value in self.estimator.get_params().items()
            if key.split("__")[-1] == "random_state" and value is None
        ]
        self.estimator.set_params(**dict.fromkeys(states, seed))
        self.fitted: Any = None

    def fit(self, features: Any, codes: Codes, weights: Floats) -> "Supervised":
        """Learn from labelled rows: features `[L, D]`, labels and weights `[L]`."""
        self.fitted = clone(self.estimator)
        options = {}
        if not np.all(weights == weights[0]):
            last = getattr(self.fitted, "steps", [("", self.fitted)])[-1]
            if has_fit_parameter(last[1], "sample_weight"):
                options = {f"{last[0]}__sample_weight" if last[0] else "sample_weight": weights}
        self.fitted.fit(features, codes, **options)
        return self

    def predict(self, features: Any) -> Floats:
        """Return p(y|x) of rows, `[N, K]`."""
        found = np.zeros((features.shape[0], self.classes))
        found[:, self.fitted.classes_] = self.fitted.predict_proba(features)
        return found

    def held_out(
        self,
        features: Sequence[Any],
        codes: Codes,
        weights: Floats,
        rows: Codes,
        folds: Sequence[Fold],
    ) -> Floats:
        """Return p(y|x) of each labelled row by a fit without it, `[L, K]`, NaN where none is.

        Args:
            features: of all rows, `[N, D]`, for each fold.
            codes: labels of all rows.
            weights: weights of all rows.
            rows: numbers of the labelled rows, sorted.
            folds: the folds.
        """
        found = np.full((len(rows), self.classes), np.nan)
        for fold, of_fold in zip(folds, features, strict=True):
            if len(fold.held_out):
                self.fit(of_fold[fold.kept], codes[fold.kept], weights[fold.kept])
                places = np.searchsorted(rows, fold.held_out)
                found[places] = self.predict(of_fold[fold.held_out])
        return found


class Propagated(Supervised):
    """A semi-supervised scikit-learn classifier, which learns from all rows, -1 being unknown."""

    def held_out(
        self,
        features: Sequence[Any],
        codes: Codes,
        weights: Floats,
        rows: Codes,
        folds: Sequence[Fold],
    ) -> Floats:
        """Return p(y|x) of each labelled row by a fit that does not know its label, `[L, K]`."""
        found = np.full((len(rows), self.classes), np.nan)
        for fold, of_fold in zip(folds, features, strict=True):
            if len(fold.held_out):
                known = np.full(len(codes), -1)
                known[fold.kept] = codes[fold.kept]
                self.fit(of_fold, known, weights)
                places = np.searchsorted(rows, fold.held_out)
                found[places] = self.predict(of_fold[fold.held_out])
        return found

    def fit(self, features: Any, codes: Codes, weights: Floats) -> "Propagated":
        """Learn from all rows: features `[N, D]`, labels `[N]`, -1 where unknown."""
        self.fitted = clone(self.estimator).fit(features, codes)
        return self

    def predict(self, features: Any) -> Floats:
        """Return p(y|x) of rows, `[N, K]`, uniform where no label reaches."""
        found = np.nan_to_num(super().predict(features))
        found[found.sum(1) < 1e-6] = 1.0
        return found / found.sum(1, keepdims=True)


@dataclass(frozen=True)
class Calibration:
    """How a candidate's probabilities become those of equally frequent classes.

    Attributes:
        shares: the classes' shares that are implied in them, `[K]`.
        temperature: their logarithms are divided by it.
    """

    shares: Floats
    temperature: float = 1.0

    def __call__(self, probabilities: Floats) -> Floats:
        """Return calibrated probabilities `[..., K]` of equally frequent classes."""
        uniform = np.full_like(self.shares, 1 / len(self.shares))
        even = reweighed(floored(probabilities), self.shares, uniform)
        return normalised(np.log(even) / self.temperature)


@dataclass(frozen=True)
class Decision:
    """What is made of the candidates.

    Attributes:
        names: of the candidates.
        calibrations: one for each.
        weights: in the mixture, `[C]`; their sum is 1.
        table: the candidates' figures on held-out labelled rows.
    """

    names: tuple[str, ...]
    calibrations: tuple[Calibration, ...]
    weights: Floats
    table: pd.DataFrame

    def mix(self, each: Mapping[str, Floats]) -> Floats:
        """Return p(y|x) for equally frequent classes, `[N, K]`, of the candidates' own."""
        calibrated = [
            weight * calibration(each[name])
            for name, calibration, weight in zip(
                self.names, self.calibrations, self.weights, strict=True
            )
            if weight > 0
        ]
        return np.sum(calibrated, 0)


def decide(
    held_out: Mapping[str, Floats],
    codes: Codes,
    implied: Mapping[str, Floats],
    preference: Mapping[str, float],
    log_temperature: Mapping[str, float] | None = None,
) -> Decision:
    """Weigh candidates by what they say of held-out labelled rows.

    Args:
        held_out: p(y|x) of the labelled rows by each candidate, `[L, K]`, NaN where a row was held
            out nowhere.
        codes: the rows' labels, `[L]`.
        implied: the classes' shares implied in each candidate's probabilities, `[K]`.
        preference: rows that each candidate has in advance.
        log_temperature: logarithm of the temperature expected of a candidate; 0 where it is not
            given.
    """
    names = tuple(held_out)
    classes = next(iter(held_out.values())).shape[1]
    known = np.all([np.isfinite(p).all(1) for p in held_out.values()], 0)
    codes = codes[known]
    weights = class_balanced(codes, classes) if len(codes) else np.zeros(0)
    calibrations, said, rows = [], [], []
    for name in names:
        plain = Calibration(implied[name])
        even = plain(held_out[name][known])
        found = temperature(even, codes, weights, (log_temperature or {}).get(name, 0.0))
        calibrations.append(Calibration(implied[name], found))
        said.append(normalised(np.log(even) / found))
        rows.append({"candidate": name, **_figures(said[-1], codes, weights), "temperature": found})
    prior = [preference[name] for name in names]
    mixed = mixture_weights(np.stack(said), codes, weights, prior)
    table = pd.DataFrame(rows).assign(preference=prior, weight=mixed, held_out_rows=len(codes))
    return Decision(names, tuple(calibrations), mixed, table)


def _figures(probabilities: Floats, codes: Codes, weights: Floats) -> dict[str, float]:
    names = ("log_loss", "balanced_accuracy", "accuracy")
    if not len(codes):
        return dict.fromkeys(names, np.nan)
    guesses = probabilities.argmax(1)
    values = (
        log_loss(probabilities, codes, weights),
        balanced_accuracy_score(codes, guesses),
        accuracy_score(codes, guesses),
    )
    return dict(zip(names, map(float, values), strict=True))


def labelled_shares(codes: Codes, classes: int, weights: Floats) -> Floats:
    """Return the classes' shares that a classifier of labelled rows implies, `[K]`."""
    scaled = weights * (len(codes) / weights.sum())
    return shares_of(codes, classes, scaled)

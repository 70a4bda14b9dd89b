"""The classifiers that are compared: on labelled rows only, on all rows, and ours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

# Deviations from scikit-learn's defaults.
_TREES = 300
_ITERATIONS = 1000
_NEIGHBOURS = 7
# With scikit-learn's defaults, boosting takes minutes per fit if there are many classes. A leaf of
# at least 20 rows, the default, could not split the few labelled rows even once. Without the
# penalty it fails on 32 classes. These four were chosen on one split of five data sets.
_BOOSTING = {
    "max_iter": 30,
    "learning_rate": 0.3,
    "l2_regularization": 1.0,
    "min_samples_leaf": 5,
    "early_stopping": False,
}
_ROUNDS_OF_BOOSTING = 5


@dataclass(frozen=True)
class Part:
    """Training rows, their known labels, and test rows without labels."""

    train: Any
    """Data frame, array or CSR matrix `[T, ...]`."""
    partial: np.ndarray
    """Integers `[T]`, -1 where unknown."""
    test: Any
    """Like `train`, `[M, ...]`."""
    seed: int
    """Seed of all random draws."""

    @property
    def num_classes(self) -> int:
        """Number of classes, each of which has a known label."""
        return int(self.partial.max()) + 1

    @property
    def labelled(self) -> tuple[Any, np.ndarray]:
        """The training rows with known labels, and these labels."""
        known = np.flatnonzero(self.partial >= 0)
        rows = self.train.iloc[known] if hasattr(self.train, "iloc") else self.train[known]
        return rows, self.partial[known]


# Returns probabilities of the test rows, `[M, K]`, unnormalised, by a suffix. They are recorded
# under the method's name and the suffix, which is mostly empty.
Method = Callable[[Part], dict[str, np.ndarray]]


def columns(inputs: Any) -> Any:
    """Return the usual transformer from columns to numbers, not fitted yet.

    Numbers: missing ones become the median, then mean 0 and variance 1. Strings: missing ones
    become the most frequent, then one column per category; an unseen category is a row of zeros.
    Sparse counts: TF-IDF. An array's columns are numbers.
    """
    from sklearn.compose import make_column_transformer
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    if sparse.issparse(inputs):
        return TfidfTransformer()
    if not isinstance(inputs, pd.DataFrame):
        return numbers
    is_number = [pd.api.types.is_numeric_dtype(dtype) for dtype in inputs.dtypes]
    categories = make_pipeline(
        SimpleImputer(strategy="most_frequent"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    return make_column_transformer(
        (numbers, inputs.columns[is_number]),
        (categories, inputs.columns[np.logical_not(is_number)]),
    )


def _linear(seed: int, **options: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=_ITERATIONS, **options)


def _forest(seed: int, **options: Any) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(_TREES, random_state=seed, n_jobs=1, **options)


def _network(seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(max_iter=_ITERATIONS, random_state=seed)


def _spreading(seed: int) -> Any:
    from sklearn.semi_supervised import LabelSpreading

    return LabelSpreading(kernel="knn", n_neighbors=_NEIGHBOURS, max_iter=_ITERATIONS, n_jobs=1)


def _self_training(seed: int, boosting: bool) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.semi_supervised import SelfTrainingClassifier

    if not boosting:
        return SelfTrainingClassifier(_linear(seed))
    boosted = HistGradientBoostingClassifier(random_state=seed, **_BOOSTING)
    return SelfTrainingClassifier(boosted, max_iter=_ROUNDS_OF_BOOSTING)


def _of_labelled_rows(make: Callable[..., Any], **options: Any) -> Method:
    """Return a method that fits columns and classifier to the labelled rows only."""

    def method(part: Part) -> dict[str, np.ndarray]:
        rows, ys = part.labelled
        made = columns(rows)
        classifier = make(part.seed, **options).fit(made.fit_transform(rows), ys)
        return {"": classifier.predict_proba(made.transform(part.test))}

    return method


def _of_all_rows(make: Callable[..., Any], **options: Any) -> Method:
    """Return a method that fits columns to all training rows, then the classifier to all."""

    def method(part: Part) -> dict[str, np.ndarray]:
        made = columns(part.train)
        train, test = made.fit_transform(part.train), made.transform(part.test)
        return {"": make(part.seed, **options).fit(train, part.partial).predict_proba(test)}

    return method


def _ours(part: Part) -> dict[str, np.ndarray]:
    """Return our classifier's probabilities, and those under the class shares it estimated.

    The former are assumed to be under equal shares, so that the latter are proportional to their
    product with the shares.
    """
    import pyro_ssl

    classifier = pyro_ssl.SemiSupervisedVAEClassifier(random_state=part.seed)
    classifier.fit(part.train, part.partial)
    found = classifier.predict_proba(part.test)
    if not hasattr(classifier, "class_shares_"):
        return {"": found}
    return {"": found, ", estimated shares": found * np.asarray(classifier.class_shares_)}


OURS = "ours"
BOOSTING = "self-training, boosting"
METHODS: dict[str, Method] = {
    "logistic regression": _of_labelled_rows(_linear),
    "random forest": _of_labelled_rows(_forest),
    "network": _of_labelled_rows(_network),
    "logistic regression, balanced": _of_labelled_rows(_linear, class_weight="balanced"),
    "random forest, balanced": _of_labelled_rows(_forest, class_weight="balanced"),
    "label spreading": _of_all_rows(_spreading),
    "self-training, logistic regression": _of_all_rows(_self_training, boosting=False),
    BOOSTING: _of_all_rows(_self_training, boosting=True),
    OURS: _ours,
}
# Baselines that our classifier must keep up with for all numbers of labels.
SIMPLE = ("logistic regression", "random forest")
# Takes minutes per fit: it needs 2,000 dense columns.
LEFT_OUT = {("newsgroups", BOOSTING)}


def available() -> tuple[str, ...]:
    """Return the names of the methods that this version of the library can run."""
    import pyro_ssl

    ours = hasattr(pyro_ssl, "SemiSupervisedVAEClassifier")
    return tuple(name for name in METHODS if ours or name != OURS)

"""Methods that scikit-learn expects of a classifier with `predict_proba`."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from pyro_ssl.estimator.labels import known_labels
from pyro_ssl.estimator.parameters import prior_shares
from pyro_ssl.estimator.probabilities import reweighed
from pyro_ssl.estimator.rows import class_costs
from pyro_ssl.estimator.weighing import HeldOut, Weighing

Floats = NDArray[np.floating[Any]]


class PredictionMethods:
    """Methods of a classifier that use its `predict_proba`; see `SemiSupervisedVAEClassifier`."""

    unlabelled: Any
    class_prior: Any
    class_weight: Any
    # Set by `fit`.
    classes_: NDArray[Any]
    class_shares_: Floats
    _weighing: Weighing

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Return p(y|x), `[N, K]`."""
        raise NotImplementedError

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the most probable label of each row, `[N]`; arguments as for `predict_proba`."""
        check_is_fitted(self)
        found: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(1)]
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Return the accuracy on rows with known labels.

        Args:
            X: rows.
            y: labels `[N]`; rows with unknown labels are ignored.
            sample_weight: weights of the rows, `[N]`.

        Raises:
            DataError: if no label is known.
        """
        check_is_fitted(self)
        known, labels = known_labels(y, self.unlabelled)
        guesses = self.predict(X)[known]
        weights = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(accuracy_score(labels, guesses, sample_weight=weights))

    @property
    def decision_(self) -> pd.DataFrame:
        """The candidates, their figures on held-out labelled rows, and their weights."""
        check_is_fitted(self)
        return self._weighing.table

    @property
    def held_out_(self) -> HeldOut | None:
        """Predictions for labelled rows, by models that did not see their labels.

        The probabilities are under the class shares `class_prior`, like those of `predict_proba`,
        which in addition is less certain about novel rows.
        There may be no rows, if no class has two labelled ones. None after `load`, since files do
        not hold the predictions.
        """
        check_is_fitted(self)
        found = self._weighing.held_out()
        if found is None:
            return None
        prior = self._prior()
        even = np.full_like(prior, 1 / len(prior))
        return HeldOut(found.codes, reweighed(found.probabilities, even, prior))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.string = True
        tags.input_tags.three_d_array = True
        return tags

    def _prior(self) -> Floats:
        """Return the class shares of predictions, `[K]`."""
        costs = class_costs(self.classes_, self.class_weight)
        found: Floats = costs * prior_shares(self.class_prior, len(costs), self.class_shares_)
        found /= found.sum()
        return found

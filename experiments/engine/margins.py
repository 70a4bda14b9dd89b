"""A support vector machine that says how sure it is of a class."""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

Array = NDArray[Any]


class MarginSVC(SVC):
    """An SVM that says how sure it is of a class, as self-training needs it.

    The margin of a class is the least of its margins against each other class. Out of pairwise
    votes, which scikit-learn's own decision function counts, nearly every row comes out as sure as
    any other; and its probabilities come from cross-validation, for which ten labelled rows a
    class are too few.
    """

    def predict_proba(self, X: Array) -> Array:  # noqa: N803
        """Return the softmax of the margins, `[N, K]`."""
        pairwise = self.set_params(decision_function_shape="ovo").decision_function(X)
        margins = np.full((len(pairwise), len(self.classes_)), np.inf)
        for pair, (i, j) in enumerate(combinations(range(len(self.classes_)), 2)):
            margins[:, i] = np.minimum(margins[:, i], pairwise[:, pair])
            margins[:, j] = np.minimum(margins[:, j], -pairwise[:, pair])
        weights = np.exp(margins - margins.max(1, keepdims=True))
        return weights / weights.sum(1, keepdims=True)

"""A support vector machine with a confidence for each class."""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

Array = NDArray[Any]


class MarginSVC(SVC):
    """An SVM with a confidence for each class, as self-training needs it.

    The margin of a class is the smallest of its margins against each other class. scikit-learn's
    own decision function counts pairwise votes, which give nearly all rows the same confidence. Its
    probabilities come from cross-validation, for which ten labelled rows per class are too few.
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

"""Cross-validation for data with many unknown labels."""

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator, StratifiedKFold
from sklearn.utils import check_random_state, indexable

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator.labels import known_labels
from pyro_ssl.option_kinds import Count, Range
from pyro_ssl.options import converted


class SemiSupervisedSplit(BaseCrossValidator):
    """Folds of the labelled rows, with all unlabelled rows in every training part.

    A splitter for `cross_val_score`, `GridSearchCV` and the like. Test parts are the folds of
    `StratifiedKFold` on the labelled rows, so that scores use only known labels, and each labelled
    row is tested once per repetition. Training parts hold all other rows.

    Args:
        n_splits: number of folds, at least 2.
        shuffle: shuffle the rows of each class before they are assigned to folds.
        random_state: seed of the shuffling, as scikit-learn takes it.
        n_repeats: number of repetitions, each of which is shuffled anew.
        unlabelled: the marker of unknown labels, see `LabelCodes.fit`.

    Raises:
        ValueError: if an option is invalid.
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = True,
        random_state: Any = None,
        n_repeats: int = 1,
        unlabelled: Any = None,
    ) -> None:
        n_splits = converted("n_splits", n_splits, Annotated[int, Range(2)])
        shuffle = converted("shuffle", shuffle, bool)
        StratifiedKFold(n_splits, shuffle=shuffle, random_state=random_state)
        n_repeats = converted("n_repeats", n_repeats, Count)
        if n_repeats > 1 and not shuffle:
            raise ConfigError(
                f"n_repeats is {n_repeats}, but with shuffle=False all would be the same: expected "
                "n_repeats=1, or shuffle=True"
            )
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state
        self.n_repeats = n_repeats
        self.unlabelled = unlabelled

    def split(
        self,
        X: Any,  # noqa: N803
        y: Any,
        groups: Any = None,
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the row indices of a training part and of a test part, each in order.

        Args:
            X: features; only the number of rows is used.
            y: labels `[N]`.
            groups: ignored.

        Raises:
            ValueError: if no class has as many labelled rows as there are folds, if labels are
                continuous, or if `X` and `y` have different numbers of rows.
        """
        if y is None:
            raise DataError("The 'y' parameter should not be None.")
        X, y = indexable(X, y)  # noqa: N806
        known, labels = known_labels(y, self.unlabelled)
        rows = np.flatnonzero(known)
        rng = check_random_state(self.random_state) if self.shuffle else None
        for _ in range(self.n_repeats):
            folds = StratifiedKFold(self.n_splits, shuffle=self.shuffle, random_state=rng)
            for _, test in folds.split(rows, labels):
                tested = np.zeros(len(known), dtype=bool)
                tested[rows[test]] = True
                yield np.flatnonzero(~tested), np.flatnonzero(tested)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: N803
        """Return the number of pairs that `split` yields; the arguments are ignored."""
        return self.n_splits * self.n_repeats

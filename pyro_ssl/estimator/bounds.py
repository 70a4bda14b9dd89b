"""Bounds on log p(x) of rows, and methods that use them."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.utils.validation import check_is_fitted

from pyro_ssl.errors import DataError
from pyro_ssl.estimator.checked import RowMethods
from pyro_ssl.estimator.class_members import ClassMembers

Floats = NDArray[np.floating[Any]]

# Number of draws for a bound.
SAMPLES = 4
# Number of training rows whose bounds are kept, and of those kept for documents' lengths.
_KEPT, _LENGTHS = 5000, 200


class BoundMethods(RowMethods):
    """Methods of an estimator that use its models' bounds; see `SemiSupervisedVAEClassifier`."""

    # Sorted bounds of training rows, and some of these rows.
    _training_bounds: Floats
    _typical: torch.Tensor

    def novelty(self, X: Any) -> Floats:  # noqa: N803
        """Return the percentage of training rows with a higher bound on log p(x), `[N]`.

        100 means that a row is less likely under the model than any training row.
        """
        check_is_fitted(self)
        bounds = self._bounds_of(self._encoded(self._checked(X)))
        below = np.searchsorted(self._training_bounds, bounds, side="right")
        found: Floats = 100.0 * (1 - below / len(self._training_bounds))
        return found

    def _bounds_of(self, xs: Any) -> Floats:
        """Return bounds of encoded rows by the first model, in nats per known value, `[N]`."""
        bounds = self._members.first().log_marginal(xs, 1, self._seed)[0]
        known = (~xs.isnan()).flatten(1).sum(1).clamp(min=1).cpu().numpy()
        found: Floats = bounds / known
        return found

    def _fit_bounds(self, xs: Any) -> None:
        """Keep the bounds of training rows, and some rows for their lengths."""
        rows = np.random.default_rng(self._seed).permutation(len(xs))[:_KEPT]
        chosen = xs[torch.from_numpy(np.sort(rows))].double()
        self._training_bounds = np.sort(self._bounds_of(chosen))
        self._typical = torch.nan_to_num(chosen[:_LENGTHS]).cpu()


class ClassBoundMethods(BoundMethods):
    """Methods of a classifier that use its models' bounds; see `SemiSupervisedVAEClassifier`."""

    # Set by `fit`.
    classes_: NDArray[Any]
    class_shares_: Floats
    _members: ClassMembers

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Return p(y|x), `[N, K]`."""
        raise NotImplementedError

    def score_samples(self, X: Any, y: Any = None) -> Floats:  # noqa: N803
        """Return a lower bound on log p(x) of each row, `[N]`, in nats.

        This is the importance-weighted bound with 4 samples of the models' mixture, summed over
        labels; a density in the units of the raw columns. Missing entries are left out. The
        expectation over the noise is a bound; the noise is the same in every call.

        Args:
            X: rows.
            y: labels `[N]`; if given, the bound is on log p(x, y).
        """
        check_is_fitted(self)
        xs = self._encoded(self._checked(X))
        joint = self._members.log_joint(xs, SAMPLES, self._seed)
        mixed = logsumexp(joint, 0) - np.log(len(joint))
        jacobian = self.inputs_.log_jacobian(xs)
        if y is None:
            found: Floats = logsumexp(mixed, 1) + jacobian
            return found
        labelled: Floats = mixed[np.arange(len(xs)), self._codes_of(y, len(xs))] + jacobian
        return labelled

    def _codes_of(self, y: Any, rows: int) -> NDArray[np.int64]:
        labels = np.asarray(y)
        if labels.shape != (rows,):
            raise DataError(f"y has shape {labels.shape}, expected ({rows},), a label for each row")
        places = {label: code for code, label in enumerate(self.classes_.tolist())}
        try:
            return np.array([places[label] for label in labels.tolist()], dtype=np.int64)
        except KeyError as error:
            raise DataError(
                f"y has the label {error.args[0]!r}, expected one of {self.classes_.tolist()}"
            ) from error

    def _less_certain(self, probabilities: Floats, prior: Floats, xs: Any) -> Floats:
        """Mix the probabilities of rows unlike the training rows with the class shares.

        The weight of the class shares grows with the distance of a row's bound below the lowest
        bounds of training, in units of their spread. Under equal class shares the most probable
        class stays the same.
        """
        low, middle = np.quantile(self._training_bounds, [0.005, 0.5])
        unit = max(middle - low, 1e-6)
        excess = np.maximum(0.0, low - self._bounds_of(xs)) / unit
        share = (excess / (1 + excess))[:, None]
        found: Floats = (1 - share) * probabilities + share * prior
        return found

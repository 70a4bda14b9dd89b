"""Bounds on log p(x) of rows, and what follows from them."""

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

# Draws for a bound.
SAMPLES = 4
# Training rows whose bounds are kept, and those that lend documents their lengths.
_KEPT, _LENGTHS = 5000, 200


class BoundMethods(RowMethods):
    """Methods of an estimator by its models' bounds; see `SemiSupervisedVAEClassifier`."""

    # Bounds of training rows, sorted, and some of these rows.
    _training_bounds: Floats
    _typical: torch.Tensor

    def novelty(self, X: Any) -> Floats:  # noqa: N803
        """Return the percentage of training rows with a higher bound on log p(x), `[N]`.

        100 means that a row is less likely under the model than any row of training.
        """
        check_is_fitted(self)
        bounds = self._bounds_of(self._encoded(self._checked(X)))
        below = np.searchsorted(self._training_bounds, bounds, side="right")
        found: Floats = 100.0 * (1 - below / len(self._training_bounds))
        return found

    def _bounds_of(self, xs: Any) -> Floats:
        """Return bounds of encoded rows by the first model, a nat per known value of a row."""
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
    """Methods of a classifier by its models' bounds; see `SemiSupervisedVAEClassifier`."""

    # What fit sets.
    classes_: NDArray[Any]
    class_shares_: Floats
    _members: ClassMembers

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Return p(y|x), `[N, K]`."""
        raise NotImplementedError

    def score_samples(self, X: Any, y: Any = None) -> Floats:  # noqa: N803
        """Return a lower bound on log p(x) of each row, `[N]`, in nats.

        It is the importance-weighted bound with 4 samples of the models' mixture, with labels
        summed; a density in the units of the raw columns. Entries that are missing are left out.
        Its expectation over the noise is a bound; the noise is the same in every call.

        Args:
            X: rows.
            y: labels `[N]`: then the bound is on log p(x, y).
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
        """Mix probabilities of rows unlike those of training with the class shares.

        The share of these grows with the distance of the bound below the lowest ones of training,
        in units of their spread; the likeliest class stays the same under equal shares.
        """
        low, middle = np.quantile(self._training_bounds, [0.005, 0.5])
        unit = max(middle - low, 1e-6)
        excess = np.maximum(0.0, low - self._bounds_of(xs)) / unit
        share = (excess / (1 + excess))[:, None]
        found: Floats = (1 - share) * probabilities + share * prior
        return found

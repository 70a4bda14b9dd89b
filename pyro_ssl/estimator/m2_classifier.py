"""A scikit-learn classifier for your own arrays."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from pyro_ssl.data import SSLData, split_labels
from pyro_ssl.errors import DataError
from pyro_ssl.infer import FitConfig, fit
from pyro_ssl.metrics import predict_in_chunks
from pyro_ssl.models import M2


class M2Classifier(ClassifierMixin, BaseEstimator):
    """M2 as a semi-supervised classifier, with scikit-learn's interface.

    As in `sklearn.semi_supervised`, a label of -1 means unknown. The constructor stores the
    parameters, and `fit` validates them.

    Args:
        latent_dim: dimensions of the latent.
        hidden_dims: widths of the hidden layers.
        batch_norm: batch norm in the classifier.
        input_dropout: dropout probability at the classifier's input.
        alpha: weight of the mean classification term beside the bound per example, in nats.
        epochs: passes over the rows, known or unknown, that need more steps.
        batch_size: unlabelled rows a step, and labelled ones, each at most as many as there are.
        learning_rate: Adam's step size at the start; it falls to 0 along a half cosine.
        validation: labelled rows set aside to choose the epoch on; 0 keeps the last epoch.
        binarise: draw features from a Bernoulli each time a row is visited.
        device: where to train, as torch names it.
        random_state: seed of weights, validation rows and noise.

    Attributes:
        classes_: known labels, sorted, `[K]`.
        model_: the trained `M2`.
        history_: the course of the training, a `pyro_ssl.infer.History`.
        n_features_in_: number of features.
    """

    def __init__(
        self,
        latent_dim: int = 50,
        hidden_dims: tuple[int, ...] = (500, 500),
        batch_norm: bool = True,
        input_dropout: float = 0.5,
        alpha: float = 15.0,
        epochs: int = 60,
        batch_size: int = 200,
        learning_rate: float = 3e-3,
        validation: int = 0,
        binarise: bool = True,
        device: str = "cpu",
        random_state: int = 0,
    ) -> None:
        self.latent_dim = latent_dim
        self.hidden_dims = hidden_dims
        self.batch_norm = batch_norm
        self.input_dropout = input_dropout
        self.alpha = alpha
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation = validation
        self.binarise = binarise
        self.device = device
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> "M2Classifier":  # noqa: N803
        """Train on features `X` `[N, F]` in [0, 1] and labels `y` `[N]`, -1 where unknown.

        Raises:
            DataError: if features or labels have a wrong shape or value.
            ConfigError: if a parameter cannot work.
        """
        features, labels = validate_data(self, X, y)
        known = labels != -1
        if not known.any():
            raise DataError("y is -1 throughout, expected some known labels")
        self.classes_, codes = np.unique(labels[known], return_inverse=True)
        ys = np.full(len(labels), -1, dtype=np.int64)
        ys[known] = codes
        data = self._split(torch.from_numpy(features).float(), ys).to(self.device)
        if not data.num_labelled:
            raise DataError(
                f"validation={self.validation} leaves no labelled rows to train on: use fewer"
            )
        with torch.random.fork_rng():
            torch.manual_seed(self.random_state)
            self.model_ = M2(
                (features.shape[1],),
                len(self.classes_),
                latent_dim=self.latent_dim,
                hidden_dims=self.hidden_dims,
                batch_norm=self.batch_norm,
                input_dropout=self.input_dropout,
                alpha=self.alpha,
            ).to(self.device)
        config = FitConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            learning_rate_schedule="cosine",
            binarise=self.binarise,
            seed=self.random_state,
        )
        self.history_ = fit(self.model_, data, config)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.floating[Any]]:  # noqa: N803
        """Return q(y|x), `[N, K]`, columns in the order of `classes_`."""
        check_is_fitted(self)
        features = torch.from_numpy(validate_data(self, X, reset=False)).float()
        return predict_in_chunks(self.model_, features.to(self.device)).cpu().numpy()

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Return the likeliest label of each row, `[N]`."""
        return self.classes_[self.predict_proba(X).argmax(-1)]

    def _split(self, xs: torch.Tensor, ys: NDArray[np.int64]) -> SSLData:
        """Set validation rows aside from the labelled ones."""
        known = np.flatnonzero(ys >= 0)
        split = split_labels(
            ys[known], len(self.classes_), None, self.validation, self.random_state
        )
        validation = known[split.validation]
        kept = np.setdiff1d(np.arange(len(ys)), validation)
        data = SSLData.from_arrays(xs[kept], torch.from_numpy(ys[kept]), len(self.classes_))
        return data.with_validation(xs[validation], torch.from_numpy(ys[validation]))

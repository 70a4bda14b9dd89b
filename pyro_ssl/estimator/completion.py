"""Latents of rows, and imputation of missing entries, by the models of an estimator."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from pyro_ssl.estimator.bounds import BoundMethods
from pyro_ssl.estimator.programs import complete
from pyro_ssl.likelihoods import Categorical, Ordinal

Floats = NDArray[np.floating[Any]]

# Number of draws of latents for an imputed entry.
_DRAWS = 40


class CompletionMethods(BoundMethods, TransformerMixin):
    """Methods of an estimator that use its models' p(x, y, z), for labels of any kind."""

    def transform(self, X: Any) -> Floats:  # noqa: N803
        """Return the latent means of rows, `[N, D]`, under `model_` and its predicted labels."""
        check_is_fitted(self)
        xs = self._encoded(self._checked(X))
        found: Floats = self.model_.encode(xs)[0].cpu().numpy()
        return found

    def impute(self, X: Any, random_state: Any = 0) -> Any:  # noqa: N803
        """Return rows with missing entries filled in; known ones stay as they are.

        Labels are drawn from the predictions, and latents from q(z|x,y), for all models. A number
        is the mean of p(x|y,z) over these draws; a category is the one drawn most often.

        Args:
            X: rows.
            random_state: seed, as scikit-learn takes it.
        """
        check_is_fitted(self)
        X = self._checked(X)  # noqa: N806
        xs = self._encoded(X)
        missing = xs.isnan()
        if not bool(missing.any()):
            return self.inputs_.decode(xs)
        rng = check_random_state(random_state)
        draw = self._labels_of(X, rng)
        means, drawn = [], []
        with torch.random.fork_rng(devices=[xs.device] if xs.is_cuda else []):
            torch.manual_seed(int(rng.randint(2**31 - 1)))
            for number in range(_DRAWS):
                model = self.models_[number % len(self.models_)]
                labels = draw()
                means.append(complete(model, xs, labels, True, False))
                drawn.append(complete(model, xs, labels, True, True))
        filled = torch.stack(means).mean(0)
        modes = torch.stack(drawn).mode(0).values
        families = getattr(self.inputs_.likelihood, "columns", ())
        coded = [isinstance(family, Categorical | Ordinal) for family in families]
        if coded:
            filled = torch.where(torch.tensor(coded, device=xs.device), modes.to(filled), filled)
        return self.inputs_.decode(torch.where(missing, filled, xs))

    def _labels_of(self, X: Any, rng: np.random.RandomState) -> Callable[[], torch.Tensor]:  # noqa: N803
        """Return a function that draws labels of rows, `[N]`, from predictions, on the device."""
        raise NotImplementedError

    @property
    def transform_dim_(self) -> int:
        """Number of latent dimensions."""
        return int(self.model_.options["latent_dim"])

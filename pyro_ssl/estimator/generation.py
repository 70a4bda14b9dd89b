"""Methods of a fitted classifier that use its generative model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted

from pyro_ssl.errors import DataError
from pyro_ssl.estimator.bounds import ClassBoundMethods
from pyro_ssl.estimator.completion import CompletionMethods
from pyro_ssl.estimator.programs import complete, decoded, generate


class GenerativeMethods(CompletionMethods, ClassBoundMethods):
    """Methods of a classifier by its models' p(x, y, z); see `SemiSupervisedVAEClassifier`."""

    def inverse_transform(self, Z: Any, y: Any = None, like: Any = None) -> Any:  # noqa: N803
        """Return the means of p(x|y,z) for latents `[N, D]`, as rows like those of training.

        Args:
            Z: latents.
            y: labels `[N]`; None for the most probable class under p(y).
            like: one row, or rows `[N, C]`, whose covariates are used (batch, size of a cell), for
                a model with covariates; otherwise None.

        Raises:
            DataError: if latents have another dimension, a label is unknown, or `like` is missing.
        """
        check_is_fitted(self)
        latents = check_array(Z, dtype=np.float64)
        if latents.shape[1] != self.transform_dim_:
            raise DataError(
                f"Z has {latents.shape[1]} features, expected {self.transform_dim_}, as transform "
                "returns"
            )
        if y is None:
            ys = np.full(len(latents), int(self._members.label_prior().argmax()))
        else:
            ys = self._codes_of(y, len(latents))
        parameter = next(self.model_.parameters())
        zs = torch.from_numpy(latents).to(parameter)
        labels = torch.from_numpy(ys).to(parameter.device)
        values = decoded(self.model_, zs, labels, self._covariates_like(like, len(zs)))
        return self.inputs_.decode(values)

    def _covariates_like(self, like: Any, rows: int) -> torch.Tensor | None:
        """Return the covariates of the rows `like`, `[N, C]`; None if the model has none."""
        number = getattr(self.inputs_.likelihood, "num_covariates", 0)
        if not number:
            return None
        if like is None:
            raise DataError(
                "like is None, but the model conditions on covariates: give rows like those of "
                "training whose covariates are to be taken, one or as many as there are latents"
            )
        found = self._encoded(self._checked(like))[:, -number:]
        if len(found) not in (1, rows):
            raise DataError(f"like has {len(found)} rows, expected 1, or {rows} as Z has")
        return found.expand(rows, -1)

    def sample(self, y: Any = None, n: int = 1, random_state: Any = None) -> Any:
        """Draw rows from p(x|y).

        Args:
            y: one label for all `n` rows, or labels `[n]`, one for each row; None to draw them from
                `class_shares_`.
            n: number of rows.
            random_state: seed, as scikit-learn takes it.

        Returns:
            Rows like those of training, none with missing entries.
        """
        check_is_fitted(self)
        rng = check_random_state(random_state)
        if y is None:
            codes = rng.choice(len(self.classes_), n, p=self.class_shares_)
        elif np.ndim(y) == 0:
            codes = np.repeat(self._codes_of([y], 1), n)
        else:
            codes = self._codes_of(y, len(y))
        which = rng.randint(len(self.models_), size=len(codes))
        device = next(self.model_.parameters()).device
        places = torch.from_numpy(rng.randint(len(self._typical), size=len(codes)))
        values = self._typical[places].to(device)
        labels = torch.from_numpy(codes).to(device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(rng.randint(2**31 - 1)))
            for n_model, model in enumerate(self.models_):
                rows = torch.from_numpy(np.flatnonzero(which == n_model)).to(device)
                if len(rows):
                    values[rows] = generate(model, values[rows], labels[rows]).to(values)
        return self.inputs_.decode(values)

    def reconstruct(self, X: Any) -> Any:  # noqa: N803
        """Return the means of p(x|y,z) at each row's latent mean and most probable label."""
        check_is_fitted(self)
        X = self._checked(X)  # noqa: N806
        xs = self._encoded(X)
        labels = torch.from_numpy(self.predict_proba(X).argmax(1)).to(xs.device)
        return self.inputs_.decode(complete(self.model_, xs, labels, False, False))

    def _labels_of(self, X: Any, rng: np.random.RandomState) -> Callable[[], torch.Tensor]:  # noqa: N803
        shares = self.predict_proba(X).cumsum(1)
        device = next(self.model_.parameters()).device

        def draw() -> torch.Tensor:
            places = (rng.rand(len(shares), 1) > shares).sum(1).clip(max=shares.shape[1] - 1)
            return torch.from_numpy(places).to(device)

        return draw

    @property
    def transform_dim_(self) -> int:
        """Number of latent dimensions."""
        options = self.model_.options
        if "style_dim" in options:
            return int(options["style_dim"]) + len(self.classes_)
        return int(options["latent_dim"])

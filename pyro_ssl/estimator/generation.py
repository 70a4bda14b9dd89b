"""What a fitted classifier's generative model can do beside classifying."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.base import TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from pyro_ssl.errors import DataError
from pyro_ssl.estimator.images import as_numpy, is_array
from pyro_ssl.estimator.inputs import Inputs
from pyro_ssl.estimator.members import Members
from pyro_ssl.estimator.programs import complete, generate
from pyro_ssl.likelihoods import Categorical, Ordinal

Floats = NDArray[np.floating[Any]]

# Draws of latents behind an imputed entry.
_DRAWS = 40
# Draws for a bound.
_SAMPLES = 4


class GenerativeMethods(TransformerMixin):
    """Methods of a classifier by p(x, y, z) of its models; see `SemiSupervisedVAEClassifier`."""

    # What fit sets.
    classes_: NDArray[Any]
    class_shares_: Floats
    inputs_: Inputs
    models_: list[Any]
    model_: Any
    _members: Members
    _seed: int

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Return p(y|x), `[N, K]`."""
        raise NotImplementedError

    def transform(self, X: Any) -> Floats:  # noqa: N803
        """Return the latent means of rows, `[N, D]`, by `model_` and its likeliest labels."""
        check_is_fitted(self)
        xs = self._encoded(self._checked(X))
        found: Floats = self.model_.encode(xs)[0].cpu().numpy()
        return found

    def inverse_transform(self, Z: Any, y: Any = None) -> Any:  # noqa: N803
        """Return the means of p(x|y,z) of latents `[N, D]`, as rows like those of training.

        Args:
            Z: latents.
            y: labels `[N]`; None for the likeliest classes under p(y).

        Raises:
            DataError: if latents have another dimension, or a label is no class.
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
        with torch.no_grad():
            try:
                values = self.model_.decode(zs, labels)
            except TypeError:
                # CCVAE's latents hold the label.
                values = self.model_.decode(zs)
        return self.inputs_.decode(values)

    def sample(self, y: Any = None, n: int = 1, random_state: Any = None) -> Any:
        """Draw rows from p(x|y).

        Args:
            y: a label, of which `n` rows are drawn, or labels `[n]`, one a row; None to draw `n`
                labels from `class_shares_`.
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
        """Return the means of p(x|y,z) at each row's latent mean and likeliest label."""
        check_is_fitted(self)
        X = self._checked(X)  # noqa: N806
        xs = self._encoded(X)
        labels = torch.from_numpy(self.predict_proba(X).argmax(1)).to(xs.device)
        return self.inputs_.decode(complete(self.model_, xs, labels, False, False))

    def impute(self, X: Any, random_state: Any = 0) -> Any:  # noqa: N803
        """Return rows with missing entries filled in; known ones stay as they are.

        Labels are drawn from `predict_proba`, latents from q(z|x,y), of all models. A number is
        the mean of p(x|y,z) over these draws, a category the most frequent one drawn from it.

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
        shares = self.predict_proba(X).cumsum(1)
        means, drawn = [], []
        with torch.random.fork_rng(devices=[xs.device] if xs.is_cuda else []):
            torch.manual_seed(int(rng.randint(2**31 - 1)))
            for number in range(_DRAWS):
                model = self.models_[number % len(self.models_)]
                places = (rng.rand(len(xs), 1) > shares).sum(1).clip(max=shares.shape[1] - 1)
                labels = torch.from_numpy(places).to(xs.device)
                means.append(complete(model, xs, labels, True, False))
                drawn.append(complete(model, xs, labels, True, True))
        filled = torch.stack(means).mean(0)
        modes = torch.stack(drawn).mode(0).values
        families = getattr(self.inputs_.likelihood, "columns", ())
        coded = [isinstance(family, Categorical | Ordinal) for family in families]
        if coded:
            filled = torch.where(torch.tensor(coded, device=xs.device), modes.to(filled), filled)
        return self.inputs_.decode(torch.where(missing, filled, xs))

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
        joint = self._members.log_joint(xs, _SAMPLES, self._seed)
        mixed = logsumexp(joint, 0) - np.log(len(joint))
        jacobian = self.inputs_.log_jacobian(xs)
        if y is None:
            found: Floats = logsumexp(mixed, 1) + jacobian
            return found
        labelled: Floats = mixed[np.arange(len(xs)), self._codes_of(y, len(xs))] + jacobian
        return labelled

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
        joint = self._members.first().log_joint(xs, 1, self._seed)[0]
        known = (~xs.isnan()).flatten(1).sum(1).clamp(min=1).cpu().numpy()
        found: Floats = logsumexp(joint, 1) / known
        return found

    def _fit_bounds(self, xs: Any) -> None:
        """Keep the bounds of training rows, and some rows for their lengths."""
        rows = np.random.default_rng(self._seed).permutation(len(xs))[:5000]
        chosen = xs[torch.from_numpy(np.sort(rows))].double()
        self._training_bounds = np.sort(self._bounds_of(chosen))
        self._typical = torch.nan_to_num(chosen[:200]).cpu()

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

    def _encoded(self, X: Any) -> torch.Tensor:  # noqa: N803
        parameter = next(self.model_.parameters())
        return self.inputs_.encode(X).to(parameter.device, parameter.dtype)

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

    @property
    def transform_dim_(self) -> int:
        """Number of latent dimensions."""
        options = self.model_.options
        if "style_dim" in options:
            return int(options["style_dim"]) + len(self.classes_)
        return int(options["latent_dim"])

    def _checked(self, X: Any, reset: bool = False) -> Any:  # noqa: N803
        """Check rows as scikit-learn does; data frames and sparse matrices pass as they are.

        Of images and signals, `n_features_in_` is the number of values of a row; the values are
        checked where they are encoded.
        """
        if is_array(X):
            X = as_numpy(X)  # noqa: N806
            flat = X.reshape(len(X), int(np.prod(X.shape[1:])))
            validate_data(self, flat, reset=reset, skip_check_array=True)
            return X
        if hasattr(X, "columns") or type(X).__module__.startswith("polars"):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        return validate_data(
            self,
            X,
            reset=reset,
            dtype=None,
            accept_sparse="csr",
            ensure_all_finite="allow-nan" if not _holds_objects(X) else False,
        )


def _holds_objects(X: Any) -> bool:  # noqa: N803
    return not hasattr(X, "tocsr") and np.asarray(X).dtype.kind in "OUS"

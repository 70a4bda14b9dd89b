"""The former classifier by M2, now an alias."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from pyro_ssl.estimator.classifier import SemiSupervisedVAEClassifier

# Parameters without effect, and what to do instead.
_FORMER = {
    "epochs": "give max_steps and min_steps, numbers of steps",
    "validation": "leave it out: each member is judged by labelled rows that it does not see",
    "binarise": "leave it out: columns of two values are modelled as such, others as numbers",
    "batch_norm": "leave it out: members are trained at once, without batch norm",
}
_OPTIONS = ("latent_dim", "hidden_dims", "input_dropout", "alpha")


class M2Classifier(SemiSupervisedVAEClassifier):
    """An alias of `SemiSupervisedVAEClassifier(model="m2")` that takes former parameters too.

    New code should use that class, with `model="auto"`, which also weighs classifiers of the
    labelled rows against the model. Features need not be in [0, 1] any more.

    Args:
        latent_dim: an option of `M2`, like the following ones; `model_options` can hold them too.
            None for a value that suits the data.
        hidden_dims: widths of the hidden layers.
        batch_norm: has no effect any more.
        input_dropout: dropout probability at the classifier's input.
        alpha: weight of the mean classification term beside the bound per example, in nats.
        epochs: has no effect any more; use `max_steps` and `min_steps`.
        batch_size: number of labelled rows, and of unlabelled rows, per step.
        learning_rate: the initial step size.
        validation: has no effect any more.
        binarise: has no effect any more.
        device: where to train, as torch names it.
        random_state: seed, as scikit-learn takes it.
        columns: see `SemiSupervisedVAEClassifier`.
        unlabelled: see `SemiSupervisedVAEClassifier`.
        class_prior: see `SemiSupervisedVAEClassifier`.
        class_weight: see `SemiSupervisedVAEClassifier`.
        members: see `SemiSupervisedVAEClassifier`.
        max_steps: see `SemiSupervisedVAEClassifier`.
        min_steps: see `SemiSupervisedVAEClassifier`.
        n_jobs: see `SemiSupervisedVAEClassifier`.
        warm_start: see `SemiSupervisedVAEClassifier`.
        verbose: see `SemiSupervisedVAEClassifier`.
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        hidden_dims: tuple[int, ...] | None = None,
        batch_norm: bool | None = None,
        input_dropout: float | None = None,
        alpha: float | None = None,
        epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        validation: int | None = None,
        binarise: bool | None = None,
        device: str = "cpu",
        random_state: Any = 0,
        *,
        columns: Mapping[Any, str] | Sequence[str | None] | None = None,
        unlabelled: Any = None,
        class_prior: Any = "uniform",
        class_weight: Any = None,
        members: int = 5,
        max_steps: int = 1500,
        min_steps: int = 400,
        n_jobs: int | None = None,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            "m2",
            columns=columns,
            unlabelled=unlabelled,
            class_prior=class_prior,
            class_weight=class_weight,
            members=members,
            max_steps=max_steps,
            min_steps=min_steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            device=device,
            n_jobs=n_jobs,
            random_state=random_state,
            warm_start=warm_start,
            verbose=verbose,
        )
        self.latent_dim = latent_dim
        self.hidden_dims = hidden_dims
        self.batch_norm = batch_norm
        self.input_dropout = input_dropout
        self.alpha = alpha
        self.epochs = epochs
        self.validation = validation
        self.binarise = binarise

    @property
    def model_options(self) -> dict[str, Any]:
        """Options of `M2` among the parameters."""
        each = {name: getattr(self, name) for name in _OPTIONS}
        return {name: value for name, value in each.items() if value is not None}

    @model_options.setter
    def model_options(self, value: Any) -> None:
        """Ignore the value, which the constructor of the base class sets."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "M2Classifier":  # noqa: N803
        """Learn from rows `X` and labels `y` `[N]`, most of which may be unknown."""
        self._tell_former()
        super().fit(X, y, sample_weight)
        return self

    def partial_fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
    ) -> "M2Classifier":
        """Learn from one part of a stream; see `SemiSupervisedVAEClassifier.partial_fit`."""
        self._tell_former()
        super().partial_fit(X, y, classes, sample_weight)
        return self

    def _tell_former(self) -> None:
        """Warn once about all given parameters that have no effect any more."""
        given = {name: getattr(self, name) for name in _FORMER}
        told = [f"{k}={v!r} ({_FORMER[k]})" for k, v in given.items() if v is not None]
        if told:
            warnings.warn(
                "M2Classifier is now SemiSupervisedVAEClassifier(model='m2'), in which these have "
                f"no effect: {'; '.join(told)}",
                FutureWarning,
                stacklevel=3,
            )

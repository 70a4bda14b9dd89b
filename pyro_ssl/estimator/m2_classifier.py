"""The former classifier by M2, now an alias."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from pyro_ssl.estimator.classifier import SemiSupervisedVAEClassifier

# Parameters that have no effect any more, and what to do in their place.
_FORMER = {
    "epochs": "give max_steps and min_steps, numbers of steps",
    "validation": "leave it out: each member is judged by labelled rows that it does not see",
    "binarise": "leave it out: columns of two values are modelled as such, others as numbers",
    "batch_norm": "leave it out: members are trained at once, without batch norm",
}
_OPTIONS = ("latent_dim", "hidden_dims", "input_dropout", "alpha")


class M2Classifier(SemiSupervisedVAEClassifier):
    """An alias of `SemiSupervisedVAEClassifier(model="m2")` that takes former parameters too.

    New code should use that class, and `model="auto"`, which also weighs classifiers of the
    labelled rows alone against the model. Features need not be in [0, 1] any more.

    Args:
        latent_dim: option of `M2`, as are the next, which `model_options` would hold; None for
            what suits the data.
        hidden_dims: widths of the hidden layers.
        batch_norm: has no effect any more.
        input_dropout: dropout probability at the classifier's input.
        alpha: weight of the mean classification term beside the bound per example, in nats.
        epochs: has no effect any more; `max_steps` and `min_steps` have.
        batch_size: labelled, and unlabelled, rows a step.
        learning_rate: the step size at the start.
        validation: has no effect any more.
        binarise: has no effect any more.
        device: where to train, as torch names it.
        random_state: seed, as scikit-learn takes it.
        columns: this and all others: see `SemiSupervisedVAEClassifier`.
        unlabelled: see there.
        class_prior: see there.
        class_weight: see there.
        members: see there.
        max_steps: see there.
        min_steps: see there.
        n_jobs: see there.
        warm_start: see there.
        verbose: see there.
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
        """Ignore what the constructor of the class it is based on sets."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "M2Classifier":  # noqa: N803
        """Learn from rows `X` and labels `y` `[N]`, of which most may be unknown."""
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
        """Warn once of all parameters given that have no effect any more."""
        given = {name: getattr(self, name) for name in _FORMER}
        told = [f"{k}={v!r} ({_FORMER[k]})" for k, v in given.items() if v is not None]
        if told:
            warnings.warn(
                "M2Classifier is now SemiSupervisedVAEClassifier(model='m2'), in which these have "
                f"no effect: {'; '.join(told)}",
                FutureWarning,
                stacklevel=3,
            )

"""Parameters of a classifier: checks, and values derived from them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.annealing import Anneal
from pyro_ssl.infer.ensemble import EnsembleConfig
from pyro_ssl.option_kinds import Count, Positive, Range, Size
from pyro_ssl.options import converted

Floats = NDArray[np.floating[Any]]

# Valid parameters of any estimator. scikit-learn requires them to be unchanged until `fit`.
_Options = Mapping[str, Any] | None
_KINDS: dict[str, Any] = {
    "members": Size,
    "max_steps": Count,
    "min_steps": Annotated[int, Range(0)],
    "batch_size": Size,
    "max_rows": Count | None,
    "learning_rate": Positive,
    "n_jobs": Annotated[int, Range(1)] | Annotated[int, Range(most=-1)] | None,
    "warm_start": bool,
    "verbose": bool | Annotated[int, Range(0)],
    "checkpoint": str | Path | None,
    "model_options": _Options,
    "classifiers": _Options,
    "regressors": _Options,
}


def check_parameters(estimator: Any) -> None:
    """Check an estimator's parameters, as far as possible without data.

    Raises:
        ConfigError: a ValueError that names the parameter, its value and what was expected.
    """
    for name, kind in _KINDS.items():
        if hasattr(estimator, name):
            converted(name, getattr(estimator, name), kind)


def training_options(
    estimator: Any,
    seed: int,
    anneal: Mapping[str, tuple[float, float, float]],
    share: float = 1.0,
) -> EnsembleConfig:
    """Return how a classifier's models are trained.

    Args:
        estimator: the classifier.
        seed: seed of minibatches and noise.
        anneal: the model's recommendation: first value, last value, share of `min_steps`.
        share: number of steps, as a share of the classifier's.
    """
    return EnsembleConfig(
        max_steps=max(1, round(share * int(estimator.max_steps))),
        min_steps=round(share * int(estimator.min_steps)),
        batch_size=int(estimator.batch_size),
        labelled_batch_size=int(estimator.batch_size),
        learning_rate=float(estimator.learning_rate),
        anneal={
            key: Anneal(start, end, max(1, round(part * int(estimator.min_steps))))
            for key, (start, end, part) in anneal.items()
        },
        seed=seed,
    )


def prior_shares(class_prior: Any, classes: int, estimated: Floats | None) -> Floats:
    """Return the class shares of predictions, `[K]`.

    Args:
        class_prior: "uniform", "estimated", or shares.
        classes: number of classes K.
        estimated: estimated shares, `[K]`; None if there are none yet, only for the check.

    Raises:
        ConfigError: if the prior is none of these.
    """
    uniform = np.full(classes, 1 / classes)
    if isinstance(class_prior, str):
        if class_prior == "uniform":
            return uniform
        if class_prior == "estimated":
            return uniform if estimated is None else estimated
    else:
        try:
            shares = np.asarray(class_prior, dtype=np.float64)
        except (TypeError, ValueError):
            shares = np.zeros(0)
        if shares.shape == (classes,) and (shares > 0).all() and np.isfinite(shares).all():
            return shares / shares.sum()
    raise ConfigError(
        f"class_prior is {class_prior!r}, expected 'uniform', 'estimated', or {classes} "
        "positive shares, in the order of classes_"
    )


@contextmanager
def progress_bar(steps: int, verbose: int) -> Iterator[Callable[[int], None] | None]:
    """Yield a function that shows the number of steps made on standard error, or None.

    Args:
        steps: largest number of steps.
        verbose: 0 to show nothing and yield None.
    """
    if not verbose:
        yield None
        return
    with tqdm(total=steps, desc="training", unit="step") as bar:

        def show(made: int) -> None:
            bar.update(made - bar.n)

        yield show
        # Training may end before the largest number of steps.
        bar.total = bar.n
        bar.refresh()

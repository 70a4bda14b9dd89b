"""Parameters of a classifier: what they must be, and what follows from them."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.annealing import Anneal
from pyro_ssl.infer.ensemble import EnsembleConfig

Floats = NDArray[np.floating[Any]]

# Whole numbers, with the least that they may be.
_LEAST = {"members": 1, "max_steps": 1, "min_steps": 0, "batch_size": 1, "verbose": 0}


def check_parameters(estimator: Any) -> None:
    """Check an estimator's parameters, as far as that needs no data.

    Raises:
        ConfigError: a ValueError that names the parameter, its value and what was expected.
    """
    for name, least in _LEAST.items():
        value = getattr(estimator, name)
        whole = isinstance(value, Integral) and (name == "verbose" or not isinstance(value, bool))
        if not whole or value < least:
            raise ConfigError(f"{name} is {value!r}, expected a whole number, at least {least}")
    most = getattr(estimator, "max_rows", None)
    if most is not None and (not isinstance(most, Integral) or isinstance(most, bool) or most < 1):
        raise ConfigError(f"max_rows is {most!r}, expected None, or a whole number, at least 1")
    rate = estimator.learning_rate
    if not isinstance(rate, Real) or isinstance(rate, bool) or not 0 < float(rate) < math.inf:
        raise ConfigError(f"learning_rate is {rate!r}, expected a positive number")
    jobs = estimator.n_jobs
    if jobs is not None and (not isinstance(jobs, Integral) or jobs == 0):
        raise ConfigError(f"n_jobs is {jobs!r}, expected None, or a whole number other than 0")
    for name in ("model_options", "classifiers", "regressors"):
        value = getattr(estimator, name, None)
        if value is not None and not isinstance(value, Mapping):
            raise ConfigError(f"{name} is {value!r}, expected None or a dict by name")


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
        anneal: what the model recommends: first value, last value, share of `min_steps`.
        share: steps, as a share of the classifier's.
    """
    return EnsembleConfig(
        max_steps=max(1, round(share * estimator.max_steps)),
        min_steps=round(share * estimator.min_steps),
        batch_size=int(estimator.batch_size),
        labelled_batch_size=int(estimator.batch_size),
        learning_rate=float(estimator.learning_rate),
        anneal={
            key: Anneal(start, end, max(1, round(part * estimator.min_steps)))
            for key, (start, end, part) in anneal.items()
        },
        seed=seed,
    )


def prior_shares(class_prior: Any, classes: int, estimated: Floats | None) -> Floats:
    """Return the class shares of predictions, `[K]`.

    Args:
        class_prior: "uniform", "estimated", or shares.
        classes: number of classes K.
        estimated: estimated shares, `[K]`; None if there are none yet, for a check alone.

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
    """Give what shows the number of steps made, on the standard error stream.

    Args:
        steps: most steps.
        verbose: 0 to show nothing; nothing is then given.
    """
    if not verbose:
        yield None
        return
    with tqdm(total=steps, desc="training", unit="step") as bar:

        def show(made: int) -> None:
            bar.update(made - bar.n)

        yield show
        # It may end before the most steps.
        bar.total = bar.n
        bar.refresh()

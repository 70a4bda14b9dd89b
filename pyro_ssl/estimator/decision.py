"""The decision of a classifier: each candidate is calibrated, and all are mixed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score

from pyro_ssl.estimator.probabilities import (
    class_balanced,
    floored,
    log_loss,
    mixture_weights,
    normalised,
    reweighed,
    shares_of,
    temperature,
)

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Calibration:
    """The map from a candidate's probabilities to those for equally frequent classes.

    Attributes:
        shares: the class shares implied in the candidate's probabilities, `[K]`.
        temperature: divisor of the logarithms.
    """

    shares: Floats
    temperature: float = 1.0

    def __call__(self, probabilities: Floats) -> Floats:
        """Return calibrated probabilities `[..., K]` for equally frequent classes."""
        uniform = np.full_like(self.shares, 1 / len(self.shares))
        even = reweighed(floored(probabilities), self.shares, uniform)
        return normalised(np.log(even) / self.temperature)


@dataclass(frozen=True)
class Decision:
    """The calibrated and weighed candidates.

    Attributes:
        names: names of the candidates.
        calibrations: a calibration for each.
        weights: weights in the mixture, `[C]`, which sum to 1.
        table: the candidates' figures on held-out labelled rows.
    """

    names: tuple[str, ...]
    calibrations: tuple[Calibration, ...]
    weights: Floats
    table: pd.DataFrame

    def mix(self, each: Mapping[str, Floats]) -> Floats:
        """Return p(y|x) for equally frequent classes, `[N, K]`, from those of the candidates."""
        calibrated = [
            weight * calibration(each[name])
            for name, calibration, weight in zip(
                self.names, self.calibrations, self.weights, strict=True
            )
            if weight > 0
        ]
        return np.sum(calibrated, 0)


def decide(
    held_out: Mapping[str, Floats],
    codes: Codes,
    implied: Mapping[str, Floats],
    preference: Mapping[str, float],
    log_temperature: Mapping[str, float] | None = None,
) -> Decision:
    """Weigh candidates by their predictions for held-out labelled rows.

    Args:
        held_out: p(y|x) of the labelled rows by each candidate, `[L, K]`, NaN for a row that was
            never held out.
        codes: the rows' labels, `[L]`.
        implied: the class shares implied in each candidate's probabilities, `[K]`.
        preference: prior weight of each candidate, as a number of held-out rows.
        log_temperature: logarithm of the temperature expected for a candidate; 0 if it is not
            given.
    """
    names = tuple(held_out)
    classes = next(iter(held_out.values())).shape[1]
    known = judged(held_out)
    codes = codes[known]
    weights = class_balanced(codes, classes) if len(codes) else np.zeros(0)
    calibrations, said, rows = [], [], []
    for name in names:
        plain = Calibration(implied[name])
        even = plain(held_out[name][known])
        found = temperature(even, codes, weights, (log_temperature or {}).get(name, 0.0))
        calibrations.append(Calibration(implied[name], found))
        said.append(normalised(np.log(even) / found))
        rows.append({"candidate": name, **_figures(said[-1], codes, weights), "temperature": found})
    prior = [preference[name] for name in names]
    mixed = mixture_weights(np.stack(said), codes, weights, prior)
    table = pd.DataFrame(rows).assign(preference=prior, weight=mixed, held_out_rows=len(codes))
    return Decision(names, tuple(calibrations), mixed, table)


def judged(held_out: Mapping[str, Floats]) -> NDArray[np.bool_]:
    """Return which labelled rows were held out from every candidate, `[L]`; see `decide`."""
    found: NDArray[np.bool_] = np.all([np.isfinite(p).all(1) for p in held_out.values()], 0)
    return found


def _figures(probabilities: Floats, codes: Codes, weights: Floats) -> dict[str, float]:
    names = ("log_loss", "balanced_accuracy", "accuracy")
    if not len(codes):
        return dict.fromkeys(names, np.nan)
    guesses = probabilities.argmax(1)
    values = (
        log_loss(probabilities, codes, weights),
        float(((guesses == codes) * weights).sum() / weights.sum()),
        accuracy_score(codes, guesses),
    )
    return dict(zip(names, map(float, values), strict=True))


def labelled_shares(codes: Codes, classes: int, weights: Floats) -> Floats:
    """Return the class shares implied by a classifier of labelled rows, `[K]`."""
    scaled = weights * (len(codes) / weights.sum())
    return shares_of(codes, classes, scaled)

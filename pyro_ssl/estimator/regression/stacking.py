"""The weighted mean of candidates for a real label, and its standard deviation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax

Floats = NDArray[np.floating[Any]]

# Prior of each calibration: this many held-out rows whose errors are as large as predicted.
_PRIOR_ROWS = 2.0


@dataclass(frozen=True)
class Stack:
    """The calibrated and weighed candidates.

    Attributes:
        names: names of the candidates.
        scales: factors of the candidates' deviations, `[C]`.
        weights: weights of their means, `[C]`, not negative, with sum 1.
        scale: factor of the mixture's deviations.
        table: the candidates' figures on held-out labelled rows.
    """

    names: tuple[str, ...]
    scales: Floats
    weights: Floats
    scale: float
    table: pd.DataFrame

    def mix(self, each: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Return mean and deviation of labels, `[N]` each, from the candidates' `[N, 2]`."""
        said = np.stack([each[name] for name in self.names])
        mean, deviation = moments(said, self.scales, self.weights)
        return mean, self.scale * deviation


def stack(
    held_out: Mapping[str, Floats],
    ys: Floats,
    weights: Floats,
    preference: Mapping[str, float],
    unit: float = 1.0,
) -> Stack:
    """Weigh candidates by their predictions for held-out labelled rows.

    The weights w of their means minimise, over weights that are not negative and sum to 1,

        sum_i r_i (y_i - sum_c w_c m_ci)^2 / (2 s^2) - sum_c a_c log w_c

    where r are the rows' weights, a is the preference, and s^2 is the error of candidates weighed
    by a. This is stacking (Wolpert 1992; Breiman, "Stacked regressions", Machine Learning 24, 1996,
    section 2) with a Dirichlet prior, which decides if there are few labelled rows.

    Args:
        held_out: mean and deviation of the labelled rows' labels by each candidate, `[L, 2]`, NaN
            for a row that was never held out.
        ys: the labels, standardised, `[L]`.
        weights: the rows' weights, `[L]`.
        preference: prior weight of each candidate, as a number of held-out rows.
        unit: the labels' standard deviation, the unit of the table.
    """
    names = tuple(held_out)
    said = np.stack([held_out[name] for name in names])
    known = np.isfinite(said).all((0, 2))
    said, ys, rows = said[:, known], ys[known], weights[known]
    rows = rows * (len(rows) / rows.sum()) if len(rows) else rows
    prior = np.array([preference[name] for name in names])
    scales = np.array([calibrated(ys - mean, sd, rows) for mean, sd in said.transpose(0, 2, 1)])
    found = _weights(said[..., 0], ys, rows, prior)
    mean, deviation = moments(said, scales, found)
    figures = [
        _figures(ys - m, k * sd, rows, unit)
        for (m, sd), k in zip(said.transpose(0, 2, 1), scales, strict=True)
    ]
    table = pd.DataFrame(figures)
    table.insert(0, "candidate", names)
    table = table.assign(scale=scales, preference=prior, weight=found, held_out_rows=len(ys))
    return Stack(names, scales, found, calibrated(ys - mean, deviation, rows), table)


def moments(said: Floats, scales: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return mean and deviation of mixtures of normal distributions, `[N]` each.

    Args:
        said: means and deviations of the components, `[C, N, 2]`.
        scales: factors of the deviations, `[C]`.
        weights: weights of the components, `[C]`.
    """
    mean = weights @ said[..., 0]
    variance = weights @ ((scales[:, None] * said[..., 1]) ** 2 + (said[..., 0] - mean) ** 2)
    return mean, np.sqrt(variance)


def calibrated(errors: Floats, deviations: Floats, rows: Floats) -> float:
    """Return the factor that makes predicted deviations as large as held-out errors.

    Args:
        errors: errors on held-out rows, `[L]`.
        deviations: their predicted deviations, `[L]`.
        rows: weights of the rows, `[L]`.
    """
    squares = float((rows * (errors / deviations) ** 2).sum())
    return float(np.sqrt((squares + _PRIOR_ROWS) / (rows.sum() + _PRIOR_ROWS)))


def _weights(means: Floats, ys: Floats, rows: Floats, prior: Floats) -> Floats:
    """Return the weights of candidates with means `[C, L]`; see `stack`."""
    shares = prior / prior.sum()
    if not len(ys):
        return shares
    errors = ys - means
    # Never 0, even if a candidate predicts the rows perfectly.
    square = float(rows @ (shares @ errors) ** 2) / rows.sum() + 1e-6

    def loss(logits: Floats) -> tuple[float, Floats]:
        weights = softmax(logits)
        error = weights @ errors
        value = 0.5 * float(rows @ error**2) / square - float(prior @ np.log(weights + 1e-300))
        slope = errors @ (rows * error) / square
        return value, weights * (slope - weights @ slope) - prior + prior.sum() * weights

    found: Floats = softmax(minimize(loss, np.log(shares), jac=True, method="L-BFGS-B").x)
    return found


def _figures(errors: Floats, deviations: Floats, rows: Floats, unit: float) -> dict[str, float]:
    """Return the error and the negative log-density, in nats, of held-out rows."""
    if not len(errors):
        return {"rmse": np.nan, "log_loss": np.nan}
    nats = 0.5 * (errors / deviations) ** 2 + np.log(deviations * unit) + 0.5 * np.log(2 * np.pi)
    square = np.average(errors**2, weights=rows)
    rmse, log_loss = unit * np.sqrt(square), np.average(nats, weights=rows)
    return {"rmse": float(rmse), "log_loss": float(log_loss)}

"""Weights of candidates: calibration, and a mixture chosen on held-out labelled rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Codes = NDArray[np.int64]

# Limits every candidate's certainty, so that no single held-out row decides against it.
_LEAST = 1e-3
_LOG_TEMPERATURES = np.linspace(-1.4, 3.0, 89)
_ROUNDS = 200
# Number of rows in the prior of class shares, as a share of all rows.
_PRIOR_ROWS = 0.05


def normalised(logs: Floats) -> Floats:
    """Return normalised probabilities `[..., K]` from unnormalised logarithms `[..., K]`."""
    shifted = np.exp(logs - logs.max(-1, keepdims=True))
    found: Floats = shifted / shifted.sum(-1, keepdims=True)
    return found


def floored(probabilities: Floats) -> Floats:
    """Return probabilities mixed with a little of the uniform distribution."""
    classes = probabilities.shape[-1]
    found: Floats = (1 - _LEAST) * probabilities + _LEAST / classes
    return found


def reweighed(probabilities: Floats, old: Floats, new: Floats) -> Floats:
    """Convert p(y|x) from the class shares `old` to the class shares `new`; shares are `[K]`."""
    found: Floats = probabilities * (new / old)
    return found / found.sum(-1, keepdims=True)


def shares_of(codes: Codes, classes: int, weights: Floats | None = None) -> Floats:
    """Return the class shares of labelled rows, with one row added to each class, `[K]`."""
    counts = np.bincount(codes, weights, classes) + 1.0
    found: Floats = counts / counts.sum()
    return found


def class_balanced(codes: Codes, classes: int) -> Floats:
    """Return weights of rows, `[L]`, with which all classes count equally; their sum is L."""
    counts = np.bincount(codes, minlength=classes)
    weights = 1.0 / counts[codes]
    found: Floats = weights * (len(codes) / weights.sum())
    return found


def log_loss(probabilities: Floats, codes: Codes, weights: Floats) -> float:
    """Return the weighted mean of -log p of the labels, in nats."""
    each = -np.log(probabilities[np.arange(len(codes)), codes])
    return float((weights * each).sum() / weights.sum())


def temperature(
    probabilities: Floats,
    codes: Codes,
    weights: Floats,
    expected: float = 0.0,
    strength: float = 3.0,
) -> float:
    """Return the temperature T for which p^(1/T), normalised, predicts held-out labels best.

    Source: Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017,
    section 4.2; here with a normal prior of log T, so that few rows change little.

    Args:
        probabilities: probabilities of held-out rows, `[L, K]`, positive.
        codes: labels of the rows, `[L]`.
        weights: weights of the rows, `[L]`.
        expected: mean of the prior of log T.
        strength: precision of that prior.
    """
    logs = np.log(probabilities)
    rows = np.arange(len(codes))
    losses = []
    for log_t in _LOG_TEMPERATURES:
        scaled = logs * np.exp(-log_t)
        peak = scaled.max(-1)
        norms = peak + np.log(np.exp(scaled - peak[:, None]).sum(-1))
        loss = (weights * (norms - scaled[rows, codes])).sum()
        losses.append(loss + 0.5 * strength * (log_t - expected) ** 2)
    return float(np.exp(_LOG_TEMPERATURES[int(np.argmin(losses))]))


def mixture_weights(
    probabilities: Floats, codes: Codes, weights: Floats, preference: Sequence[float]
) -> Floats:
    """Return the weights `[C]` of candidates in a mixture, from predictions of held-out labels.

    They maximise the labels' log-probability under the mixture plus the logarithm of a Dirichlet
    prior, by expectation maximisation. This is stacking (Wolpert 1992; Yao, Vehtari, Simpson,
    Gelman 2018), with a prior that decides if there are few labelled rows.

    Args:
        probabilities: probabilities of held-out rows by each candidate, `[C, L, K]`.
        codes: labels of the rows, `[L]`.
        weights: weights of the rows, `[L]`.
        preference: prior weight of each candidate, as a number of held-out rows, `[C]`.
    """
    prior = np.asarray(preference, dtype=np.float64)
    each = probabilities[:, np.arange(len(codes)), codes]
    shares = prior / prior.sum()
    for _ in range(_ROUNDS):
        joint = shares[:, None] * each
        responsible = joint / joint.sum(0)
        shares = (responsible * weights).sum(-1) + prior
        shares = shares / shares.sum()
    return shares


def estimated_shares(probabilities: Floats, weights: Floats) -> Floats:
    """Return the class shares under which the rows are most probable, `[K]`.

    Source: Saerens, Latinne, Decaestecker, "Adjusting the outputs of a classifier to new a priori
    probabilities", Neural Computation 14, 2002, section 2.2. Without a prior, the procedure may
    leave a class without rows. Here a Dirichlet prior adds a twentieth of the number of rows,
    spread evenly over the classes.

    Args:
        probabilities: probabilities of rows, for equally frequent classes, `[N, K]`.
        weights: weights of the rows, `[N]`.
    """
    classes = probabilities.shape[1]
    shares, prior = np.full(classes, 1 / classes), _PRIOR_ROWS / classes
    part = weights / weights.sum()
    for _ in range(_ROUNDS):
        joint = probabilities * shares
        responsible = joint / joint.sum(1, keepdims=True)
        shares = (part @ responsible + prior) / (1 + _PRIOR_ROWS)
    return shares

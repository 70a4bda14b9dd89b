"""How far figures of a few held-out rows can be from those of many."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from pyro_ssl.metrics import expected_calibration_error

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

# Bins of confidence.
BINS = 10
# Sets of labels drawn to see what chance alone does to a calibration error.
_DRAWS = 100


class Estimate(NamedTuple):
    """A share in [0, 1] and its 95 % interval."""

    value: float
    low: float
    high: float


def accuracy(codes: Codes, guesses: Codes) -> Estimate:
    """Return the share of rows guessed right, with Wilson's interval.

    Args:
        codes: labels `[H]`, at least one.
        guesses: what was guessed, `[H]`.
    """
    return wilson(float((codes == guesses).mean()), len(codes))


def balanced_accuracy(codes: Codes, guesses: Codes) -> Estimate:
    """Return the mean, over the classes among the labels, of their shares guessed right.

    Rows then weigh by class, so that they are worth fewer rows of equal weights: Kish's effective
    number of rows, K^2 / sum_k(1 / n_k), for which the interval is Wilson's (as Dean and Pagano,
    "Evaluating confidence interval methods for binomial proportions in clustered surveys", Journal
    of Survey Statistics and Methodology 3, 2015, have it). It is too wide rather than too narrow
    if classes differ in how well they are recognised.

    Args:
        codes: labels `[H]`, at least one.
        guesses: what was guessed, `[H]`.
    """
    classes, places, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    right = np.bincount(places, codes == guesses)
    effective = len(classes) ** 2 / float((1 / sizes).sum())
    return wilson(float((right / sizes).mean()), effective)


def wilson(share: float, rows: float) -> Estimate:
    """Return a share with Wilson's 95 % interval (Wilson 1927), for any positive number of rows."""
    z = float(norm.ppf(0.975))
    scale = 1 + z**2 / rows
    middle = (share + z**2 / (2 * rows)) / scale
    half = z * math.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2)) / scale
    # At shares of 0 and 1 rounding would go beyond.
    return Estimate(share, min(max(0.0, middle - half), share), max(min(1.0, middle + half), share))


class CalibrationError(NamedTuple):
    """A calibration error, and what it would be if the probabilities were exactly right."""

    value: float
    by_chance: float
    """Mean of what as few rows show of a classifier that is perfectly calibrated."""
    most_by_chance: float
    """What 95 % of such sets of rows do not exceed."""


def calibration_error(probabilities: Floats, codes: Codes) -> CalibrationError:
    """Return the expected calibration error of the likeliest class, by 10 bins of confidence.

    What chance alone does is found by drawing labels from the probabilities themselves:
    consistency resampling (Broecker and Smith 2007; Vaicenavicius et al., "Evaluating model
    calibration in classification", AISTATS 2019, section 5).

    Args:
        probabilities: `[H, K]`, at least one row.
        codes: labels `[H]`.
    """
    said = torch.from_numpy(probabilities)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(said, _DRAWS, replacement=True, generator=generator)
    chance = [expected_calibration_error(said, ys, BINS) for ys in drawn.T]
    found = expected_calibration_error(said, torch.from_numpy(codes), BINS)
    return CalibrationError(found, float(np.mean(chance)), float(np.quantile(chance, 0.95)))

"""The uncertainty of figures that come from a few held-out rows."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from pyro_ssl.metrics import expected_calibration_error

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

# Number of bins of confidence.
BINS = 10
# Number of sets of labels drawn to see the effect of chance on a calibration error.
_DRAWS = 100


class Estimate(NamedTuple):
    """A share in [0, 1] and its 95 % interval."""

    value: float
    low: float
    high: float


def accuracy(codes: Codes, guesses: Codes) -> Estimate:
    """Return the share of correctly guessed rows, with Wilson's interval.

    Args:
        codes: labels `[H]`, at least one.
        guesses: predicted classes, `[H]`.
    """
    return wilson(float((codes == guesses).mean()), len(codes))


def balanced_accuracy(codes: Codes, guesses: Codes) -> Estimate:
    """Return the mean, over the classes among the labels, of their shares of correct guesses.

    Rows are weighed by class, and are therefore worth fewer rows of equal weights: Kish's effective
    number of rows, K^2 / sum_k(1 / n_k). The interval is Wilson's for this number, as in Dean and
    Pagano, "Evaluating confidence interval methods for binomial proportions in clustered surveys",
    Journal of Survey Statistics and Methodology 3, 2015. If classes differ in how well they are
    recognised, it is too wide rather than too narrow.

    Args:
        codes: labels `[H]`, at least one.
        guesses: predicted classes, `[H]`.
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
    # At shares of 0 and 1, rounding would exceed [0, 1].
    return Estimate(share, min(max(0.0, middle - half), share), max(min(1.0, middle + half), share))


class CalibrationError(NamedTuple):
    """A calibration error, and what it would be if the probabilities were exactly right."""

    value: float
    by_chance: float
    """Mean over sets of as many rows, for a perfectly calibrated classifier."""
    most_by_chance: float
    """Value that 95 % of such sets of rows do not exceed."""


def calibration_error(probabilities: Floats, codes: Codes) -> CalibrationError:
    """Return the expected calibration error of the most probable class, with 10 bins of confidence.

    The effect of chance is found by drawing labels from the probabilities themselves: consistency
    resampling (Broecker and Smith 2007; Vaicenavicius et al., "Evaluating model calibration in
    classification", AISTATS 2019, section 5).

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

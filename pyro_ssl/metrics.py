"""Figures of merit of a classifier and of a bound."""

import torch
from torch import Tensor

from pyro_ssl.models.base import SSLModel


def accuracy(probabilities: Tensor, ys: Tensor) -> float:
    """Return the share of rows whose likeliest class is the label.

    Args:
        probabilities: `[N, K]`, rows sum to 1.
        ys: labels `[N]`.
    """
    return (probabilities.argmax(-1) == ys).float().mean().item()


def expected_calibration_error(probabilities: Tensor, ys: Tensor, bins: int = 15) -> float:
    """Return the binned expected calibration error of the likeliest class, in [0, 1].

    The mean over `bins` equally wide bins of confidence, weighted by their share of rows,
    of |accuracy - mean confidence| (Guo et al., "On calibration of modern neural networks",
    ICML 2017, eq. 3), by torchmetrics.

    Args:
        probabilities: `[N, K]`, rows sum to 1.
        ys: labels `[N]`.
        bins: number of bins.
    """
    # Imported here because torchmetrics takes about a second, which --help would pay too.
    from torchmetrics.functional.classification import multiclass_calibration_error

    return multiclass_calibration_error(
        probabilities, ys, num_classes=probabilities.shape[-1], n_bins=bins, norm="l1"
    ).item()


def predict_in_chunks(model: SSLModel, xs: Tensor, rows: int = 10_000) -> Tensor:
    """Return `model.predict_proba(xs)`, `[N, K]`, computed `rows` rows at a time."""
    return torch.cat([model.predict_proba(chunk) for chunk in xs.split(rows)])

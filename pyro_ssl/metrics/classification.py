"""Measures of a classifier's quality."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyro_ssl.data.label_checks import check_attributes, check_labels
from pyro_ssl.errors import DataError
from pyro_ssl.models.base import SSLModel
from pyro_ssl.option_kinds import Size
from pyro_ssl.options import checked

# Allowed distance of a probability from [0, 1], due to rounding.
_ROUNDING = 1e-3


@checked
def accuracy(probabilities: Tensor, ys: Tensor) -> float:
    """Return the share of rows whose most probable class is the label.

    For attributes, return the share of known ones whose more probable value is the true one.

    Args:
        probabilities: `[N, K]`, where rows sum to 1; or of each attribute, `[N, L]`.
        ys: labels `[N]`; or attributes `[N, L]`, -1 where unknown.
    """
    probabilities, ys = one_label_each(probabilities, ys)
    return (probabilities.argmax(-1) == ys).float().mean().item()


class ConfidenceBins(NamedTuple):
    """Rows by confidence p, in M equally wide bins (m-1)/M < p <= m/M; the first also has 0.

    Attributes:
        rows: number of rows in each bin, `[M]`.
        confidence: sum of their confidences, `[M]`, float64.
        right: number of correctly classified rows in each bin, `[M]`.
    """

    rows: Tensor
    confidence: Tensor
    right: Tensor


@checked
def confidence_bins(probabilities: Tensor, ys: Tensor, bins: Size = 15) -> ConfidenceBins:
    """Return rows binned by the probability of their most probable class.

    See Guo et al. (2017), section 2.

    Args:
        probabilities: `[N, K]`, where rows sum to 1; or of each attribute, `[N, L]`.
        ys: labels `[N]`; or attributes `[N, L]`, -1 where unknown; each known one counts as a row.
        bins: number M of bins.

    Raises:
        DataError: if a probability is not in [0, 1], up to rounding, or no label is known.
        ConfigError: if `bins` is below 1.
    """
    outside = (probabilities < -_ROUNDING) | (probabilities > 1 + _ROUNDING)
    if outside.any():
        raise DataError(
            f"probabilities has the value {probabilities[outside][0].item():g}, expected values "
            "in [0, 1]: give predict_proba's result, or softmax of class_logits"
        )
    probabilities, ys = one_label_each(probabilities, ys)
    confidence, predicted = probabilities.max(-1)
    # Divided in the dtype of the probabilities, in which 0.6 and 9 / 15 are the same number.
    edges = torch.arange(1, bins, dtype=confidence.dtype, device=confidence.device) / bins
    place = torch.bucketize(confidence, edges)
    zeros = torch.zeros(bins, dtype=torch.float64, device=confidence.device)
    each = (torch.ones_like(confidence), confidence.clamp(0, 1), predicted == ys)
    return ConfidenceBins(*(zeros.index_add(0, place, values.double()) for values in each))


@checked
def expected_calibration_error(probabilities: Tensor, ys: Tensor, bins: Size = 15) -> float:
    """Return the binned expected calibration error of the most probable class, in [0, 1].

    This is the mean over bins of |accuracy - mean confidence|, weighted by the bins' shares of rows
    (Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017, eq. 3).

    Args:
        probabilities: see `confidence_bins`.
        ys: see `confidence_bins`.
        bins: number of equally wide bins.

    Raises:
        DataError: if a probability is not in [0, 1], up to rounding, or no label is known.
        ConfigError: if `bins` is below 1.
    """
    found = confidence_bins(probabilities, ys, bins)
    return ((found.right - found.confidence).abs().sum() / found.rows.sum()).item()


@checked
def one_label_each(probabilities: Tensor, ys: Tensor) -> tuple[Tensor, Tensor]:
    """Return known attributes as rows of two classes, `[M, 2]` and `[M]`; classes unchanged.

    Args:
        probabilities: `[N, K]`, where rows sum to 1; or of each attribute, `[N, L]`.
        ys: labels `[N]`; or attributes `[N, L]`, -1 where unknown.

    Raises:
        DataError: if these are not probabilities and labels of the same rows, or none is known.
    """
    _check(probabilities, ys)
    if ys.dim() == 1:
        return probabilities, ys
    known = ys >= 0
    present = probabilities[known]
    return torch.stack([1 - present, present], -1), ys[known]


@checked
def predict_in_chunks(model: SSLModel, xs: Tensor, rows: Size = 10_000) -> Tensor:
    """Return `model.predict_proba(xs)`, `[N, K]`, computed `rows` rows at a time."""
    model.check(xs)
    return torch.cat([model.predict_proba(chunk) for chunk in xs.split(rows)])


def _check(probabilities: Tensor, ys: Tensor) -> None:
    """Check that probabilities `[N, K]` and labels belong to the same rows, some known."""
    right = probabilities.dim() == 2 and probabilities.is_floating_point()
    if not right or not bool(probabilities.isfinite().all()):
        raise DataError(
            f"probabilities is of shape {list(probabilities.shape)} and dtype "
            f"{probabilities.dtype}, expected finite floats [rows, classes]"
        )
    rows, classes = probabilities.shape
    if ys.dim() == 2:
        check_attributes(ys, rows, classes)
    else:
        check_labels(ys, rows, classes)
    if not bool((ys >= 0).any()):
        raise DataError("ys has no known label, against which predictions could be compared")

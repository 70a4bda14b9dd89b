"""Measures of a classifier's quality."""

import torch
from torch import Tensor

from pyro_ssl.data.checks import check_attributes, check_labels
from pyro_ssl.errors import DataError
from pyro_ssl.models.base import SSLModel
from pyro_ssl.option_kinds import Size
from pyro_ssl.options import checked


@checked
def accuracy(probabilities: Tensor, ys: Tensor) -> float:
    """Return the share of rows whose likeliest class is the label.

    For attributes, return the share of known ones whose likelier value is the true one.

    Args:
        probabilities: `[N, K]`, rows sum to 1; or of each attribute, `[N, L]`.
        ys: labels `[N]`; or attributes `[N, L]`, -1 where unknown.
    """
    probabilities, ys = one_label_each(probabilities, ys)
    return (probabilities.argmax(-1) == ys).float().mean().item()


@checked
def expected_calibration_error(probabilities: Tensor, ys: Tensor, bins: Size = 15) -> float:
    """Return the binned expected calibration error of the likeliest class, in [0, 1].

    The mean over `bins` equally wide bins of confidence, weighted by their share of rows,
    of |accuracy - mean confidence| (Guo et al., "On calibration of modern neural networks",
    ICML 2017, eq. 3), by torchmetrics.

    Args:
        probabilities: `[N, K]`, rows sum to 1; or of each attribute, `[N, L]`.
        ys: labels `[N]`; or attributes `[N, L]`, -1 where unknown; each known one counts as a row.
        bins: number of bins.
    """
    probabilities, ys = one_label_each(probabilities, ys)
    # Imported here because torchmetrics takes about a second, which would slow down --help.
    from torchmetrics.functional.classification import multiclass_calibration_error

    return multiclass_calibration_error(
        probabilities, ys, num_classes=probabilities.shape[-1], n_bins=bins, norm="l1"
    ).item()


@checked
def one_label_each(probabilities: Tensor, ys: Tensor) -> tuple[Tensor, Tensor]:
    """Return known attributes as rows of two classes, `[M, 2]` and `[M]`; classes unchanged.

    Args:
        probabilities: `[N, K]`, rows sum to 1; or of each attribute, `[N, L]`.
        ys: labels `[N]`; or attributes `[N, L]`, -1 where unknown.

    Raises:
        DataError: if these are no probabilities and labels of the same rows, or none is known.
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
    """Check that probabilities `[N, K]` and labels are of the same rows, at least one known."""
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

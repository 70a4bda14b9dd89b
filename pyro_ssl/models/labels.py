"""The label in a guide: summed out if it is unknown, otherwise a target for the classifier."""

import pyro
import pyro.distributions as dist
from torch import Tensor

from pyro_ssl.elbos.names import CLASSIFICATION
from pyro_ssl.models.terms import add_term


def label_in_guide(ys: Tensor | None, class_logits: Tensor, alpha: float) -> Tensor:
    """Sample "y" from q(y|.), enumerated, or add the classification term for known labels.

    Call it within the plate of the rows.

    Args:
        ys: labels `[n]`, or None if they are unknown.
        class_logits: unnormalised log q(y|.), `[n, K]`.
        alpha: weight of the classification term, see `classification_term`.

    Returns:
        The labels: `ys`, or all classes along a new dimension.
    """
    if ys is None:
        q_y = dist.Categorical(logits=class_logits)
        return pyro.sample("y", q_y, infer={"enumerate": "parallel"})
    classification_term(ys, class_logits, alpha)
    return ys


def classification_term(ys: Tensor, class_logits: Tensor, alpha: float) -> None:
    """Add to a guide the term "classification", the cross-entropy of known labels.

    Args:
        ys: labels `[n]`.
        class_logits: unnormalised log q(y|.), `[n, K]`.
        alpha: weight of its mean over labelled rows beside the bound per example; see `add_term`.
    """
    if alpha > 0:
        log_q_y = dist.Categorical(logits=class_logits).log_prob(ys)
        add_term(CLASSIFICATION, -log_q_y, alpha)

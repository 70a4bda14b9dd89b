"""The label in a guide: summed out where it is unknown, else what the classifier learns from."""

import math

import pyro
import pyro.distributions as dist
from pyro import poutine
from torch import Tensor

from pyro_ssl.errors import ConfigError


def check_classification_weight(weight: float) -> None:
    """Check that `weight` is a finite number of at least 0.

    Raises:
        ConfigError: if it is not.
    """
    if not 0 <= weight < math.inf:
        raise ConfigError(f"classification_weight is {weight}, expected a finite number >= 0")


def label_in_guide(ys: Tensor | None, class_logits: Tensor, classification_weight: float) -> Tensor:
    """Sample "y" from q(y|.), enumerated, or add the classification term of known labels.

    Call it within the plate of the rows.

    Args:
        ys: labels `[n]`, or None where they are unknown.
        class_logits: unnormalised log q(y|.), `[n, K]`.
        classification_weight: weight of log q(y|.) of each labelled row.

    Returns:
        The labels: `ys`, or all classes along a dimension of their own.
    """
    if ys is None:
        q_y = dist.Categorical(logits=class_logits)
        return pyro.sample("y", q_y, infer={"enumerate": "parallel"})
    classification_term(ys, class_logits, classification_weight)
    return ys


def classification_term(ys: Tensor, class_logits: Tensor, weight: float) -> None:
    """Add the factor "classification" to a guide, which the objective lowers by its value.

    Args:
        ys: labels `[n]`.
        class_logits: unnormalised log q(y|.), `[n, K]`.
        weight: weight of log q(y|.) of each row.
    """
    # The ELBO subtracts the guide's log-probability, hence the sign. The term is a differentiable
    # function of the parameters and draws nothing, hence has_rsample=True: False would add a
    # score-function gradient on top.
    if weight > 0:
        log_q_y = dist.Categorical(logits=class_logits).log_prob(ys)
        with poutine.scale(scale=weight):
            pyro.factor("classification", -log_q_y, has_rsample=True)

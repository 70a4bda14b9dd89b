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
    q_y = dist.Categorical(logits=class_logits)
    if ys is None:
        return pyro.sample("y", q_y, infer={"enumerate": "parallel"})
    # The ELBO subtracts the guide's log-probability, hence the sign. The term is a differentiable
    # function of the parameters and draws nothing, hence has_rsample=True: False would add a
    # score-function gradient on top.
    if classification_weight > 0:
        with poutine.scale(scale=classification_weight):
            pyro.factor("classification", -q_y.log_prob(ys), has_rsample=True)
    return ys

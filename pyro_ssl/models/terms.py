"""Terms of an objective besides its bound."""

import pyro
import pyro.distributions as dist
from pyro import poutine
from torch import Tensor


def add_term(name: str, loss: Tensor, weight: float = 1.0, bound_weight: float = 0.0) -> None:
    """Add a term to the loss, beside the bound, as a factor of the guide.

    Call it in a guide, within the plate of its rows. Where `fit` or `RowWeights` weighs rows, the
    loss per example gains `weight` times the mean of the term over the labelled rows, or over the
    unlabelled ones, however many there are. Without weights of rows, a call adds
    `weight + bound_weight` times the sum over its rows.

    Reports give the term unweighted, as `name`; `FitConfig.anneal` and `FitConfig.term_weights`
    use the same name. Bounds contain only `bound_weight` times the term. A plain `pyro.factor` of
    a guide is reported and annealed in the same way. It belongs to no bound unless its name is
    `kl_SITE`, and its rows weigh as much as those of the bound.

    Args:
        name: name of the factor.
        loss: the term of each row in nats, `[n]`, a differentiable function of the parameters.
        weight: weight of its mean beside the bound per example.
        bound_weight: weight of the term within the bound itself, where labelled and unlabelled
            rows weigh in proportion to their numbers in the data.
    """
    # has_rsample=True: False would add a score-function gradient, though nothing is drawn here.
    factor = dist.Unit(loss, has_rsample=True)
    infer = {"is_auxiliary": True, "mean_weight": weight, "bound_weight": bound_weight}
    with poutine.scale(scale=weight + bound_weight):
        pyro.sample(name, factor, obs=factor.sample(), infer=infer)

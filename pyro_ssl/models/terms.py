"""Terms that an objective has beside its bound."""

import pyro
import pyro.distributions as dist
from pyro import poutine
from torch import Tensor


def add_term(name: str, loss: Tensor, weight: float = 1.0, bound_weight: float = 0.0) -> None:
    """Add a term to what is minimised beside the bound, as a factor of the guide.

    Call it in a guide, within the plate of the rows that it is about. Where rows are weighted, as
    `fit` and `RowWeights` do, the loss per example gains `weight` times the mean of the term over
    the rows of its kind, labelled or unlabelled, however many there are. A call by itself sums over
    its rows, and gains `weight + bound_weight` times the sum.

    Reports call it `name`, without its weight, and so do `FitConfig.anneal` and
    `FitConfig.term_weights`. Bounds leave it out but for `bound_weight`. A plain `pyro.factor` of a
    guide is reported and annealed alike, and is in no bound unless it is called `kl_SITE`; its rows
    weigh as much as those of the bound.

    Args:
        name: name of the factor.
        loss: the term of each row in nats, `[n]`, a differentiable function of the parameters.
        weight: weight of its mean beside the bound per example.
        bound_weight: weight with which it belongs to the bound itself, whose terms weigh as much
            as there are rows of their kind in the data.
    """
    # has_rsample=True: it draws nothing, so that False would add a score-function gradient on top.
    factor = dist.Unit(loss, has_rsample=True)
    infer = {"is_auxiliary": True, "mean_weight": weight, "bound_weight": bound_weight}
    with poutine.scale(scale=weight + bound_weight):
        pyro.sample(name, factor, obs=factor.sample(), infer=infer)

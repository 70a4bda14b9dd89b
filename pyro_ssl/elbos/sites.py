"""Reading Pyro's traces: sample sites, and the classes an enumerated one stands for."""

from collections.abc import Iterator
from typing import Any

from pyro.poutine import Trace
from torch import Tensor

from pyro_ssl.elbos.names import WEIGHT, is_kl, split_name

Site = dict[str, Any]


def sample_sites(trace: Trace) -> Iterator[Site]:
    """Yield the sample sites, observed ones and factors among them, in the program's order."""
    return (site for site in trace.nodes.values() if site["type"] == "sample")


def is_enumerated(site: Site) -> bool:
    """Return whether the site's value runs over classes instead of being drawn."""
    return site["infer"].get("_enumerate_dim") is not None


def enumeration_dim(site: Site) -> int:
    """Return the dimension, counted from the right, that an enumerated site's classes run along."""
    return site["infer"]["_enumerate_dim"]


def depends_on(log_prob: Tensor, label: Site) -> bool:
    """Return whether a term has a value for each class of an enumerated site."""
    dim = enumeration_dim(label)
    return log_prob.dim() >= -dim and log_prob.shape[dim] > 1


def class_weights(site: Site) -> Tensor:
    """Return the weight of each class of an enumerated site, detached, over which they sum to 1.

    It is the guide's probability, except for the class that `RaoBlackwell_ELBO` draws in place
    of all that it does not sum.
    """
    weights = site["infer"].get("_class_weights")
    return site["unscaled_log_prob"].detach().exp() if weights is None else weights


def row_weight(site: Site) -> Tensor | float:
    """Return what multiplies each row's term of a site: 1, or the weight that an ELBO gave it."""
    return site.get("row_weight", 1.0)


def is_factor(site: Site) -> bool:
    """Return whether a site of a guide is a factor: a term of the objective, and no latent."""
    return bool(site["infer"].get("is_auxiliary")) and site["is_observed"]


def bound_weight(site: Site) -> float:
    """Return how much of a guide's site belongs to the bound.

    All of a latent, and of a factor called `kl_SITE`, which is a divergence; of another factor as
    much as it says (`add_term`), nothing if it does not.
    """
    own = split_name(site["name"])[1]
    if own == WEIGHT:
        return 0.0
    if is_factor(site) and not is_kl(own):
        return site["infer"].get("bound_weight", 0.0)
    return 1.0

"""Readers of Pyro's traces: sample sites, and the classes of enumerated ones."""

from collections.abc import Iterator
from typing import Any

from pyro.poutine import Trace
from torch import Tensor

from pyro_ssl.elbos.names import WEIGHT, is_kl, split_name

Site = dict[str, Any]


def sample_sites(trace: Trace) -> Iterator[Site]:
    """Yield the sample sites, including observed ones and factors, in the program's order."""
    return (site for site in trace.nodes.values() if site["type"] == "sample")


def is_enumerated(site: Site) -> bool:
    """Return whether the site's value runs over classes instead of being drawn."""
    return site["infer"].get("_enumerate_dim") is not None


def enumeration_dim(site: Site) -> int:
    """Return the dimension of an enumerated site's classes, counted from the right."""
    return site["infer"]["_enumerate_dim"]


def depends_on(log_prob: Tensor, label: Site) -> bool:
    """Return whether a term has a value for each class of an enumerated site."""
    dim = enumeration_dim(label)
    return log_prob.dim() >= -dim and log_prob.shape[dim] > 1


def class_weights(site: Site) -> Tensor:
    """Return the classes' weights, which sum to 1 along `enumeration_dim`, detached.

    A weight is the guide's probability of the class. A drawn class is an exception: in
    `RaoBlackwell_ELBO` it has the weight of all classes that are not summed.
    """
    weights = site["infer"].get("_class_weights")
    return site["unscaled_log_prob"].detach().exp() if weights is None else weights


def row_weight(site: Site) -> Tensor | float:
    """Return what multiplies each row's term of a site: 1, or the weight that an ELBO set."""
    return site.get("row_weight", 1.0)


def is_factor(site: Site) -> bool:
    """Return whether a site of a guide is a factor: a term of the objective, not a latent."""
    return bool(site["infer"].get("is_auxiliary")) and site["is_observed"]


def bound_weight(site: Site) -> float:
    """Return the share of a guide's site that belongs to the bound.

    The share is 1 for a latent, and for a factor `kl_SITE`, which is a divergence. For any other
    factor it is its `bound_weight` (see `add_term`), or 0 without one.
    """
    own = split_name(site["name"])[1]
    if own == WEIGHT:
        return 0.0
    if is_factor(site) and not is_kl(own):
        return site["infer"].get("bound_weight", 0.0)
    return 1.0

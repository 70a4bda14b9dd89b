"""KL divergences that torch computes in closed form, put into the traces of an ELBO."""

import torch
from pyro.distributions.util import scale_and_mask, sum_rightmost
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, kl_divergence
from torch.nn.functional import softplus

from pyro_ssl.elbos.sites import is_enumerated, sample_sites
from pyro_ssl.errors import ConfigError


def check_order(model_trace: Trace, guide_trace: Trace) -> None:
    """Check that model and guide draw their latents in the same order.

    All that a latent's prior depends on must be drawn before the latent: otherwise the KL is wrong.

    Raises:
        ConfigError: if the orders differ.
    """
    shared = [s["name"] for s in sample_sites(guide_trace) if s["name"] in model_trace.nodes]
    in_model = [s["name"] for s in sample_sites(model_trace) if s["name"] in guide_trace.nodes]
    if shared != in_model:
        raise ConfigError(
            f"the guide draws its latents in the order {', '.join(shared)}, the model in the order "
            f"{', '.join(in_model)}: use closed_form_kl=False"
        )


def use_closed_form_kls(model_trace: Trace, guide_trace: Trace) -> None:
    """Replace log q by the KL divergence, and log p by zero, for each latent with a closed form."""
    for guide_site in sample_sites(guide_trace):
        name = guide_site["name"]
        if name not in model_trace.nodes:
            continue
        if is_enumerated(guide_site) and "_score" not in guide_site["infer"]:
            continue
        model_site = model_trace.nodes[name]
        try:
            kl = divergence(guide_site["fn"], model_site["fn"])
        except NotImplementedError:
            continue
        if not isinstance(kl, Tensor):
            # For masked distributions the KL is the number 0, as are their log-probabilities.
            continue
        for site, value in ((guide_site, kl), (model_site, torch.zeros_like(kl))):
            site["unscaled_log_prob"] = value
            site["log_prob"] = scale_and_mask(value, site["scale"], site["mask"])


def divergence(p: Distribution, q: Distribution) -> Tensor:
    """Return KL(p || q), of the batch shape, summed over event dimensions.

    This is torch's `kl_divergence`, except for Bernoulli variables: torch's version writes numbers
    from main memory through masks, which can be neither compiled nor recorded on a GPU.

    Raises:
        NotImplementedError: if torch has no closed form.
    """
    if isinstance(p, Independent) and isinstance(q, Independent):
        dims = p.reinterpreted_batch_ndims
        if dims == q.reinterpreted_batch_ndims:
            return sum_rightmost(divergence(p.base_dist, q.base_dist), dims)
    if isinstance(p, Bernoulli) and isinstance(q, Bernoulli):
        return _bernoulli_divergence(p, q)
    return kl_divergence(p, q)


def _bernoulli_divergence(p: Bernoulli, q: Bernoulli) -> Tensor:
    """Return KL(p || q) of each variable, `inf` if p takes a value that q does not."""

    def part(p_of: Tensor, q_of: Tensor, log_ratio: Tensor) -> Tensor:
        value = torch.where(q_of == 0, torch.inf, p_of * log_ratio)
        return torch.where(p_of == 0, 0.0, value)

    on = part(p.probs, q.probs, softplus(-q.logits) - softplus(-p.logits))
    off = part(1 - p.probs, 1 - q.probs, softplus(q.logits) - softplus(p.logits))
    return on + off

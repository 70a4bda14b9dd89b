"""KL divergences that torch has in closed form, put into the traces of an ELBO."""

import torch
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import kl_divergence

from pyro_ssl.elbos.sites import is_enumerated, sample_sites
from pyro_ssl.errors import ConfigError


def check_order(model_trace: Trace, guide_trace: Trace) -> None:
    """Check that model and guide draw their latents in the same order.

    What a latent's prior depends on must be drawn before the latent, or the KL would be wrong.

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
    """Replace log q by the KL divergence and log p by zero, at each latent that has one."""
    for guide_site in sample_sites(guide_trace):
        name = guide_site["name"]
        if name not in model_trace.nodes:
            continue
        if is_enumerated(guide_site) and "_score" not in guide_site["infer"]:
            continue
        model_site = model_trace.nodes[name]
        try:
            kl = kl_divergence(guide_site["fn"], model_site["fn"])
        except NotImplementedError:
            continue
        if not isinstance(kl, Tensor):
            # For masked distributions it is the number 0, as are their log-probabilities.
            continue
        for site, value in ((guide_site, kl), (model_site, torch.zeros_like(kl))):
            site["unscaled_log_prob"] = value
            site["log_prob"] = scale_and_mask(value, site["scale"], site["mask"])

"""The importance-weighted bound as an objective."""

import math
from typing import Any

import torch
from torch import Tensor

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.elbos.names import split_name
from pyro_ssl.elbos.sites import bound_weight, is_enumerated, is_factor, sample_sites
from pyro_ssl.elbos.terms import Program
from pyro_ssl.errors import ConfigError
from pyro_ssl.option_kinds import Natural, Size
from pyro_ssl.options import checked


class ImportanceWeighted_ELBO(StaticEnum_ELBO):  # noqa: N801  (named like Pyro's TraceEnum_ELBO)
    """The importance-weighted bound of several draws, maximised by training (IWAE).

    For each row, with k draws h_i of all latents from the guide, it is::

        log 1/k sum_i p(x, h_i) / q(h_i|x)

    It is the ELBO for k = 1, and tighter the larger k is. The gradient is that of the value, by
    reparameterised draws. Pyro's `RenyiELBO(alpha=0)` has one weight for each draw of all rows
    together; here each row has its own, as in the paper.

    All draws are made at once, in a plate around both programs. Terms that the guide adds beside
    the bound (`add_term`) are means over the draws. Reported terms are those of the ELBO of the
    same draws, which is not above the bound.

    Source: Burda, Grosse, Salakhutdinov, "Importance weighted autoencoders", ICLR 2016, eq. 8.

    Args:
        num_particles: number of draws k.
        max_plate_nesting: largest number of plates around a site; the last is that of rows.

    Raises:
        ConfigError: if `num_particles` is below 1; at evaluation, if a site is enumerated, or not
            reparameterised, or outside of all plates.
    """

    @checked
    def __init__(self, num_particles: Size = 50, max_plate_nesting: Natural = 1) -> None:
        super().__init__(max_plate_nesting, num_particles=num_particles)

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return the negative bound in nats, a scalar, summed over rows."""
        model_trace, guide_trace = self._get_trace(model, guide, args, kwargs)
        beside: Any = 0.0
        weights: dict[str, Any] = {}
        scales: dict[str, Any] = {}
        for trace, sign in ((guide_trace, -1), (model_trace, 1)):
            for site in sample_sites(trace):
                name = site["name"]
                if is_enumerated(site):
                    raise ConfigError(
                        f"site {name!r} is enumerated, but ImportanceWeighted_ELBO draws all "
                        "latents: use StaticEnum_ELBO, whose num_particles may be several"
                    )
                log_prob = site["log_prob"]
                if trace is guide_trace and is_factor(site) and not bound_weight(site):
                    beside = beside + log_prob.sum() / self.num_particles
                    continue
                part = split_name(name)[0]
                weights[part] = weights.get(part, 0.0) + sign * self._of_rows(log_prob, name)
                if site["is_observed"] and trace is model_trace:
                    scales[part] = site["scale"]
        loss = beside
        for part, log_weights in weights.items():
            # Rows may weigh more than one each: the weight is one of bounds, not of draws.
            scale = scales.get(part, 1.0)
            bounds = (log_weights / scale).logsumexp(0) - math.log(self.num_particles)
            loss = loss - (scale * bounds).sum()
        return loss if isinstance(loss, Tensor) else torch.zeros(())

    def _of_rows(self, log_prob: Tensor, name: str) -> Tensor:
        """Return log-probabilities of draws and rows, `[k, n]`, summed over plates in between."""
        if self.num_particles == 1:
            log_prob = log_prob.unsqueeze(0)
        if log_prob.dim() < 2:
            raise ConfigError(
                f"site {name!r} is in no plate, but each row is to have its own weights: put it "
                "into a plate of rows"
            )
        return log_prob.flatten(1, -2).sum(1) if log_prob.dim() > 2 else log_prob

"""The ELBO of rows with known labels, weighed by how well their draws explain the label."""

from typing import Any

from pyro.poutine import Trace
from torch import Tensor

from pyro_ssl.elbos.enumerated import Program, StaticEnum_ELBO
from pyro_ssl.elbos.sites import WEIGHT, sample_sites


class LabelWeighted_ELBO(StaticEnum_ELBO):  # noqa: N801  (named like Pyro's TraceEnum_ELBO)
    """`StaticEnum_ELBO`, with the terms of labelled rows multiplied by a weight from the guide.

    Where a guide has, for rows of known label, an auxiliary site "weight" of value w `[n]`, every
    term of these rows is multiplied by its row's w, through which gradients flow, except for the
    two that stand outside of the expectation over latents: log p(y), the observed site "y" or
    "y_known" of the model, and the guide's factor "classification".

    With w = q(y|z)/q(y|x) this is eq. 4 of Joy et al. (2021): an expectation over q(z|x,y), taken
    by draws from q(z|x).
    """

    def _get_trace(
        self, model: Program, guide: Program, args: Any, kwargs: Any
    ) -> tuple[Trace, Trace]:
        model_trace, guide_trace = super()._get_trace(model, guide, args, kwargs)
        weights: dict[str, Tensor] = {}
        for site in sample_sites(guide_trace):
            part, _, own = site["name"].rpartition("/")
            if own == WEIGHT:
                weights[part] = site["value"]
        for trace in (model_trace, guide_trace):
            for site in sample_sites(trace):
                part, _, own = site["name"].rpartition("/")
                known = own in ("y", "y_known") and site["is_observed"]
                if part in weights and not known and own not in ("classification", WEIGHT):
                    site["row_weight"] = weights[part]
        return model_trace, guide_trace

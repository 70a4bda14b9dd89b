"""The ELBO that weighs each labelled row by how well its draw explains the label."""

from typing import Any

import pyro.distributions as dist
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.elbos.names import CLASSIFICATION, WEIGHT, split_name
from pyro_ssl.elbos.sites import bound_weight, sample_sites
from pyro_ssl.elbos.terms import Program
from pyro_ssl.errors import ObjectiveError


class RowWeight(dist.Delta):
    """The distribution of a guide's auxiliary site "weight": the weight of each row's terms.

    Its draws, traces and log-probabilities are those of `Delta`. An ELBO that does not read the
    weight would silently optimise another objective, so this class makes it raise an error.
    """

    def score_parts(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Raise an error: only an ELBO that does not read the weight calls this method.

        Raises:
            ObjectiveError: always.
        """
        raise ObjectiveError(
            "this guide weighs the rows whose label is known (its site 'weight'), which the ELBO "
            "in use does not read: it would optimise another objective. Use the model's own ELBO, "
            "SVI(m.model, m.guide, optimiser, m.make_elbo())"
        )


class LabelWeighted_ELBO(StaticEnum_ELBO):  # noqa: N801  (named like Pyro's TraceEnum_ELBO)
    """`StaticEnum_ELBO`, with the terms of labelled rows multiplied by a weight from the guide.

    A guide may have, for labelled rows, an auxiliary site "weight" that is a `RowWeight` of value w
    `[n]`. Every term of these rows is then multiplied by its row's w, and gradients flow through w.
    Terms outside of the expectation over latents are not multiplied: log p(y), which is the
    observed site "y" or "y_known" of the model; the guide's factor "classification"; and the terms
    that the guide adds beside the bound (`add_term`).

    With w = q(y|z)/q(y|x) this is eq. 4 of Joy et al. (2021): an expectation over q(z|x,y),
    estimated with draws from q(z|x).
    """

    def _get_trace(
        self, model: Program, guide: Program, args: Any, kwargs: Any
    ) -> tuple[Trace, Trace]:
        guide = _ReadsWeights()(guide)
        traces = super()._get_trace(model, guide, args, kwargs)
        set_row_weights(*traces)
        return traces


def set_row_weights(model_trace: Trace, guide_trace: Trace) -> None:
    """Store each site's row weights, if the guide has some, see `LabelWeighted_ELBO`."""
    weights: dict[str, Tensor] = {}
    for site in sample_sites(guide_trace):
        part, own = split_name(site["name"])
        if own == WEIGHT:
            weights[part] = site["value"]
    for trace in (model_trace, guide_trace):
        for site in sample_sites(trace):
            part, own = split_name(site["name"])
            outside = own in ("y", "y_known") and site["is_observed"]
            if trace is guide_trace:
                outside = own == CLASSIFICATION or not bound_weight(site)
            if part in weights and not outside:
                site["row_weight"] = weights[part]


class _ReadsWeights(Messenger):
    """Replaces `RowWeight` by `Delta`, which raises no error, for an ELBO that reads weights."""

    def _pyro_sample(self, msg: Any) -> None:
        if isinstance(msg["fn"], RowWeight):
            msg["fn"] = dist.Delta(msg["fn"].v)

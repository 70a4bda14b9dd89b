"""The terms of an objective, read from the traces of the training step itself."""

import copy
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from pyro.infer import ELBO, TraceMeanField_ELBO
from pyro.ops.provenance import detach_provenance
from pyro.poutine import Trace
from torch import Tensor

from pyro_ssl.elbos import names
from pyro_ssl.elbos.closed_form import use_closed_form_kls
from pyro_ssl.elbos.sites import (
    Site,
    bound_weight,
    class_weights,
    depends_on,
    is_enumerated,
    is_factor,
    row_weight,
    sample_sites,
)

Program = Callable[..., Any]
Traces = tuple[Trace, Trace]

# The name of the plate that Pyro's ELBOs put around a program with `vectorize_particles=True`.
_PARTICLES = "num_particles_vectorized"


class KeepsTraces:
    """A base class that makes an ELBO keep its (model, guide) traces.

    Every Pyro ELBO makes its traces in the method `_get_trace`. Keeping them saves reports a second
    evaluation.

    Attributes:
        traces: a pair of traces for each particle, since the list was last emptied.
    """

    traces: list[Traces]

    def _get_trace(self, *args: Any) -> Traces:
        made: Traces = super()._get_trace(*args)  # type: ignore[misc]
        self.traces.append(made)
        return made


def keeping_traces(elbo: ELBO) -> Any:
    """Return a copy of `elbo` whose class also derives from `KeepsTraces`."""
    if isinstance(elbo, KeepsTraces):
        return elbo
    twin = copy.copy(elbo)
    twin.__class__ = _joined(type(elbo))  # type: ignore[arg-type]
    twin.traces = []
    return twin


@cache
def _joined(kind: Any) -> Any:
    return type(kind.__name__, (KeepsTraces, kind), {})


def loss_and_traces(
    elbo: ELBO, model: Program, guide: Program, *args: Any
) -> tuple[Tensor, list[Traces]]:
    """Return the `differentiable_loss` of any Pyro ELBO, and the traces that it comes from.

    Args:
        elbo: the ELBO; it is copied unless it comes from `keeping_traces`.
        model: the generative program.
        guide: the variational program.
        args: the programs' arguments.

    Returns:
        The loss, a scalar in nats, and a (model, guide) pair of traces for each particle.
    """
    keeper = keeping_traces(elbo)
    keeper.traces = []
    try:
        loss = keeper.differentiable_loss(model, guide, *args)
        return loss, keeper.traces
    finally:
        # Emptied, since traces keep all tensors of the step in memory.
        keeper.traces = []


def loss_and_terms(
    elbo: ELBO, model: Program, guide: Program, *args: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the `differentiable_loss` of any Pyro ELBO, and its `objective_terms`."""
    loss, traces = loss_and_traces(elbo, model, guide, *args)
    return loss, terms_of(elbo, traces)


def terms_of(elbo: ELBO, traces: Sequence[Traces]) -> dict[str, Tensor]:
    """Return the `objective_terms` of an evaluation's traces, as means over particles."""
    each = []
    for pair in traces:
        if isinstance(elbo, TraceMeanField_ELBO):
            # The ELBO computes these outside of its traces.
            use_closed_form_kls(*pair)
        each.append(objective_terms(*pair))
    if len(each) == 1:
        return each[0]
    return {name: torch.stack([terms[name] for terms in each]).mean(0) for name in each[0]}


def objective_terms(model_trace: Trace, guide_trace: Trace) -> dict[str, Tensor]:
    """Return the mean over rows of each term of the objective, a scalar in nats per example.

    Names, prefixed with `labelled_` or `unlabelled_` in a call that mixes both:

    - `elbo`: the bound itself, including the share of the guide's factors that belongs to it, see
      `bound_weight`;
    - `kl_SITE`: E_q[log q - log p] of a latent site, or the value of a guide's factor of that name.
      A program uses such a factor for a divergence that it computes itself, or for log q of an
      observed label (`CCVAE`), whose log p is `log_prob_SITE`;
    - `log_prob_SITE`: E_q[log p] of an observed site, or the value of a factor of the model;
    - `classification` (never prefixed): -log q(y|x) of labelled rows, unweighted; `elbo` leaves it
      out even where it belongs to the bound (`CCVAE`);
    - any other factor of the guide, by its own name (never prefixed), unweighted;
    - `weight` (never prefixed): the mean weight of `LabelWeighted_ELBO`, near 1. All terms here are
      already multiplied by the rows' weights.

    Expectations over enumerated sites are exact sums; all others use the step's own samples.
    """
    terms: dict[str, Tensor] = {}
    labels = [site for site in sample_sites(guide_trace) if is_enumerated(site)]
    for site in sample_sites(guide_trace):
        part, own = names.split_name(site["name"])
        if own == names.WEIGHT:
            _add(terms, own, site["value"].detach().mean())
            continue
        value, in_bound = _expectation(site, labels), bound_weight(site)
        if not is_factor(site):
            _add(terms, names.reported(names.kl(own), part), value)
        else:
            _add(terms, names.reported(own, part if names.is_kl(own) else ""), value)
        if in_bound and own != names.CLASSIFICATION:
            _add(terms, names.reported(names.ELBO, part), -in_bound * value)
    for site in sample_sites(model_trace):
        part, own = names.split_name(site["name"])
        value = _expectation(site, labels)
        if site["name"] in guide_trace.nodes:
            _add(terms, names.reported(names.kl(own), part), -value)
        else:
            _add(terms, names.reported(names.log_prob(own), part), value)
        _add(terms, names.reported(names.ELBO, part), value)
    return terms


def first_non_finite(model_trace: Trace, guide_trace: Trace) -> str | None:
    """Return the first site, guide before model, whose value or log-probability is not finite."""
    for trace in (guide_trace, model_trace):
        for site in sample_sites(trace):
            for tensor in (site["value"], site["unscaled_log_prob"]):
                if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                    return site["name"]
    return None


def _add(terms: dict[str, Tensor], name: str, value: Tensor) -> None:
    terms[name] = terms[name] + value if name in terms else value


def _expectation(site: Site, labels: list[Site]) -> Tensor:
    """Return E_q of a site's log-probability, averaged over the rows of its plate."""
    # TraceGraph_ELBO tracks the provenance of tensors in a way that cannot be compiled.
    log_prob = detach_provenance(site["unscaled_log_prob"]).detach()
    rows = log_prob.shape[-1] if log_prob.dim() else 1
    for plate in site["cond_indep_stack"]:
        if plate.name == _PARTICLES:
            rows = rows * plate.size
    weight: Any = 1.0
    for label in labels:
        if depends_on(log_prob, label):
            weight = weight * class_weights(label)
    if isinstance(weight, Tensor):
        # A class of probability 0 may have log-probability -inf: its share is 0, not NaN.
        log_prob = torch.where(weight > 0, weight * log_prob, 0.0)
    if isinstance(site["mask"], Tensor):
        log_prob = torch.where(site["mask"], log_prob, 0.0)
    of_rows = row_weight(site)
    if isinstance(of_rows, Tensor):
        log_prob = of_rows.detach() * log_prob
    return log_prob.sum() / rows

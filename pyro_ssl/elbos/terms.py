"""The terms of an enumerated ELBO, read off the traces of the step that trained on them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyro.infer import ELBO
from pyro.ops.provenance import detach_provenance
from pyro.poutine import Trace
from torch import Tensor

from pyro_ssl.elbos.sites import (
    WEIGHT,
    Site,
    class_weights,
    depends_on,
    is_enumerated,
    row_weight,
    sample_sites,
)

Traces = tuple[Trace, Trace]


@contextmanager
def recorded_traces(elbo: ELBO) -> Iterator[list[Traces]]:
    """Collect the (model, guide) traces of every evaluation of `elbo` within the context.

    Every Pyro ELBO makes its traces in `_get_trace`, the method its subclasses implement;
    this wraps that method on one instance, so that no second pass is needed for reporting.
    """
    traces: list[Traces] = []
    get_trace: Callable[..., Traces] = elbo._get_trace

    def recording_get_trace(*args: Any) -> Traces:
        traces.append(get_trace(*args))
        return traces[-1]

    nested = "_get_trace" in vars(elbo)
    elbo._get_trace = recording_get_trace
    try:
        yield traces
    finally:
        if nested:
            elbo._get_trace = get_trace
        else:
            del elbo._get_trace


def objective_terms(model_trace: Trace, guide_trace: Trace) -> dict[str, Tensor]:
    """Return the means over rows of every term of the objective, in nats per example.

    Names, prefixed with `labelled_` or `unlabelled_` in a call that mixes both:

    - `elbo`: the bound itself, without the classification term;
    - `kl_SITE`: E_q[log q - log p] of a latent site, and the value of a guide's factor of that
      very name, by which a program may give a divergence itself, or log q of a label that is
      observed (`CCVAE`), whose log p is `log_prob_SITE`;
    - `log_prob_SITE`: E_q[log p] of an observed site;
    - `classification` (never prefixed): -log q(y|x) of labelled rows, unweighted;
    - `weight` (never prefixed): what `LabelWeighted_ELBO` multiplies terms by, which are given here
      as multiplied. Near 1 in the mean.

    Expectations over enumerated sites are exact sums, others are the step's own samples.
    """
    terms: dict[str, Tensor] = {}
    labels = [site for site in sample_sites(guide_trace) if is_enumerated(site)]
    for site in sample_sites(guide_trace):
        name = site["name"]
        own = name.split("/")[-1]
        if own == WEIGHT:
            _add(terms, own, site["value"].detach().mean())
            continue
        value = _expectation(site, labels)
        is_factor = site["infer"].get("is_auxiliary")
        if is_factor and not own.startswith("kl_"):
            _add(terms, own, value)
        else:
            _add(terms, _term(name, "" if is_factor else "kl"), value)
            _add(terms, _term(name, "elbo", ""), -value)
    for site in sample_sites(model_trace):
        name = site["name"]
        value = _expectation(site, labels)
        if name in guide_trace.nodes:
            _add(terms, _term(name, "kl"), -value)
        else:
            _add(terms, _term(name, "log_prob"), value)
        _add(terms, _term(name, "elbo", ""), value)
    return terms


def first_non_finite(model_trace: Trace, guide_trace: Trace) -> str | None:
    """Return the first site, guide before model, whose value or log-probability is not finite."""
    for trace in (guide_trace, model_trace):
        for site in sample_sites(trace):
            for tensor in (site["value"], site["unscaled_log_prob"]):
                if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                    return site["name"]
    return None


def _term(name: str, kind: str, site: str | None = None) -> str:
    part, _, own = name.rpartition("/")
    return "_".join(filter(None, [part, kind, own if site is None else site]))


def _add(terms: dict[str, Tensor], name: str, value: Tensor) -> None:
    terms[name] = terms[name] + value if name in terms else value


def _expectation(site: Site, labels: list[Site]) -> Tensor:
    """Return E_q of a site's log-probability, averaged over the rows of its plate."""
    # TraceGraph_ELBO tracks where its tensors come from, in a way that no compiler follows.
    log_prob = detach_provenance(site["unscaled_log_prob"]).detach()
    rows = log_prob.shape[-1]
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

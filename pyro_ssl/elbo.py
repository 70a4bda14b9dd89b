"""ELBOs with an explicit sum over an enumerable label, exact or Rao-Blackwellised."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions.util import is_identically_zero, scale_and_mask
from pyro.infer import ELBO
from pyro.infer.enum import get_importance_trace
from pyro.poutine import Trace
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import kl_divergence

from pyro_ssl.errors import ConfigError
from pyro_ssl.sites import (
    Site,
    class_weights,
    enumeration_dim,
    is_enumerated,
    sample_sites,
)

Program = Callable[..., Any]


class StaticEnum_ELBO(ELBO):  # noqa: N801  (named like Pyro's TraceEnum_ELBO)
    """The enumerated ELBO, computed without a look at any value.

    It has the value and the gradient of Pyro's `TraceEnum_ELBO` for the programs it takes:
    discrete latents are in the guide, marked `infer={"enumerate": "parallel"}`, and no term
    depends on two of them; all other latents are reparameterised. Pyro's looks at tensors on the
    way (masks, NaN warnings), for which a GPU makes the host wait and neither a CUDA graph nor a
    compiler can follow; here shapes follow from the program alone.

    With w_j = q(y_j|x) detached, and f_j the terms of class j, log p - log q, the sum over
    classes is

        sum_j w_j [f_j + (f_j - b) (log q(y_j|x) - log q(y_j|x))]

    where in the product f_j, b and the second log q are detached: a product of value zero
    that carries the gradient. It is that of sum_j q_j f_j whatever b, since the q_j sum to
    one; b is the mean of f, so that rounding errors have the size of its spread.

    Args:
        max_plate_nesting: plates around a site, at most.
        closed_form_kl: take KL(q(z|.) || p(z|.)) of continuous latents in closed form where
            torch knows one, which spares the gradient a part of its noise. Model and guide
            must then draw their latents in the same order.

    Raises:
        ConfigError: when evaluated on programs that it does not take.
    """

    def __init__(self, max_plate_nesting: int = 1, closed_form_kl: bool = False) -> None:
        super().__init__(max_plate_nesting=max_plate_nesting)
        self.closed_form_kl = closed_form_kl

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return the negative ELBO in nats, a scalar, summed over rows."""
        model_trace, guide_trace = self._get_trace(model, guide, args, kwargs)
        labels = [site for site in sample_sites(guide_trace) if is_enumerated(site)]
        loss: Any = 0.0
        for site in sample_sites(guide_trace):
            log_prob = site["log_prob"]
            # E_q[grad log q(y)] is zero: left out, it spares a sampled label its noise.
            loss = loss + _expected(log_prob.detach() if is_enumerated(site) else log_prob, labels)
        for site in sample_sites(model_trace):
            loss = loss - _expected(site["log_prob"], labels)
        return loss

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return the negative ELBO in nats and add its gradient to the parameters'."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        loss.backward()
        return loss.item()

    @torch.no_grad()
    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return the negative ELBO in nats, summed over rows."""
        return self.differentiable_loss(model, guide, *args, **kwargs).item()

    def _get_trace(
        self, model: Program, guide: Program, args: Any, kwargs: Any
    ) -> tuple[Trace, Trace]:
        """Run the guide with the classes of `_chooser`, then the model against it."""
        guide = self._chooser()(guide)
        traces = get_importance_trace("flat", self.max_plate_nesting, model, guide, args, kwargs)
        _check_summable(*traces)
        if self.closed_form_kl:
            _use_closed_form_kls(*traces)
        return traces

    def _chooser(self) -> Messenger:
        return EnumMessenger(first_available_dim=-1 - self.max_plate_nesting)


class RaoBlackwell_ELBO(StaticEnum_ELBO):  # noqa: N801
    """An unbiased estimate of the enumerated ELBO from some of the classes.

    For each row the `num_summed` likeliest classes C under the guide enter with weight
    w_j = q(y_j|x), and one class drawn from the others, in proportion to q, with weight
    1 - sum_C q(y_j|x). Value and gradient are those of `StaticEnum_ELBO`'s formula over these
    classes, with the mean of f over C as b; over the draw, both are unbiased, and b, which the
    draw does not enter, only lowers the variance. The programs' cost grows with `num_summed`
    and not with the number of classes. Where `num_summed + 1` is no fewer than the classes,
    all are summed.

    Source: Liu, Regier, Tripuraneni, Jordan, McAuliffe, "Rao-Blackwellized stochastic gradients
    for discrete distributions", ICML 2019, section 3.

    Args:
        num_summed: classes summed for each row.
        max_plate_nesting: plates around a site, at most.

    Raises:
        ConfigError: if `num_summed` is below 1, or, when evaluated, on programs that
            `StaticEnum_ELBO` does not take.
    """

    def __init__(self, num_summed: int = 1, max_plate_nesting: int = 1) -> None:
        super().__init__(max_plate_nesting)
        if num_summed < 1:
            raise ConfigError(f"num_summed is {num_summed}, expected at least 1")
        self.num_summed = num_summed

    def _chooser(self) -> Messenger:
        return _SumAndSample(self.num_summed, first_available_dim=-1 - self.max_plate_nesting)


class _SumAndSample(EnumMessenger):
    """Enumerates the likeliest classes of each row and one of the rest."""

    def __init__(self, num_summed: int, first_available_dim: int) -> None:
        super().__init__(first_available_dim)
        self.num_summed = num_summed

    @torch.no_grad()
    def _pyro_sample(self, msg: Any) -> None:
        before = msg["value"]
        super()._pyro_sample(msg)
        if msg["value"] is before:
            return
        fn, k = msg["fn"], self.num_summed
        log_q = fn.log_prob(fn.enumerate_support(expand=False))
        if len(log_q) <= k + 1:
            return
        top_log_q, top = log_q.topk(k, dim=0)
        # The largest of log q + Gumbel noise is a draw in proportion to q.
        noise = -(-torch.rand_like(log_q).log()).log()
        drawn = (log_q + noise).scatter(0, top, -torch.inf).argmax(0, keepdim=True)
        rest = (1 - top_log_q.exp().sum(0, keepdim=True)).clamp(min=0)
        # Where no other class is possible, what is left is rounding: nothing.
        rest = torch.where(log_q.gather(0, drawn) > -torch.inf, rest, 0.0)
        weights = torch.cat([top_log_q.exp(), rest])
        chosen = torch.cat([top, drawn])
        support = fn.enumerate_support(expand=True)
        index = chosen.reshape(chosen.shape + (1,) * fn.event_dim)
        value = support.gather(0, index.expand(chosen.shape + fn.event_shape))
        # From the leftmost dimension of the batch to the one reserved for the classes.
        padding = (1,) * (-1 - msg["infer"]["_enumerate_dim"] - len(fn.batch_shape))
        msg["value"] = value.reshape(value.shape[:1] + padding + value.shape[1:])
        weights = weights.reshape(weights.shape[:1] + padding + weights.shape[1:])
        msg["infer"]["_class_weights"] = weights
        msg["infer"]["_num_summed"] = k


def _expected(log_prob: Tensor, labels: list[Site]) -> Tensor:
    """Return the sum over rows of E_q[log_prob], which carries the expectation's gradient."""
    ours = [label for label in labels if _depends(log_prob, label)]
    if not ours:
        return log_prob.sum()
    if len(ours) > 1:
        names = " and ".join(label["name"] for label in ours)
        raise ConfigError(f"one term depends on the enumerated sites {names}, expected one of them")
    (label,) = ours
    dim = enumeration_dim(label)
    weights = class_weights(label)
    summed = label["infer"].get("_num_summed", weights.shape[dim])
    # An impossible class counts for nothing, also where its terms are infinite.
    log_prob = torch.where(weights > 0, log_prob, 0.0)
    log_q = torch.where(weights > 0, label["unscaled_log_prob"], 0.0)
    value = log_prob.detach()
    baseline = (weights * value).narrow(dim, 0, summed).sum(dim, keepdim=True)
    baseline = baseline / weights.narrow(dim, 0, summed).sum(dim, keepdim=True)
    score = (value - baseline) * (log_q - log_q.detach())
    return (weights * (log_prob + score)).sum()


def _depends(log_prob: Tensor, label: Site) -> bool:
    dim = enumeration_dim(label)
    return log_prob.dim() >= -dim and log_prob.shape[dim] > 1


def _use_closed_form_kls(model_trace: Trace, guide_trace: Trace) -> None:
    """Replace log q by the KL divergence and log p by zero, at each latent that has one."""
    shared = [s["name"] for s in sample_sites(guide_trace) if s["name"] in model_trace.nodes]
    in_model = [s["name"] for s in sample_sites(model_trace) if s["name"] in guide_trace.nodes]
    if shared != in_model:
        # What a latent's prior depends on must be drawn before it, or the KL is another one.
        raise ConfigError(
            f"the guide draws its latents in the order {', '.join(shared)}, the model in the order "
            f"{', '.join(in_model)}: use closed_form_kl=False"
        )
    for name in shared:
        guide_site, model_site = guide_trace.nodes[name], model_trace.nodes[name]
        if is_enumerated(guide_site):
            continue
        try:
            kl = kl_divergence(guide_site["fn"], model_site["fn"])
        except NotImplementedError:
            continue
        for site, value in ((guide_site, kl), (model_site, torch.zeros_like(kl))):
            site["unscaled_log_prob"] = value
            site["log_prob"] = scale_and_mask(value, site["scale"], site["mask"])


def _check_summable(model_trace: Trace, guide_trace: Trace) -> None:
    for site in sample_sites(guide_trace):
        if is_enumerated(site):
            if site["infer"].get("num_samples") is not None:
                raise ConfigError(
                    f"site {site['name']!r} of the guide asks for num_samples draws, expected all "
                    "classes: leave num_samples out, or use TraceTMC_ELBO"
                )
        elif not is_identically_zero(site["score_parts"].score_function):
            raise ConfigError(
                f"site {site['name']!r} of the guide is neither enumerated nor reparameterised: "
                'mark it infer={"enumerate": "parallel"} (a factor, has_rsample=True), or use '
                "TraceGraph_ELBO"
            )
    for site in sample_sites(model_trace):
        if not site["is_observed"] and site["name"] not in guide_trace.nodes:
            raise ConfigError(
                f"site {site['name']!r} of the model is not in the guide: give it one, or use "
                "TraceEnum_ELBO, which can enumerate it in the model"
            )

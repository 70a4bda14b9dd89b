"""Bounds on log p(x) and on log p(x, y), and the KL divergence of each latent dimension."""

import math

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from pyro_ssl.elbos.label_weighted import set_row_weights
from pyro_ssl.elbos.sites import bound_weight, row_weight, sample_sites
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.models.base import PyroModel, SSLModel
from pyro_ssl.models.calls import check_model_labels
from pyro_ssl.models.rows import Batch
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.option_kinds import Size
from pyro_ssl.options import checked


@checked
@torch.no_grad()
def importance_weighted_bound(
    model: PyroModel, xs: Tensor, num_samples: Size = 1, at_once: Size = 4000
) -> Tensor:
    """Return an estimate of the importance-weighted bound on log p(x) of each row, `[N]`, in nats.

    With k = `num_samples` draws h_i of all latents from the guide, it is the expectation of::

        log 1/k sum_i p(x, h_i) / q(h_i | x)

    It is the ELBO for k = 1, grows with k, and tends to log p(x) (Burda, Grosse, Salakhutdinov,
    "Importance weighted autoencoders", ICLR 2016, theorem 1). Labels count as latents; they are
    drawn, not summed. A factor of the guide counts only if it belongs to the bound: `kl_SITE`, or
    `add_term` with a `bound_weight`. The model is in evaluation mode.

    Args:
        model: a model with a plate of rows at dimension -1, and other plates within its
            `max_plate_nesting`.
        xs: inputs `[N, *input_shape]`.
        num_samples: k.
        at_once: number of draws evaluated together (rows times samples), to limit the memory.

    Raises:
        ConfigError: if `num_samples` is below 1.
        DataError: if the model does not take `xs`.
    """
    model.check(xs)
    bounds = [xs.new_zeros(0)]
    store = pyro.get_param_store()
    with evaluating(model), store.scope(), pyro.validation_enabled(False):
        for rows in xs.split(max(1, at_once // num_samples)):
            log_sum = rows.new_full((len(rows),), -math.inf)
            left = num_samples
            while left > 0 and len(rows):
                drawn = min(left, max(1, at_once // len(rows)))
                drawn_weights = log_weights(model, Batch(rows), drawn)
                log_sum = torch.logaddexp(log_sum, drawn_weights.logsumexp(0))
                left -= drawn
            bounds.append(log_sum - math.log(num_samples))
    return torch.cat(bounds)


def log_weights(
    model: PyroModel, batch: Batch, num_samples: int, only_latents: bool = False
) -> Tensor:
    """Return log p(x, h) - log q(h | x) of `num_samples` draws h for each row, `[S, B]`.

    If the batch has labels, both are those of (x, y). The model must be in evaluation mode, within
    a scope of Pyro's parameter store.

    Args:
        model: the model.
        batch: rows of one kind.
        num_samples: number of draws S.
        only_latents: leave out what else a guide adds to its bound, and weights of rows.
    """
    with pyro.plate("importance_samples", num_samples, dim=-1 - model.max_plate_nesting):
        zeros = batch.xs.new_zeros(num_samples, len(batch.xs))
        return _log_ratio(model, batch, zeros, only_latents)


def _log_ratio(model: PyroModel, batch: Batch, zeros: Tensor, only_latents: bool = False) -> Tensor:
    """Return log p - log q of draws from the guide: `zeros` plus the contributions of all sites.

    Terms of rows that the guide weighs are multiplied by the weight, see `LabelWeighted_ELBO`.
    """
    guide_trace = poutine.trace(model.guide).get_trace(batch)
    replayed = poutine.replay(model.model, trace=guide_trace)
    model_trace = poutine.trace(replayed).get_trace(batch)
    if not only_latents:
        set_row_weights(model_trace, guide_trace)
    total = zeros
    for trace, sign in ((model_trace, 1), (guide_trace, -1)):
        for site in sample_sites(trace):
            if isinstance(site["fn"], poutine.subsample_messenger._Subsample):
                continue
            # A guide's terms beside the bound do not count; a model's factors do.
            share = bound_weight(site) if trace is guide_trace else 1.0
            added = trace is guide_trace and site["is_observed"]
            if not share or (only_latents and added):
                continue
            log_prob = site["fn"].log_prob(site["value"])
            if site["mask"] is not None:
                log_prob = torch.where(torch.as_tensor(site["mask"]), log_prob, 0.0)
            log_prob = share * row_weight(site) * log_prob
            while log_prob.dim() > zeros.dim():
                # Sum over a plate between the plate of samples and that of rows.
                log_prob = log_prob.sum(-2)
            total = total + sign * log_prob
    return total


@checked
@torch.no_grad()
def joint_bound(model: PyroModel, xs: Tensor, ys: Tensor, at_once: Size = 4000) -> Tensor:
    """Return an estimate of the bound on log p(x, y) of each row, `[N]`, in nats.

    For a draw h of the latents from the guide, this is log p(x, y, h) - log q(h | x, y). Its
    expectation for M2 is -L(x, y), eq. 6 of Kingma et al. (2014). Weights of terms, and terms
    beside the bound, do not count. Rows of `CCVAE` are weighted as in its objective, which contains
    log q(y|x). The model is in evaluation mode.

    Args:
        model: a model of p(x, y).
        xs: inputs `[N, *input_shape]`.
        ys: their labels `[N]`; or attributes `[N, L]`, -1 where unknown, some known in each row.
        at_once: number of rows evaluated together, to limit the memory.

    Raises:
        ConfigError: if the model has only p(y|x).
        DataError: if the model does not take `xs`, or `ys` are not labels for it.
    """
    check_has_joint_bound(model)
    model.check(xs)
    if isinstance(model, SSLModel) or model.real_labels:
        some_unknown = isinstance(model, SSLModel) and model.multi_label
        check_model_labels(model, ys, xs.shape[:1], some_unknown)
    bounds, store = [xs.new_zeros(0)], pyro.get_param_store()
    with evaluating(model), store.scope(), pyro.validation_enabled(False):
        for rows, labels in zip(xs.split(at_once), ys.split(at_once), strict=True):
            batch = Batch(rows, labels, len(rows))
            bounds.append(_log_ratio(model, batch, rows.new_zeros(len(rows))))
    return torch.cat(bounds)


def check_has_joint_bound(model: PyroModel) -> None:
    """Check that a model has a bound on log p(x, y).

    Raises:
        ConfigError: if the model has only p(y|x).
    """
    if not model.learns_from_unlabelled:
        raise ConfigError(
            f"{type(model).__name__} is a model of p(y|x) alone and has no bound on log p(x, y): "
            'use a model of both, or select="accuracy" in fit'
        )


@checked
@torch.no_grad()
def kl_per_dimension(model: PyroModel, xs: Tensor, site: str = "z") -> Tensor | None:
    """Return KL(q(z_d|x) || p(z_d)) of each dimension of a latent, `[D]`, in nats.

    This is the mean over rows; other latents that the site depends on, such as a label, are drawn
    from the guide. A dimension that the model does not use has a KL near 0. The model is in
    evaluation mode.

    Args:
        model: a model with a plate of rows at dimension -1.
        xs: inputs `[N, *input_shape]`.
        site: name of the latent.

    Returns:
        The divergences, or None if the model has no such latent, or its dimensions are not
        independent normal distributions in guide and model.

    Raises:
        DataError: if the model does not take `xs`, or `xs` has no rows.
    """
    model.check(xs)
    if not len(xs):
        raise DataError("xs has no rows, over which a mean could be taken")
    store = pyro.get_param_store()
    with evaluating(model), store.scope(), pyro.validation_enabled(False):
        guide_trace = poutine.trace(model.guide).get_trace(xs)
        replayed = poutine.replay(model.model, trace=guide_trace)
        model_trace = poutine.trace(replayed).get_trace(xs)
    if site not in guide_trace.nodes or site not in model_trace.nodes:
        return None
    families = [trace.nodes[site]["fn"] for trace in (guide_trace, model_trace)]
    if not all(
        isinstance(f, Independent)
        and f.reinterpreted_batch_ndims == 1
        and isinstance(f.base_dist, Normal)
        for f in families
    ):
        return None
    q, p = (family.base_dist for family in families)
    return kl_divergence(q, p).mean(0)

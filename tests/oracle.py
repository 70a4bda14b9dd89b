"""The models' objectives written out by hand, with a Python loop over the classes.

They share the networks with the model under test and nothing else: densities, sums and
weights are spelled out from Kingma et al. (2014). The only other thing taken from the run
under test is its noise, recovered from the recorded latents, so that both sides are
deterministic functions of the same numbers.
"""

import math
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.likelihoods import Bernoulli, Laplace, Likelihood
from pyro_ssl.models import M2, VAE, LatentM2, PyroModel

# Options under which a classifier is a function of one row, as in every formula below.
UNREGULARISED = {"batch_norm": False, "input_dropout": 0.0}
# With them and this weight a model's objective is written without further ado.
PLAIN = UNREGULARISED | {"alpha": 1.0}


def unpacked(batch):
    """Inputs, labels, and the number of labelled rows of a batch."""
    return batch.xs, batch.ys, batch.num_labelled


@contextmanager
def recorded_traces(elbo):
    """Collect the (model, guide) traces of every evaluation of `elbo` within the context."""
    traces, get_trace, nested = [], elbo._get_trace, "_get_trace" in vars(elbo)

    def recording(*args):
        traces.append(get_trace(*args))
        return traces[-1]

    elbo._get_trace = recording
    try:
        yield traces
    finally:
        if nested:
            elbo._get_trace = get_trace
        else:
            del elbo._get_trace


def run(model, elbo, xs, *args):
    """Return the loss of an ELBO and the model trace it came from."""
    with recorded_traces(elbo) as traces:
        loss = elbo.differentiable_loss(model.model, model.guide, xs, *args)
    return loss, traces[-1][0]


def log_p_y(model) -> Tensor:
    """log p(y) of each class, `[K]`."""
    if model.label_prior == "uniform":
        return torch.full((model.num_classes,), -math.log(model.num_classes), dtype=torch.float64)
    if model.label_prior == "learned":
        return model.p_y.logits - model.p_y.logits.exp().sum().log()
    return torch.tensor(model.label_prior, dtype=torch.float64).log()


def seen(model: M2, xs: Tensor) -> Tensor:
    """What classifier and encoder see of inputs."""
    return model.image_encoder(model.likelihood.features(xs, model.input_shape))


def log_px(model: PyroModel, xs: Tensor, outputs: Tensor) -> Tensor:
    """log p(x|.) of inputs `[B, P]` whose decoder's outputs are `[B, F]`, `[B]`."""
    parts = getattr(model.likelihood, "columns", None)
    shared = model.likelihood_parameters
    if parts is None:
        return values_log_prob(model.likelihood, xs, outputs, shared)
    # One column after the other: no two of a family may be side by side here.
    total, at, start = torch.zeros(len(xs)).double(), 0, 0
    for column, family in enumerate(parts):
        outer, inner = family.output_shape((1,))[0], family.num_shared((1,))
        own = None if shared is None else shared[start : start + inner]
        for row in range(len(xs)):
            x = xs[row : row + 1, column : column + 1]
            if not bool(x.isnan()):
                of_column = outputs[row : row + 1, at : at + outer]
                each = torch.zeros(len(xs)).double()
                each[row] = 1
                total = total + each * values_log_prob(family, x, of_column, own)
        at, start = at + outer, start + inner
    return total


def values_log_prob(
    family: Likelihood, xs: Tensor, outputs: Tensor, shared: Tensor | None
) -> Tensor:
    """log p(x|.) by torch's own densities, `[B]`, of values `[B, P]`."""
    name, width = type(family).__name__, xs.shape[1]
    first, second = outputs[:, :width], outputs[:, width:]
    t = torch.distributions
    if name == "Multinomial":
        return (xs * first.log_softmax(-1)).sum(-1)
    if name == "Categorical":
        scores = outputs.view(len(xs), family.num_categories, width)
        return -F.cross_entropy(scores, xs.long(), reduction="none").sum(-1)
    if name == "Ordinal":
        return ordinal_log_prob(xs, outputs, shared.view(width, -1))
    if name == "Bernoulli":
        found = t.Bernoulli(logits=first, validate_args=False).log_prob(xs)
    elif name == "Poisson":
        found = t.Poisson(first.exp()).log_prob(xs)
    elif name == "Laplace":
        found = t.Laplace(first.sigmoid(), family.scale).log_prob(xs)
    else:
        raw = second if second.numel() else shared
        if name == "NegativeBinomial":
            total = 1e-3 + F.softplus(raw) if family.total_count is None else family.total_count
            logits = first - torch.as_tensor(total).log()
            found = t.NegativeBinomial(total, logits=logits).log_prob(xs)
        else:
            df = None if raw is None else 1.01 + F.softplus(raw[-1:])
            scale = family.scale or family.min_scale + F.softplus(
                raw[:-1] if getattr(family, "df", 1.0) is None else raw
            )
            if name == "StudentT":
                found = t.StudentT(family.df or df, first, scale).log_prob(xs)
            else:
                kind = {"Gaussian": t.Normal, "LogNormal": t.LogNormal}[name]
                found = kind(first, scale).log_prob(xs)
    return found.sum(-1)


def ordinal_log_prob(xs: Tensor, loc: Tensor, raw: Tensor) -> Tensor:
    """log p(x|.) of levels as differences of cumulative probabilities."""
    total = torch.zeros(len(xs)).double()
    for d in range(xs.shape[1]):
        steps = 0.01 + F.softplus(raw[d, 1:])
        thresholds = torch.cat([raw[d, :1], raw[d, 0] + steps.cumsum(0)])
        below = (thresholds - loc[:, d : d + 1]).sigmoid()
        below = F.pad(F.pad(below, (1, 0), value=0.0), (0, 1), value=1.0)
        rows = torch.arange(len(xs))
        level = xs[:, d].long()
        total = total + (below[rows, level + 1] - below[rows, level]).log()
    return total


def posterior(model: M2, xs: Tensor, ys: Tensor) -> tuple[Tensor, Tensor]:
    loc, raw = model.encoder(seen(model, xs), ys).chunk(2, -1)
    return loc, F.softplus(raw) + 1e-4


def pixel_log_prob(model: M2, xs: Tensor, outputs: Tensor) -> Tensor:
    """log p(x|.) of images in [0, 1] whose decoder's outputs are `[..., P]`, `[...]`."""
    if len(model.input_shape) == 1:
        return log_px(model, xs, outputs)
    logits, values = model.image_decoder(outputs).flatten(-3), xs.flatten(1)
    if isinstance(model.likelihood, Laplace):
        size = model.likelihood.scale
        return (-(values - logits.sigmoid()).abs() / size - math.log(2 * size)).sum(-1)
    return (values * F.logsigmoid(logits) + (1 - values) * F.logsigmoid(-logits)).sum(-1)


def noise(model: M2, xs: Tensor, ys: Tensor, zs: Tensor) -> Tensor:
    """The standard normal draws behind latents `zs` of rows with labels `ys`."""
    with torch.no_grad():
        loc, scale = posterior(model, xs, ys)
        return (zs - loc) / scale


def normal_log_prob(zs: Tensor, loc: Tensor | float, scale: Tensor | float) -> Tensor:
    scale = torch.as_tensor(scale, dtype=zs.dtype)
    squares = ((zs - loc) / scale) ** 2
    return (-0.5 * squares - scale.log() - 0.5 * math.log(2 * math.pi)).sum(-1)


def labelled_bound(model: M2, xs: Tensor, ys: Tensor, eps: Tensor) -> Tensor:
    """-L(x, y), `[B]`."""
    loc, scale = posterior(model, xs, ys)
    zs = loc + scale * eps
    log_px = pixel_log_prob(model, xs, model.decoder(zs, ys))
    log_py = -math.log(model.num_classes) if ys.is_floating_point() else log_p_y(model)[ys]
    return log_px + log_py + normal_log_prob(zs, 0.0, 1.0) - normal_log_prob(zs, loc, scale)


def unlabelled_bound(model: M2, xs: Tensor, eps: Tensor, log_q: Tensor | None = None) -> Tensor:
    """-U(x), `[B]`, the sum over classes as a slow loop; `eps` is `[K, B, D]`.

    `log_q` is log q(y|x), `[B, K]`, where it is not the softmax of the classifier's outputs.
    """
    if log_q is None:
        log_q = model.classifier(seen(model, xs)).log_softmax(-1)
    total = torch.zeros(len(xs), dtype=xs.dtype)
    for k in range(model.num_classes):
        ys = torch.full((len(xs),), k)
        bound = labelled_bound(model, xs, ys, eps[k])
        total = total + log_q[:, k].exp() * (bound - log_q[:, k])
    return total


def classification(model: M2, xs: Tensor, ys: Tensor) -> Tensor:
    """-log q(y|x), `[B]`."""
    return F.cross_entropy(model.classifier(seen(model, xs)), ys, reduction="none")


def drawn_label(
    model: M2, xs: Tensor, ys: Tensor, zs: Tensor, weight: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Of labels `ys` drawn from q(y|x) with latents `zs`: `weight` -L(x,y), log q(y|x), their cost.

    The cost, `[B]` like the others, is `weight` (-L(x,y) - log q(y|x)), detached.
    """
    bound = weight * labelled_bound(model, xs, ys, noise(model, xs, ys, zs))
    log_q = -classification(model, xs, ys)
    return bound, log_q, (bound - weight * log_q).detach()


def normal_kl(loc: Tensor, scale: Tensor) -> Tensor:
    """KL(Normal(loc, scale^2) || Normal(0, 1)), summed over dimensions, `[B]`."""
    return -0.5 * (1 + (scale**2).log() - loc**2 - scale**2).sum(-1)


def dirichlet_kl(b: Tensor, c: Tensor) -> Tensor:
    """KL(Dirichlet(b) || Dirichlet(c)), `[B]`."""
    total = b.sum(-1, keepdim=True)
    log_normaliser = torch.lgamma(total.squeeze(-1)) - torch.lgamma(b).sum(-1)
    other = torch.lgamma(c.sum(-1)) - torch.lgamma(c).sum(-1)
    mean_log = torch.digamma(b) - torch.digamma(total)
    return log_normaliser - other + ((b - c) * mean_log).sum(-1)


def soft_bound(model: M2, xs: Tensor, pi: Tensor, eps: Tensor) -> Tensor:
    """log p(x|pi,z) - KL(q(z|x,pi) || p(z)) at points `pi` of the simplex, `[B]`."""
    loc, scale = posterior(model, xs, pi)
    log_px = pixel_log_prob(model, xs, model.decoder(loc + scale * eps, pi))
    return log_px - normal_kl(loc, scale)


def parts(xs: Tensor, ys: Tensor | None) -> list[tuple[str, Tensor]]:
    """The kinds of rows of a call: the prefix of their sites, and where they are."""
    known = torch.zeros(len(xs), dtype=torch.bool) if ys is None else ys >= 0
    found = [("labelled/", known), ("unlabelled/", ~known)]
    found = [(prefix, mask) for prefix, mask in found if mask.any()]
    return found if len(found) > 1 else [("", found[0][1])]


def vae_posterior(vae: VAE, xs: Tensor) -> tuple[Tensor, Tensor]:
    features = vae.likelihood.features(xs, vae.input_shape)
    loc, raw = vae.encoder(features.flatten(1)).chunk(2, -1)
    return loc, F.softplus(raw) + 1e-4


def vae_noise(vae: VAE, xs: Tensor, zs: Tensor) -> Tensor:
    with torch.no_grad():
        loc, scale = vae_posterior(vae, xs)
        return (zs - loc) / scale


def vae_log_px(vae: VAE, xs: Tensor, zs: Tensor) -> Tensor:
    """log p(x|z), `[B]`."""
    outputs, pixels = vae.decoder(zs), xs.flatten(1)
    if len(vae.input_shape) == 1:
        return log_px(vae, xs, outputs)
    if isinstance(vae.likelihood, Bernoulli):
        return (pixels * F.logsigmoid(outputs) + (1 - pixels) * F.logsigmoid(-outputs)).sum(-1)
    if vae.likelihood.scale is not None:
        return normal_log_prob(pixels, outputs, vae.likelihood.scale)
    loc, raw = outputs[:, : pixels.shape[1]], outputs[:, pixels.shape[1] :]
    return normal_log_prob(pixels, loc, vae.likelihood.min_scale + F.softplus(raw))


def vae_bound(vae: VAE, xs: Tensor, eps: Tensor, closed_form: bool = True) -> Tensor:
    """ELBO(x), `[B]`, its KL in closed form (Kingma and Welling 2014, appendix B) or sampled."""
    loc, scale = vae_posterior(vae, xs)
    zs = loc + scale * eps
    if closed_form:
        kl = -0.5 * (1 + (scale**2).log() - loc**2 - scale**2).sum(-1)
    else:
        kl = normal_log_prob(zs, loc, scale) - normal_log_prob(zs, 0.0, 1.0)
    return vae_log_px(vae, xs, zs) - kl


def latent_posterior(model: LatentM2, kept: Tensor, ys: Tensor) -> tuple[Tensor, Tensor]:
    """Location and scale of q(z2|z1,y), given the latents z1 that M2 sees."""
    loc, raw = model.encoder(kept, ys).chunk(2, -1)
    return loc, F.softplus(raw) + 1e-4


def latent_labelled(model: LatentM2, kept: Tensor, ys: Tensor, eps: Tensor) -> Tensor:
    """log p(z1|y,z2) + log p(y) + log p(z2) - log q(z2|z1,y), `[B]`."""
    loc, scale = latent_posterior(model, kept, ys)
    z2 = loc + scale * eps
    prior_loc, prior_raw = model.decoder(z2, ys).chunk(2, -1)
    log_pz1 = normal_log_prob(kept, prior_loc, F.softplus(prior_raw) + 1e-2)
    return (
        log_pz1
        + log_p_y(model)[ys]
        + normal_log_prob(z2, 0.0, 1.0)
        - normal_log_prob(z2, loc, scale)
    )


def latent_unlabelled(model: LatentM2, kept: Tensor, eps: Tensor) -> Tensor:
    """sum_y q(y|z1) (the above - log q(y|z1)), `[B]`; `eps` is `[K, B, E]`."""
    log_q = model.classifier(kept).log_softmax(-1)
    total = torch.zeros(len(kept), dtype=kept.dtype)
    for k in range(model.num_classes):
        bound = latent_labelled(model, kept, torch.full((len(kept),), k), eps[k])
        total = total + log_q[:, k].exp() * (bound - log_q[:, k])
    return total


def latent_part(
    model: LatentM2, kept: Tensor, ys: Tensor | None, z2: Tensor, weight: float
) -> Tensor:
    """All that M2 contributes for rows of one kind, `[B]`, the noise taken from draws `z2`."""
    with torch.no_grad():
        if ys is None:
            ks = torch.arange(model.num_classes)
            each = [latent_posterior(model, kept, k.expand(len(kept))) for k in ks]
            eps = torch.stack([(z2[k] - each[k][0]) / each[k][1] for k in ks])
        else:
            loc, scale = latent_posterior(model, kept, ys)
            eps = (z2 - loc) / scale
    if ys is None:
        return latent_unlabelled(model, kept, eps)
    cross_entropy = F.cross_entropy(model.classifier(kept), ys, reduction="none")
    return latent_labelled(model, kept, ys, eps) - weight * cross_entropy


def gradients(scalar: Tensor, model: torch.nn.Module) -> dict[str, Tensor]:
    """Gradients of all parameters that have any; frozen ones are left out."""
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    names, parameters = zip(*trained, strict=True)
    found = torch.autograd.grad(scalar, parameters, allow_unused=True)
    return {
        n: torch.zeros_like(p) if g is None else g
        for n, p, g in zip(names, parameters, found, strict=True)
    }


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Fail unless every gradient agrees to 1e-6, absolute and relative."""
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(
            ours[name], theirs[name], atol=1e-6, rtol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )

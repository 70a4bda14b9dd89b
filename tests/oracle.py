"""M2's objective written out by hand, with a Python loop over the classes.

It shares the networks with the model under test and nothing else: densities, sums and
weights are spelled out from Kingma et al. (2014). The only other thing taken from the run
under test is its noise, recovered from the recorded latents, so that both sides are
deterministic functions of the same numbers.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.models import M2


def posterior(model: M2, xs: Tensor, ys: Tensor) -> tuple[Tensor, Tensor]:
    loc, raw = model.encoder(xs.flatten(1), ys).chunk(2, -1)
    return loc, F.softplus(raw) + 1e-4


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
    logits, pixels = model.decoder(zs, ys), xs.flatten(1)
    log_px = (pixels * F.logsigmoid(logits) + (1 - pixels) * F.logsigmoid(-logits)).sum(-1)
    log_py = -math.log(model.num_classes)
    return log_px + log_py + normal_log_prob(zs, 0.0, 1.0) - normal_log_prob(zs, loc, scale)


def unlabelled_bound(model: M2, xs: Tensor, eps: Tensor) -> Tensor:
    """-U(x), `[B]`, the sum over classes as a slow loop; `eps` is `[K, B, D]`."""
    log_q = model.classifier(xs.flatten(1)).log_softmax(-1)
    total = torch.zeros(len(xs), dtype=xs.dtype)
    for k in range(model.num_classes):
        ys = torch.full((len(xs),), k)
        bound = labelled_bound(model, xs, ys, eps[k])
        total = total + log_q[:, k].exp() * (bound - log_q[:, k])
    return total


def classification(model: M2, xs: Tensor, ys: Tensor) -> Tensor:
    """-log q(y|x), `[B]`."""
    return F.cross_entropy(model.classifier(xs.flatten(1)), ys, reduction="none")


def gradients(scalar: Tensor, model: torch.nn.Module) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
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

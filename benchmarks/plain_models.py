"""VAE, GumbelSoftmaxM2 and CCVAE written by hand in PyTorch, without Pyro, for speed."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain_torch import PlainM2


class PlainVAE(nn.Module):
    """VAE with one hidden layer in each network.

    Args:
        pixels: size of an input.
        hidden: width of each hidden layer.
        latent: dimensions of z.
    """

    def __init__(self, pixels: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels)
        )

    def loss(self, xs: Tensor, ys: Tensor) -> Tensor:
        """Return the sum of -ELBO(x) over rows `[B, pixels]`; labels are not used."""
        loc, raw = self.encoder(xs).to(xs.dtype).chunk(2, -1)
        scale = F.softplus(raw) + 1e-4
        logits = self.decoder(loc + scale * torch.randn_like(loc)).to(xs.dtype)
        divergence = 0.5 * (loc**2 + scale**2 - 1).sum() - scale.log().sum()
        return divergence - _log_px(xs, logits).sum()


class PlainGumbelSoftmaxM2(PlainM2):
    """`PlainM2` whose unknown label is a draw from the Gumbel-softmax distribution.

    Args:
        temperature: its temperature.
        sizes: the arguments of `PlainM2`.
    """

    def __init__(self, temperature: float, *sizes: int) -> None:
        super().__init__(*sizes)
        self.temperature = temperature

    def loss(self, xs: Tensor, ys: Tensor, num_labelled: int) -> Tensor:
        """Return the sum over rows `[B, pixels]`, of which the first have labels."""
        rows, known = xs[num_labelled:], xs[:num_labelled]
        log_q = self.classifier(rows).to(xs.dtype).log_softmax(-1)
        noise = -(-torch.rand_like(log_q).clamp(1e-7, 1 - 1e-7).log()).log()
        soft = ((log_q + noise) / self.temperature).softmax(-1)
        of_encoder, of_decoder = soft @ self.encoder_label.weight, soft @ self.decoder_label.weight
        # The bound of one label for each row has a prior that the divergence already has.
        bound = self._bound(rows, of_encoder[None], of_decoder[None], False)
        prior = math.log(self.num_classes)
        divergence = (log_q.exp() * (log_q + prior)).sum()
        unlabelled = divergence - (bound + prior).sum()
        return unlabelled + self.labelled_loss(known, ys[:num_labelled])


class PlainCCVAE(nn.Module):
    """CCVAE with one hidden layer in each network.

    Args:
        pixels: size of an input.
        num_classes: number of classes K.
        hidden: width of each hidden layer.
        style: dimensions of z_style.
        draws: draws for q(y|x) of labelled rows.
    """

    def __init__(self, pixels: int, num_classes: int, hidden: int, style: int, draws: int) -> None:
        super().__init__()
        self.num_classes, self.draws = num_classes, draws
        latent = num_classes + style
        self.encoder = nn.Sequential(
            nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels)
        )
        self.prior_loc = nn.Parameter(torch.zeros(num_classes, num_classes))
        self.prior_raw_scale = nn.Parameter(torch.full_like(self.prior_loc, math.log(math.e - 1)))
        self.slope = nn.Parameter(torch.ones(num_classes))
        self.intercept = nn.Parameter(torch.zeros(num_classes))

    def loss(self, xs: Tensor, ys: Tensor, num_labelled: int) -> Tensor:
        """Return the sum over rows `[B, pixels]`, of which the first have labels."""
        k, n = self.num_classes, num_labelled
        loc, raw = self.encoder(xs).to(xs.dtype).chunk(2, -1)
        scale = F.softplus(raw) + 1e-4
        noise = torch.randn_like(loc)
        zs = loc + scale * noise
        # log p(x|z) + log p(z_style) - log q(z|x), without constants of z_class, which cancel.
        common = _log_px(xs, self.decoder(zs).to(xs.dtype))
        common = common + 0.5 * (noise**2).sum(-1) + scale.log().sum(-1)
        common = common - 0.5 * (zs[:, k:] ** 2).sum(-1)
        z_class = zs[:, :k]
        log_q = self._log_q(z_class)
        prior = math.log(k)

        # All classes of unlabelled rows.
        scales = F.softplus(self.prior_raw_scale) + 1e-3
        off = (z_class[n:, None] - self.prior_loc) / scales
        log_pz = -0.5 * (off**2).sum(-1) - scales.log().sum(-1)
        bound = common[n:, None] + log_pz - prior - log_q[n:]
        unlabelled = (log_q[n:].exp() * bound).sum()

        # Labelled rows, weighed by q(y|z_class) / q(y|x).
        labels = ys[:n, None]
        of_label = scales[ys[:n]]
        off = (z_class[:n] - self.prior_loc[ys[:n]]) / of_label
        log_pz = -0.5 * (off**2).sum(-1) - of_label.log().sum(-1)
        more = loc[:n, :k] + scale[:n, :k] * torch.randn(self.draws - 1, n, k, device=xs.device)
        draws = torch.cat([z_class[None, :n], more])
        log_q_y = self._log_q(draws).gather(-1, labels.expand(self.draws, n, 1)).squeeze(-1)
        log_q_y = log_q_y.logsumexp(0) - math.log(self.draws)
        of_z = log_q[:n].gather(-1, labels).squeeze(-1)
        held = self._log_q(z_class[:n].detach()).gather(-1, labels).squeeze(-1)
        weight = (held - log_q_y).exp()
        labelled = weight * (common[:n] + log_pz - of_z) - prior + log_q_y
        return -unlabelled - labelled.sum()

    def _log_q(self, z_class: Tensor) -> Tensor:
        return (self.slope * z_class + self.intercept).log_softmax(-1)


def _log_px(xs: Tensor, logits: Tensor) -> Tensor:
    size = logits.abs()
    return ((xs - 0.5) * logits - 0.5 * size - (1 + (-size).exp()).log()).sum(-1)

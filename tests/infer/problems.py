"""A small problem that every training test can afford."""

import torch

from pyro_ssl.data import SSLData
from pyro_ssl.models import M2, VAE
from tests import oracle

# Options of `FitConfig` under which no step asks how many are to come.
STEADY = {"learning_rate_schedule": "constant", "anneal": {}}


def blobs(rows: int = 120, labels: int = 12, classes: int = 3, seed: int = 0) -> SSLData:
    """Noisy copies of one random binary picture a class."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.rand(classes, 1, 4, 4, generator=generator).round() * 0.8 + 0.1
    ys = torch.arange(rows + 60) % classes
    xs = torch.bernoulli(pictures[ys], generator=generator)
    return SSLData(xs[:labels], ys[:labels], xs[labels:rows], classes, xs[rows:], ys[rows:])


def small_m2(seed: int = 0, **options) -> M2:
    torch.manual_seed(seed)
    options = oracle.UNREGULARISED | {"latent_dim": 2, "hidden_dims": (16,), "alpha": 0.5} | options
    return M2((1, 4, 4), 3, **options)


def unlabelled_blobs(validation: bool = True, real_valued: bool = False) -> SSLData:
    """The pictures of `blobs`, nobody knowing what they show."""
    data = blobs()
    xs, held_out = torch.cat([data.labelled_xs, data.unlabelled_xs]), data.validation_xs
    if real_valued:
        xs, held_out = 4 * (xs - 0.5), 4 * (held_out - 0.5)
    return SSLData.unlabelled(xs, held_out if validation else None, real_valued)


def small_vae(seed: int = 0, **options) -> VAE:
    torch.manual_seed(seed)
    return VAE((1, 4, 4), **{"latent_dim": 2, "hidden_dims": (16,)} | options)

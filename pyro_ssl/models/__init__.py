"""Generative models and guides, one file per published model, each a pair of Pyro programs."""

from pyro_ssl.models.autoencoder import Autoencoder
from pyro_ssl.models.base import PyroModel, SSLModel
from pyro_ssl.models.latent_m2 import LatentM2
from pyro_ssl.models.m1m2 import M1M2, active_latents, posteriors
from pyro_ssl.models.m2 import M2
from pyro_ssl.models.mlp_classifier import MLPClassifier
from pyro_ssl.models.rao_blackwell_m2 import RaoBlackwellM2
from pyro_ssl.models.vae import VAE

__all__ = [
    "M1M2",
    "M2",
    "VAE",
    "Autoencoder",
    "LatentM2",
    "MLPClassifier",
    "PyroModel",
    "RaoBlackwellM2",
    "SSLModel",
    "active_latents",
    "posteriors",
]

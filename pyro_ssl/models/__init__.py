"""Generative models and guides, one file per published model, each a pair of Pyro programs."""

from pyro_ssl.models.base import SSLModel
from pyro_ssl.models.m2 import M2
from pyro_ssl.models.mlp_classifier import MLPClassifier
from pyro_ssl.models.rao_blackwell_m2 import RaoBlackwellM2

__all__ = ["M2", "MLPClassifier", "RaoBlackwellM2", "SSLModel"]

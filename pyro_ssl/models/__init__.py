"""Generative models and guides, one file per published model, each a pair of Pyro programs."""

from pyro_ssl.models.base import SSLModel
from pyro_ssl.models.m2 import M2
from pyro_ssl.models.mlp_classifier import MLPClassifier

__all__ = ["M2", "MLPClassifier", "SSLModel"]

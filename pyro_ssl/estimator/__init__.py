"""Classifiers with scikit-learn's interface, and what they need for your own tables."""

from pyro_ssl.estimator.columns import Columns
from pyro_ssl.estimator.m2_classifier import M2Classifier

__all__ = ["Columns", "M2Classifier"]

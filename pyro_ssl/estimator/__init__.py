"""Estimators with scikit-learn's interface, and tools for your own tables."""

from pyro_ssl.estimator.classifier import SemiSupervisedVAEClassifier
from pyro_ssl.estimator.columns import Columns
from pyro_ssl.estimator.labels import LabelCodes
from pyro_ssl.estimator.m2_classifier import M2Classifier
from pyro_ssl.estimator.regressor import SemiSupervisedVAERegressor
from pyro_ssl.estimator.single_cells import from_anndata
from pyro_ssl.estimator.split import SemiSupervisedSplit

__all__ = [
    "Columns",
    "LabelCodes",
    "M2Classifier",
    "SemiSupervisedSplit",
    "SemiSupervisedVAEClassifier",
    "SemiSupervisedVAERegressor",
    "from_anndata",
]

"""Objectives and training."""

from pyro_ssl.infer.checkpoint import load_checkpoint, load_model, save_checkpoint
from pyro_ssl.infer.fit import History, fit
from pyro_ssl.infer.objective import Objective, RowWeights
from pyro_ssl.infer.terms import objective_terms
from pyro_ssl.infer.trainer import FitConfig

__all__ = [
    "FitConfig",
    "History",
    "Objective",
    "RowWeights",
    "fit",
    "load_checkpoint",
    "load_model",
    "objective_terms",
    "save_checkpoint",
]

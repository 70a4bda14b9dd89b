"""Objectives and training."""

from pyro_ssl.antithetic_elbo import Antithetic_ELBO
from pyro_ssl.elbo import StaticEnum_ELBO
from pyro_ssl.infer.annealing import Anneal
from pyro_ssl.infer.checkpoint import load_checkpoint, load_model, save_checkpoint, save_model
from pyro_ssl.infer.config import FitConfig
from pyro_ssl.infer.fit import History, fit
from pyro_ssl.infer.objective import Objective, RowWeights
from pyro_ssl.infer.terms import objective_terms
from pyro_ssl.label_weighted_elbo import LabelWeighted_ELBO
from pyro_ssl.sampled_elbo import LeaveOneOut_ELBO, RaoBlackwell_ELBO, ScoreFunction_ELBO

__all__ = [
    "Anneal",
    "Antithetic_ELBO",
    "FitConfig",
    "History",
    "LabelWeighted_ELBO",
    "LeaveOneOut_ELBO",
    "Objective",
    "RaoBlackwell_ELBO",
    "RowWeights",
    "ScoreFunction_ELBO",
    "StaticEnum_ELBO",
    "fit",
    "load_checkpoint",
    "load_model",
    "objective_terms",
    "save_checkpoint",
    "save_model",
]

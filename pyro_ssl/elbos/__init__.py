"""ELBOs for Pyro programs, and functions that read the traces of programs."""

from pyro_ssl.elbos.antithetic import Antithetic_ELBO
from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.elbos.importance import ImportanceWeighted_ELBO
from pyro_ssl.elbos.label_weighted import LabelWeighted_ELBO, RowWeight
from pyro_ssl.elbos.sampled import LeaveOneOut_ELBO, RaoBlackwell_ELBO, ScoreFunction_ELBO
from pyro_ssl.elbos.terms import loss_and_terms, loss_and_traces, objective_terms

__all__ = [
    "Antithetic_ELBO",
    "ImportanceWeighted_ELBO",
    "LabelWeighted_ELBO",
    "LeaveOneOut_ELBO",
    "RaoBlackwell_ELBO",
    "RowWeight",
    "ScoreFunction_ELBO",
    "StaticEnum_ELBO",
    "loss_and_terms",
    "loss_and_traces",
    "objective_terms",
]

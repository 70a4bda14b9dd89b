"""Objectives and training."""

from pyro_ssl.elbos.antithetic import Antithetic_ELBO
from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.elbos.importance import ImportanceWeighted_ELBO
from pyro_ssl.elbos.label_weighted import LabelWeighted_ELBO
from pyro_ssl.elbos.sampled import LeaveOneOut_ELBO, RaoBlackwell_ELBO, ScoreFunction_ELBO
from pyro_ssl.elbos.terms import objective_terms
from pyro_ssl.infer.annealing import Anneal
from pyro_ssl.infer.batches import MiniBatches
from pyro_ssl.infer.checkpoint import load_checkpoint, save_checkpoint
from pyro_ssl.infer.config import FitConfig
from pyro_ssl.infer.consistency import Consistency
from pyro_ssl.infer.loggers import EpochLogger, MLflowLogger, TensorBoardLogger, draw_samples
from pyro_ssl.infer.loop import History, fit
from pyro_ssl.infer.model_files import load_model, save_model
from pyro_ssl.infer.objective import Objective
from pyro_ssl.infer.progress import Progress
from pyro_ssl.infer.pseudo_labels import pseudo_labelled
from pyro_ssl.infer.weights import RowWeights

__all__ = [
    "Anneal",
    "Antithetic_ELBO",
    "Consistency",
    "EpochLogger",
    "FitConfig",
    "History",
    "ImportanceWeighted_ELBO",
    "LabelWeighted_ELBO",
    "LeaveOneOut_ELBO",
    "MLflowLogger",
    "MiniBatches",
    "Objective",
    "Progress",
    "RaoBlackwell_ELBO",
    "RowWeights",
    "ScoreFunction_ELBO",
    "StaticEnum_ELBO",
    "TensorBoardLogger",
    "draw_samples",
    "fit",
    "load_checkpoint",
    "load_model",
    "objective_terms",
    "pseudo_labelled",
    "save_checkpoint",
    "save_model",
]

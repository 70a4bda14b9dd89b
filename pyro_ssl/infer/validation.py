"""Measures on the validation rows after an epoch."""

import torch

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.elbos import names
from pyro_ssl.infer.checkpoint import own_random_state
from pyro_ssl.infer.config import FitConfig
from pyro_ssl.infer.progress import Row
from pyro_ssl.metrics import (
    accuracy,
    expected_calibration_error,
    importance_weighted_bound,
    joint_bound,
    kl_per_dimension,
    predict_in_chunks,
)
from pyro_ssl.models.base import PyroModel, SSLModel

_KL_ROWS = 1000


def validate(model: PyroModel, data: SSLData, config: FitConfig) -> Row:
    """Return validation accuracy and calibration error; empty without validation rows.

    For a model that does not classify, return its objective instead; for one that does, also the
    joint bound if `config.select` is `"bound"`. With
    `config.validation_bound`, return the objective of a model that classifies, too, and the KL
    divergence of each latent dimension. The noise is the same in every epoch.
    """
    if not len(data.validation_xs):
        return {}
    row: Row = {}
    if isinstance(model, SSLModel):
        probabilities = predict_in_chunks(model, data.validation_xs)
        for name, measure in (("accuracy", accuracy), ("ece", expected_calibration_error)):
            value = measure(probabilities, data.validation_ys)
            row[names.reported(name, names.VALIDATION)] = value
        if config.select == "bound":
            row |= _joint_bound(model, data, config)
        if not (config.validation_bound and model.learns_from_unlabelled):
            return row
    return row | _bound(model, data, config)


def _joint_bound(model: PyroModel, data: SSLData, config: FitConfig) -> Row:
    xs = data.validation_xs
    with own_random_state(config.seed, data.labelled_xs.device):
        xs = xs.bernoulli() if config.binarise else xs
        bound = joint_bound(model, xs, data.validation_ys).mean().item()
    return {names.reported(names.JOINT_BOUND, names.VALIDATION): bound}


def _bound(model: PyroModel, data: SSLData, config: FitConfig) -> Row:
    xs = data.validation_xs
    kls: torch.Tensor | None = None
    with own_random_state(config.seed, data.labelled_xs.device):
        xs = xs.bernoulli() if config.binarise else xs
        elbo = importance_weighted_bound(model, xs).mean().item()
        if config.validation_bound:
            kls = kl_per_dimension(model, xs[:_KL_ROWS])
    row = {names.reported(model.objective_name, names.VALIDATION): elbo}
    if kls is not None:
        row |= {names.kl_of_dimension("z", d): kl for d, kl in enumerate(kls.tolist())}
    return row

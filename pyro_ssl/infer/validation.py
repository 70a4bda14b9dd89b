"""Measures on the validation rows after an epoch."""

from typing import Any

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
# Number of rows predicted at once.
_ROWS = 10_000


def validate(model: PyroModel, data: SSLData, config: FitConfig) -> Row:
    """Return accuracy and calibration error on the validation rows, or nothing without such rows.

    For real labels, return the mean of log q(y|x) and the root mean squared error. For a model
    without labels, return its objective instead. Add the joint bound for a model with labels if
    `config.select` is `"bound"`. With `config.validation_bound`, also add the objective of models
    with labels, and the KL divergence of each latent dimension. The noise is the same in every
    epoch.
    """
    if not len(data.validation_xs):
        return {}
    row: Row = {}
    if isinstance(model, SSLModel):
        probabilities = predict_in_chunks(model, data.validation_xs)
        for name, measure in (("accuracy", accuracy), ("ece", expected_calibration_error)):
            value = measure(probabilities, data.validation_ys)
            row[names.reported(name, names.VALIDATION)] = value
    elif model.real_labels and data.real_labels:
        row |= _regression(model, data)
    if row and config.select == "bound":
        row |= _joint_bound(model, data, config)
    if row and not (config.validation_bound and model.learns_from_unlabelled):
        return row
    return row | _bound(model, data, config)


def _regression(model: Any, data: SSLData) -> Row:
    parts = [model.predict(xs) for xs in data.validation_xs.split(_ROWS)]
    loc, scale = (torch.cat(each) for each in zip(*parts, strict=True))
    ys = data.validation_ys.to(loc.dtype)
    log_q = torch.distributions.Normal(loc, scale).log_prob(ys).mean().item()
    found = {names.LOG_Q_Y: log_q, "rmse": (loc - ys).square().mean().sqrt().item()}
    return {names.reported(name, names.VALIDATION): value for name, value in found.items()}


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

"""Epochs of this library: what `fit` does between two validations."""

from typing import Any

import pyro
import torch

from benchmarks.peers.problem import (
    ALPHA,
    CLASSES,
    HIDDEN,
    LATENT,
    LEARNING_RATE,
    PIXELS,
    Epoch,
    Passed,
    Problem,
)
from pyro_ssl.data import SSLData
from pyro_ssl.infer import FitConfig
from pyro_ssl.infer.trainer import Trainer
from pyro_ssl.models import M2, VAE, PyroModel, RaoBlackwellM2


def _epoch(model: PyroModel, data: SSLData, problem: Problem, precision: str, way: str) -> Epoch:
    config = FitConfig(
        batch_size=problem.batch_size,
        learning_rate=LEARNING_RATE,
        learning_rate_schedule="constant",
        anneal={},
        binarise=False,
        precision=precision,
        compile=way,
    )
    trainer = Trainer(model, data, config)

    def epoch() -> Passed:
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            return Passed(float(trainer.run_epoch()["loss"]))

    return epoch


def vae(problem: Problem, precision: str, way: str) -> Epoch:
    """Return an epoch of `VAE`, compiled or not."""
    torch.manual_seed(0)
    shape = (1, 28, 28)
    model = VAE(shape, LATENT, (HIDDEN,), activation="relu")
    data = SSLData.unlabelled(problem.xs.view(-1, *shape))
    return _epoch(model, data, problem, precision, way)


_M2: dict[str, Any] = {
    "num_classes": CLASSES,
    "latent_dim": LATENT,
    "hidden_dims": (HIDDEN,),
    "alpha": ALPHA,
    "batch_norm": False,
    "input_dropout": 0.0,
}


def m2(problem: Problem, precision: str, way: str) -> Epoch:
    """Return an epoch of `M2`, compiled or not."""
    torch.manual_seed(0)
    return _of_images(M2((1, 28, 28), **_M2), problem, precision, way)


def rao_blackwell_m2(problem: Problem, precision: str, way: str) -> Epoch:
    """Return an epoch of `RaoBlackwellM2`, which sums one class and draws one."""
    torch.manual_seed(0)
    model = RaoBlackwellM2(num_summed=1, input_shape=(1, 28, 28), **_M2)
    return _of_images(model, problem, precision, way)


def _of_images(model: M2, problem: Problem, precision: str, way: str) -> Epoch:
    shape = model.input_shape
    known, rows = (xs.view(-1, *shape) for xs in (problem.known_xs, problem.xs))
    data = SSLData(known, problem.known_ys, rows, CLASSES, known[:0], problem.known_ys[:0])
    return _epoch(model, data, problem, precision, way)


def m2_of_counts(problem: Problem, precision: str, way: str) -> Epoch:
    """Return an epoch of `RaoBlackwellM2` on counts, with a negative binomial likelihood."""
    torch.manual_seed(0)
    options = {"input_shape": (PIXELS,), "likelihood": "negative_binomial", **_M2}
    model = RaoBlackwellM2(num_summed=1, **options)
    counts, known = problem.counts(), len(problem.known_xs)
    none = counts[:0], problem.known_ys[:0]
    parts = counts[:known], problem.known_ys, counts[known:], CLASSES
    data = SSLData(*parts, *none, real_valued=True)
    return _epoch(model, data, problem, precision, way)

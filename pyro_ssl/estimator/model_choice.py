"""The generative model of an estimator: one of the library's, or yours."""

import copy
import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from pyro_ssl.errors import ConfigError
from pyro_ssl.estimator.inputs import Inputs
from pyro_ssl.likelihoods import GeneCounts, Likelihood
from pyro_ssl.models import CCVAE, M1M2, M2, RaoBlackwellM2, RegressionM2
from pyro_ssl.models.base import PyroModel, SSLModel

NAMED: dict[str, type[SSLModel]] = {
    "auto": M2,
    "m2": M2,
    "m1m2": M1M2,
    "rao_blackwell": RaoBlackwellM2,
    "ccvae": CCVAE,
}
# The same for models with real labels.
NAMED_REAL: dict[str, type[PyroModel]] = {"auto": RegressionM2, "m2": RegressionM2}
# If a row has more features than this, networks of 64 units are too narrow.
_NARROW = 256
# For single cells, whose bounds are hundreds of nats. Their decoder is linear, as in Svensson,
# Gayoso, Yosef, Pachter, "Interpretable factor models of single-cell RNA-seq via variational
# autoencoders", Bioinformatics 2020. Chosen on seeds from 100 on of benchmarks.cells.
_ALPHA_OF_CELLS = 100.0
# Channels of the first convolution: for rows with at most this many pixels, and for others.
_CHANNELS, _SMALL, _CHANNELS_OF_LARGE = 16, 256, 8


def make_model(
    choice: Any,
    input_shape: tuple[int, ...],
    num_classes: int | None,
    likelihood: Likelihood,
    options: Mapping[str, Any],
    seed: int,
) -> Any:
    """Return a model with new weights, and with copies of networks among its options.

    Args:
        choice: a name of `NAMED` or `NAMED_REAL`, a class, or a model whose options are used.
        input_shape: shape of one encoded input.
        num_classes: number of classes K; None for real labels.
        likelihood: the family of encoded inputs.
        options: options of the model that replace the defaults here, for a name or a class.
        seed: seed of the weights.

    Raises:
        ConfigError: if the choice is none of these, or an instance does not suit the data.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(choice, PyroModel) and _suits(type(choice), num_classes):
            return _like(choice, input_shape, num_classes)
        named: Mapping[str, Any] = NAMED_REAL if num_classes is None else NAMED
        kind: Any = named.get(choice) if isinstance(choice, str) else choice
        if not (isinstance(kind, type) and _suits(kind, num_classes)):
            what = "that classify" if num_classes is not None else "of real labels"
            raise ConfigError(
                f"model is {choice!r}, expected one of {', '.join(named)}, a class of models "
                f"{what}, or a model"
            )
        features = math.prod(likelihood.feature_shape(input_shape))
        defaults = _defaults(kind, input_shape, num_classes, likelihood, features)
        return kind(**{**defaults, **copy.deepcopy(dict(options))})


def make_models(
    choice: Any,
    inputs: Inputs,
    num_classes: int | None,
    options: Mapping[str, Any],
    seeds: Iterable[int],
    device: torch.device,
) -> list[Any]:
    """Return a model with new weights for each seed; arguments as for `make_model`.

    Args:
        choice: a name, a class or a model.
        inputs: how inputs are encoded.
        num_classes: number of classes K; None for real labels.
        options: options of the model.
        seeds: seeds of the weights.
        device: device of the models.
    """
    shape, likelihood = inputs.input_shape, inputs.likelihood
    return [
        make_model(choice, shape, num_classes, likelihood, options, seed).to(device)
        for seed in seeds
    ]


def _suits(kind: type, num_classes: int | None) -> bool:
    """Return whether models of a class have labels of this kind."""
    if num_classes is None:
        return issubclass(kind, PyroModel) and kind.real_labels
    return issubclass(kind, SSLModel) and not kind.multi_label


def _defaults(
    kind: type[PyroModel],
    input_shape: tuple[int, ...],
    num_classes: int | None,
    likelihood: Likelihood,
    features: int,
) -> dict[str, Any]:
    """Return default options for tables, images or signals, among those that a class takes."""
    narrow = features <= _NARROW
    width = 64 if narrow else 128
    latent = min(5, max(1, features // 2)) if narrow else 10
    found: dict[str, Any] = {
        "num_classes": num_classes,
        "latent_dim": latent,
        "hidden_dims": (width, width),
        "batch_norm": False,
        "input_dropout": 0.2,
        # For real labels, chosen by the trials of benchmarks.regression.tuning.
        "alpha": 10.0 if num_classes is not None else 3.0,
        "label_prior": "learned",
    }
    if issubclass(kind, M1M2):
        m1 = {"input_shape": input_shape, "latent_dim": 2 * latent, "hidden_dims": (width, width)}
        found |= {"m1": m1 | {"likelihood": likelihood}, "train_m1": True}
        return {k: v for k, v in found.items() if k != "num_inputs"}
    found |= {"input_shape": input_shape, "likelihood": likelihood, "style_dim": latent}
    if issubclass(kind, CCVAE):
        found["num_samples"] = 10
    if isinstance(getattr(likelihood, "likelihood", likelihood), GeneCounts):
        found |= {"alpha": _ALPHA_OF_CELLS, "decoder_dims": ()}
    if len(input_shape) > 1:
        small = len(input_shape) == 2 or math.prod(input_shape[1:]) <= _SMALL
        found["channels"] = _CHANNELS if small else _CHANNELS_OF_LARGE
        # Dropout of the convolutions' outputs, which are many.
        found["input_dropout"] = 0.5
    return {k: v for k, v in found.items() if k in _parameters(kind)}


def _parameters(kind: type) -> set[str]:
    """Return the names of a constructor's arguments, including those that it passes on."""
    names: set[str] = set()
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        names |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names


def _like(model: Any, input_shape: tuple[int, ...], num_classes: int | None) -> Any:
    own = None if num_classes is None else model.num_classes
    if tuple(model.input_shape) != tuple(input_shape) or own != num_classes:
        takes, has = (
            f"{tuple(shape)}" + ("" if classes is None else f" and {classes} classes")
            for shape, classes in ((model.input_shape, own), (input_shape, num_classes))
        )
        raise ConfigError(
            f"model takes inputs of shape {takes}, but the encoded data has {has}: give its "
            "class, or a model for this data"
        )
    return type(model)(**copy.deepcopy(model.options))

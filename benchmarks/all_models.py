"""Training steps of every model of the library at MNIST's size, and of some written by hand."""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.contestants import HIDDEN, LATENT, PIXELS, Step, library_step, networks
from benchmarks.plain_models import PlainCCVAE, PlainGumbelSoftmaxM2, PlainVAE
from benchmarks.plain_torch import make_step
from benchmarks.timing import PRECISIONS, alternate, matrix_flops, matrix_speed, ratios
from pyro_ssl import models
from pyro_ssl.models import PyroModel, SSLModel
from pyro_ssl.models.rows import Batch
from pyro_ssl.nets import WideResNet

CLASSES = 10
DRAWS = 100
_M2: dict[str, Any] = networks(CLASSES)
_SHAPE: dict[str, Any] = {"input_shape": (1, 28, 28), "hidden_dims": (HIDDEN,)}
_VAE: dict[str, Any] = {"latent_dim": LATENT, "activation": "relu", **_SHAPE}
_LAYER: dict[str, Any] = {
    "num_classes": CLASSES,
    "latent_dim": LATENT,
    "hidden_dims": (HIDDEN,),
    "batch_norm": False,
    "alpha": 50.0,
}
_AUXILIARY: dict[str, Any] = {
    name: _M2[name] for name in ("input_shape", "num_classes", "latent_dim", "hidden_dims", "alpha")
}


def _record() -> PyroModel:
    """Return the model of `experiments.mnist_record`."""
    network = WideResNet((1, 28, 28), CLASSES, 10, 2, channels=16, stride=2)
    return models.RaoBlackwellM2(num_summed=1, **_M2 | {"classifier": network})


# With their defaults, but for the sizes of their layers.
MODELS: dict[str, Callable[[], PyroModel]] = {
    "M2": lambda: models.M2(**_M2),
    "RaoBlackwellM2": lambda: models.RaoBlackwellM2(num_summed=1, **_M2),
    "LeaveOneOutM2": lambda: models.LeaveOneOutM2(num_samples=2, **_M2),
    "ApproxM2": lambda: models.ApproxM2(**_M2),
    "GumbelSoftmaxM2": lambda: models.GumbelSoftmaxM2(0.5, **_M2),
    "LogisticNormalM2": lambda: models.LogisticNormalM2(**_M2),
    "LogisticNormal": lambda: models.LogisticNormal(**_M2),
    "LogGamma": lambda: models.LogGamma(**_M2),
    "ADGM": lambda: models.ADGM(num_summed=1, **_AUXILIARY),
    "SDGM": lambda: models.SDGM(num_summed=1, **_AUXILIARY),
    "record": _record,
    "MLPClassifier": lambda: models.MLPClassifier(
        (1, 28, 28), CLASSES, (HIDDEN,), batch_norm=False, input_dropout=0.0
    ),
    "CCVAE": lambda: models.CCVAE(
        num_classes=CLASSES, style_dim=LATENT - CLASSES, num_samples=DRAWS, **_SHAPE
    ),
    "MultiLabelM2": lambda: models.MultiLabelM2(**_M2),
    "MultiLabelCCVAE": lambda: models.MultiLabelCCVAE(
        num_classes=CLASSES, style_dim=LATENT - CLASSES, **_SHAPE
    ),
    "RegressionM2": lambda: models.RegressionM2(
        latent_dim=LATENT, likelihood="bernoulli", **_SHAPE
    ),
    "VAE": lambda: models.VAE(**_VAE),
    "Autoencoder": lambda: models.Autoencoder(**_VAE),
    "LatentM2": lambda: models.LatentM2(LATENT, **_LAYER),
    "M1M2": lambda: models.M1M2(_VAE, train_m1=True, **_LAYER),
    "BernoulliVAE": lambda: models.BernoulliVAE(
        PIXELS, num_bits=LATENT, encoder_dims=(HIDDEN,), decoder_dims=(HIDDEN,)
    ),
    "GeneratorVAE": lambda: models.GeneratorVAE(),
}


def rows_for(model: PyroModel, num: int, device: torch.device) -> Batch:
    """Return `num` rows, of which half have a label; all for a classifier of labelled rows."""
    xs = torch.rand(num, *model.input_shape, device=device)
    if model.takes_pixels:
        xs = xs.bernoulli()
    labelled = num if isinstance(model, models.MLPClassifier) else num // 2
    ys = torch.arange(num, device=device) % CLASSES
    if isinstance(model, models.RegressionM2):
        ys = torch.linspace(-1, 1, num, device=device)
        ys[labelled:] = torch.nan
        return Batch(xs, ys, labelled)
    ys = torch.where(torch.arange(num, device=device) < labelled, ys, -1)
    if isinstance(model, SSLModel) and model.multi_label:
        bits = (ys[:, None] >> torch.arange(CLASSES, device=device)) & 1
        ys = torch.where(ys[:, None] < 0, -1, bits)
    return Batch(xs, ys, labelled)


def by_hand(name: str, rows: Batch, precision: str, compiled: bool) -> Step:
    """Return the step of VAE, GumbelSoftmaxM2 or CCVAE written by hand in PyTorch.

    Args:
        name: the model's name.
        rows: see `rows_for`.
        precision: `float32` or `bfloat16`.
        compiled: compile it.
    """
    model: torch.nn.Module
    if name == "VAE":
        model = PlainVAE(PIXELS, HIDDEN, LATENT)
    elif name == "CCVAE":
        model = PlainCCVAE(PIXELS, CLASSES, HIDDEN, LATENT - CLASSES, DRAWS)
    else:
        model = PlainGumbelSoftmaxM2(0.5, PIXELS, CLASSES, HIDDEN, LATENT)
    model, pixels = model.to(rows.xs.device), rows.xs.flatten(1)
    known = () if name == "VAE" else (rows.num_labelled,)
    step = make_step(model, lambda x, y: model.loss(x, y, *known), PRECISIONS[precision], compiled)
    return lambda: step(pixels, rows.ys)


BY_HAND = ("VAE", "GumbelSoftmaxM2", "CCVAE")


def measure_models(
    num: int, rounds: int, precisions: tuple[str, ...], device: torch.device, names: tuple[str, ...]
) -> list[dict[str, object]]:
    """Return one row for each model, way to run its step, and precision; ratios first.

    Args:
        num: rows of a batch.
        rounds: see `alternate`; the ways of one model take turns.
        precisions: precisions to time.
        device: where.
        names: keys of `MODELS`.
    """
    ways = [("eager", False, False), ("compiled", True, False)]
    if device.type == "cuda":
        ways += [("CUDA graph", False, True), ("compiled, CUDA graph", True, True)]
    speeds = {p: matrix_speed(p, device, (num * CLASSES, HIDDEN, PIXELS)) for p in precisions}
    table: list[dict[str, object]] = []
    for name in names:
        torch.manual_seed(0)
        model = MODELS[name]()
        rows = rows_for(model, num, device)
        steps: dict[str, Step] = {}
        for precision in precisions:
            for way, compiled, captured in ways:
                if name in BY_HAND and not captured:
                    label = f"{name} by hand, {way}, {precision}"
                    steps[label] = by_hand(name, rows, precision, compiled)
                steps[f"{name}, {way}, {precision}"] = library_step(
                    MODELS[name]().to(device), rows, precision, compiled, captured
                )
        seconds = alternate(steps, rounds, device)
        first = f"{name}, eager, {precisions[0]}"
        operations = matrix_flops(steps[first])
        for step in steps:
            precision = step.rpartition(", ")[2]
            limit, median = operations / speeds[precision], seconds[step].median()
            hand = [s for s in steps if "by hand" in s and s.endswith(precision)]
            best = min(hand, key=lambda s: seconds[s].median()) if hand else None
            table.append(
                {
                    "step": step,
                    **ratios(seconds, step, first),
                    "times_by_hand": (seconds[step] / seconds[best]).median() if best else None,
                    "times_arithmetic_limit": median / limit,
                    "ms": 1e3 * median,
                    "ms_min": 1e3 * seconds[step].min(),
                    "ms_max": 1e3 * seconds[step].max(),
                    "arithmetic_limit_ms": 1e3 * limit,
                    "gigaflop_per_second": speeds[precision] / 1e9,
                }
            )
    return table

"""Training steps of the library and of its peers, on one fixed batch."""

from collections.abc import Callable
from typing import Any

import pyro
import torch
from torch import Tensor

from benchmarks.plain_torch import PlainM2, make_step
from benchmarks.textbook import TextbookM2, TextbookTraining
from pyro_ssl.infer.capture import CapturedStep
from pyro_ssl.infer.config import PRECISIONS
from pyro_ssl.infer.gradients import CompiledGradients, Gradients
from pyro_ssl.infer.objective import Objective
from pyro_ssl.models import PyroModel
from pyro_ssl.models.rows import Batch

Step = Callable[[], object]
PIXELS = 784
HIDDEN = 500
LATENT = 50
WEIGHT = 50.0


def networks(num_classes: int) -> dict[str, Any]:
    """Return the options that give M2 the peers' networks, 784-500-50-500-784, and their loss."""
    return {
        "input_shape": (1, 28, 28),
        "num_classes": num_classes,
        "latent_dim": LATENT,
        "hidden_dims": (HIDDEN,),
        "alpha": WEIGHT,
        "batch_norm": False,
        "input_dropout": 0.0,
    }


def rows_of_a_kind(xs: Tensor, ys: Tensor | None) -> Batch:
    """Return a batch of inputs `[B, ...]` that all have a label, `ys` `[B]`, or all have none."""
    if ys is None:
        return Batch(xs, torch.full((len(xs),), -1, device=xs.device), 0)
    return Batch(xs, ys, len(ys))


def library_step(
    model: PyroModel, batch: Batch, precision: str, compiled: bool, captured: bool
) -> Step:
    """Return the step that `pyro_ssl.infer.fit` makes, on one batch.

    Args:
        model: the model, on the device of the batch.
        batch: rows, with the number of those that have a label.
        precision: `float32` or `bfloat16`.
        compiled: compile the step.
        captured: replay it as a CUDA graph.
    """
    xs, labelled = batch.xs, batch.num_labelled or 0
    objective = Objective(model.train(), labelled, len(xs) - labelled, PRECISIONS[precision])
    gradients = (CompiledGradients if compiled else Gradients)(objective)
    on_gpu = xs.device.type == "cuda"
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True, capturable=on_gpu)

    def step() -> None:
        with pyro.validation_enabled(False):
            gradients(batch)
        optimiser.step()

    return CapturedStep(step, xs.device) if captured else step


def textbook(
    xs: Tensor, ys: Tensor | None, num_classes: int, activation: type[torch.nn.Module]
) -> Step:
    """Return the step of the textbook Pyro M2, float32.

    Args:
        xs: inputs `[B, 1, 28, 28]`.
        ys: their labels `[B]`, or None.
        num_classes: number of classes.
        activation: class of the activation.
    """
    model = TextbookM2(PIXELS, num_classes, HIDDEN, LATENT, activation).to(xs.device)
    # Pyro's parameter store is global: during a step, "textbook" must be this model in it.
    name_space = {"store": pyro.get_param_store().get_state()}
    training, pixels = TextbookTraining(model), xs.flatten(1)

    def step() -> None:
        with pyro.get_param_store().scope(name_space["store"]) as state:
            if ys is None:
                training.unlabelled_step(pixels)
            else:
                training.labelled_step(pixels, ys)
        name_space["store"] = state

    return step


def plain(xs: Tensor, ys: Tensor | None, num_classes: int, precision: str, compiled: bool) -> Step:
    """Return the step written by hand in PyTorch.

    Args:
        xs: inputs `[B, 1, 28, 28]`.
        ys: their labels `[B]`, or None.
        num_classes: number of classes.
        precision: `float32` or `bfloat16`.
        compiled: compile it.
    """
    model = PlainM2(PIXELS, num_classes, HIDDEN, LATENT, WEIGHT).to(xs.device)
    loss = model.unlabelled_loss if ys is None else model.labelled_loss
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    step, pixels = make_step(model, loss, dtype, compiled), xs.flatten(1)
    arguments = (pixels,) if ys is None else (pixels, ys)
    return lambda: step(*arguments)

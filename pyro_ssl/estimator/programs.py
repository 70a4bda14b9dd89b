"""Use of a trained model's programs: samples, completed inputs, and means."""

import inspect
import zlib
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pyro_ssl.models.base import PyroModel
from pyro_ssl.models.rows import Batch
from pyro_ssl.nets.modes import evaluating


class SharedNoise(TorchFunctionMode):
    """Gives all rows the same normal noise, so that results for a row depend on no other row.

    Args:
        seed: seed of the noise.
    """

    def __init__(self, *seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(zlib.crc32(repr(seed).encode()))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.normal_ and len(args) == 1 and not kwargs:
            last = args[0].shape[-1:]
            noise = torch.randn(last, generator=self._generator, dtype=torch.float64)
            return args[0].copy_(noise.to(args[0]))
        sizes: Any = args if func is torch.randn else ()
        sizes = sizes if len(sizes) != 1 or isinstance(sizes[0], int) else sizes[0]
        if len(sizes) > 1:
            # Draws for each row, `[..., B, D]`.
            *draws, rows, last = sizes
            shape = (*draws, 1, last)
            noise = torch.randn(shape, generator=self._generator, dtype=torch.float64)
            return noise.expand(*draws, rows, last).to(**(kwargs or {}))
        return func(*args, **(kwargs or {}))


class _FreeInputs(Messenger):
    """Draws the site "x", or takes its mean, instead of observing it."""

    def __init__(self, mean: bool) -> None:
        super().__init__()
        self.mean = mean

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"].split("/")[-1] == "x":
            msg["is_observed"] = False
            msg["value"] = msg["fn"].mean if self.mean else None
            msg["done"] = self.mean


class _Means(Messenger):
    """Takes the mean of each latent with a density instead of a draw."""

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"] and msg["value"] is None and msg["fn"].has_rsample:
            msg["value"] = msg["fn"].mean
            msg["done"] = True


@torch.no_grad()
def generate(model: PyroModel, like: Tensor, ys: Tensor) -> Tensor:
    """Draw latents and inputs from p(x, z | y), `[B, *input_shape]`.

    Args:
        model: the model, in evaluation mode.
        like: any inputs `[B, *input_shape]`; documents get their lengths from them.
        ys: labels `[B]`.
    """
    with _quiet(model), _FreeInputs(mean=False):
        trace = poutine.trace(model.model).get_trace(Batch(like, ys, len(like)))
    return _inputs_of(trace)


@torch.no_grad()
def complete(
    model: PyroModel, xs: Tensor, ys: Tensor, draw_latents: bool, draw_inputs: bool
) -> Tensor:
    """Return inputs under p(x|y,z), `[B, *input_shape]`, with z from q(z|x,y).

    Args:
        model: the model.
        xs: inputs `[B, *input_shape]`.
        ys: labels `[B]`.
        draw_latents: draw z; otherwise use the mean of q(z|x,y).
        draw_inputs: draw x; otherwise use the mean of p(x|y,z), or the most probable category.
    """
    batch = Batch(xs, ys, len(xs))
    with _quiet(model):
        means = _Means()
        program = model.guide if draw_latents else means(model.guide)
        guide_trace = poutine.trace(program).get_trace(batch)
        replayed = poutine.replay(model.model, trace=guide_trace)
        if draw_inputs:
            with _FreeInputs(mean=False):
                return _inputs_of(poutine.trace(replayed).get_trace(batch))
        return _mean_inputs(model, replayed, batch)


@torch.no_grad()
def decoded(model: PyroModel, zs: Tensor, ys: Tensor, covariates: Tensor | None) -> Tensor:
    """Return the means of p(x|y,z), `[B, *input_shape]`, from the model's `decode`.

    Args:
        model: the model.
        zs: latents `[B, D]`.
        ys: labels `[B]`; not used for models whose latents hold the label, such as CCVAE.
        covariates: `[B, C]`; None if the model has none.
    """
    decode: Any = model.decode
    needed = [p for p in inspect.signature(decode).parameters.values() if p.default is p.empty]
    options = {} if covariates is None else {"covariates": covariates}
    found: Tensor = decode(*(zs, ys)[: len(needed)], **options)
    return found


def _mean_inputs(model: PyroModel, program: Any, batch: Batch) -> Tensor:
    """Return the mean of p(x|.), computed by the model's likelihood from the decoder's outputs."""
    found: list[Tensor] = []
    lower = getattr(model, "vae", model)
    original = lower._p_x_of

    def listening(outputs: Tensor, covariates: Tensor | None = None) -> Any:
        found.append(lower._mean_of(outputs, covariates))
        return original(outputs, covariates)

    lower._p_x_of = listening  # type: ignore[method-assign]
    try:
        program(batch)
    finally:
        del lower._p_x_of
    return found[-1].reshape(batch.xs.shape)


def _inputs_of(trace: Any) -> Tensor:
    value: Tensor = next(
        node["value"] for name, node in trace.nodes.items() if name.split("/")[-1] == "x"
    )
    return value


class _quiet:  # noqa: N801
    """Evaluation mode, without Pyro's store and validation."""

    def __init__(self, model: PyroModel) -> None:
        self._contexts = (
            evaluating(model),
            pyro.get_param_store().scope(),
            pyro.validation_enabled(False),
        )

    def __enter__(self) -> None:
        for context in self._contexts:
            context.__enter__()

    def __exit__(self, *error: Any) -> None:
        for context in reversed(self._contexts):
            context.__exit__(*error)

"""Convolutions of stride 2, whose gradients can be recorded while several models train at once."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# For images and for signals: halving, and doubling.
_HALVING = {2: F.conv2d, 1: F.conv1d}
_DOUBLING = {2: F.conv_transpose2d, 1: F.conv_transpose1d}


def halved(xs: Tensor, layer: Any) -> Tensor:
    """Return a convolution of images with kernels of 4, stride 2 and padding 1.

    Args:
        xs: `[N, I, *sides]`, one or two sides, even.
        layer: `nn.Conv1d` or `nn.Conv2d`.

    Returns:
        `[N, O, *halves]`.
    """
    if _mapped(layer.weight):
        return _Halved.apply(xs, layer.weight, layer.bias)
    return layer(xs)


def doubled(hs: Tensor, layer: Any) -> Tensor:
    """Return a transposed convolution of images with kernels of 4, stride 2 and padding 1.

    Args:
        hs: `[N, I, *sides]`, one or two sides.
        layer: `nn.ConvTranspose1d` or `nn.ConvTranspose2d`.

    Returns:
        `[N, O, *doubles]`.
    """
    if _mapped(layer.weight):
        return _Doubled.apply(hs, layer.weight, layer.bias)
    return layer(hs)


def _mapped(weight: Tensor) -> bool:
    """Return whether `torch.func.vmap` maps over weights.

    If so, their gradients are computed by `F.conv2d` and the like: TorchScript, with which
    `pyro_ssl.infer.ensemble` records a step, does not take torch's own gradient of a convolution.
    """
    return torch._C._functorch.is_batchedtensor(weight)


class _Halved(torch.autograd.Function):
    """A convolution of stride 2, whose gradient consists of convolutions."""

    generate_vmap_rule = True

    @staticmethod
    def forward(xs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return _HALVING[xs.dim() - 2](xs, weight, bias, stride=2, padding=1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,), (xs, weight) = grads, ctx.saved_tensors
        of_xs = _DOUBLING[xs.dim() - 2](grad, weight, stride=2, padding=1)
        return of_xs, _of_weight(xs, grad), grad.transpose(0, 1).flatten(1).sum(1)


class _Doubled(torch.autograd.Function):
    """A transposed convolution of stride 2, whose gradient consists of convolutions."""

    generate_vmap_rule = True

    @staticmethod
    def forward(hs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return _DOUBLING[hs.dim() - 2](hs, weight, bias, stride=2, padding=1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,), (hs, weight) = grads, ctx.saved_tensors
        of_hs = _HALVING[hs.dim() - 2](grad, weight, stride=2, padding=1)
        return of_hs, _of_weight(grad, hs), grad.transpose(0, 1).flatten(1).sum(1)


def _of_weight(large: Tensor, small: Tensor) -> Tensor:
    """Return the gradient `[S, L, 4, ...]` of weights between `[N, L, ...]` and `[N, S, ...]`.

    It is itself a convolution, with rows as channels: `sum_n,h small[n, s, h]
    large[n, l, 2 h + k - 1]` for the weight's index k.
    """
    kernels = small.transpose(0, 1)
    convolve = _HALVING[large.dim() - 2]
    return convolve(large.transpose(0, 1), kernels, padding=1, dilation=2).transpose(0, 1)

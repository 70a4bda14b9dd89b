"""Objectives as functions of their parameters, which torch.func can map over several models."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pyro_ssl.infer.graphs import recorded, simplified

_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]


@contextmanager
def functional_programs() -> Iterator[None]:
    """Make Pyro programs run within `torch.func.vmap`.

    Parameters do not enter Pyro's store, which would request gradients for them. Where Pyro and
    torch's distributions work in place, or on a tensor's `data`, equivalents that vmap can map
    replace these operations.
    """
    with _NoStore(), _NoInPlace():
        yield


class _NoStore(Messenger):
    def _pyro_param(self, msg: Any) -> None:
        msg["value"] = msg["args"][1]
        msg["done"] = True


class _NoInPlace(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # `torch.distributions` draws noise by torch.empty(shape).normal_().
        if func is torch.Tensor.normal_ and len(args) == 1 and not kwargs:
            return torch.randn_like(args[0])
        if func == _DATA:
            return args[0].detach()
        return func(*args, **(kwargs or {}))


class Recorded:
    """A function of tensors as a list of its tensor operations, run without its Python code.

    The function is called once. On a CPU, TorchScript's interpreter runs the list and takes about a
    microsecond per operation. On other devices, or if TorchScript cannot run it, it runs as a graph
    of `torch.fx`. Random operations draw anew in each call.

    Args:
        function: takes a flat list of tensors and returns a flat tuple of tensors.
        inputs: tensors with the shapes and dtypes of all later calls.
    """

    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor]
    ) -> None:
        with torch.random.fork_rng(devices=[t.device for t in inputs if t.is_cuda][:1]):
            graph = simplified(recorded(function, *inputs))
            self._run: Callable[..., tuple[Tensor, ...]] = graph
            if all(t.device.type == "cpu" for t in inputs):
                self._run = _interpreted(graph, tuple(inputs))

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the function's value."""
        with torch.no_grad():
            return self._run(*inputs)


def _interpreted(graph: Any, inputs: tuple[Tensor, ...]) -> Any:
    """Return a graph as a TorchScript function, or unchanged if TorchScript cannot run it."""
    with torch.no_grad(), warnings.catch_warnings():
        # TorchScript is deprecated, but no other interpreter runs graphs without Python.
        warnings.simplefilter("ignore")
        try:
            return torch.jit.trace(graph, inputs, check_trace=False)
        except RuntimeError:
            return graph

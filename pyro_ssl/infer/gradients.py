"""Loss, terms and gradients of a minibatch: by Python each time, or compiled once."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_ssl.models.rows import Batch

Compiled = Callable[..., tuple[Tensor, list[Tensor | None]]]


class Gradients:
    """Evaluates an objective on minibatches and leaves its gradients in the parameters.

    Args:
        objective: an `Objective`, possibly wrapped for training by several processes.

    Attributes:
        names: what a call returns: `loss`, the objective's terms, and `gradient_norm` (of
            the loss, over all parameters).
    """

    def __init__(self, objective: nn.Module) -> None:
        self.objective = objective
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        self.names: tuple[str, ...] = ()

    def __call__(self, batch: Batch) -> Tensor:
        """Return the values that `names` names, `[len(names)]`, detached."""
        for parameter in self.parameters:
            parameter.grad = None
        loss, terms = self.objective(batch)
        loss.backward()
        return self._stack(loss, terms, [p.grad for p in self.parameters])

    def _stack(
        self, loss: Tensor, terms: dict[str, Tensor], grads: Sequence[Tensor | None]
    ) -> Tensor:
        norm = torch.nn.utils.get_total_norm([g for g in grads if g is not None])
        self.names = ("loss", *terms, "gradient_norm")
        return torch.stack([loss.detach(), *terms.values(), norm])


class CompiledGradients(Gradients):
    """The same by one compiled function, in which nothing of Pyro is left.

    The first call runs model, guide, ELBO and backward pass in Python once and records their
    tensor operations as a graph (the random ones too: they draw from torch's generators,
    the very numbers that the uncompiled step would draw). `torch.compile` fuses that graph.
    Where this fails, a warning says why in one line, and Python runs each step as before.

    Batches must have the shapes of the first one, and the objective must stay in training mode.
    """

    def __init__(self, objective: nn.Module) -> None:
        super().__init__(objective)
        self._compiled: Compiled | None = None
        self.failed = False

    def __call__(self, batch: Batch) -> Tensor:
        """Return the values that `names` names, `[len(names)]`, detached."""
        if self.failed:
            return super().__call__(batch)
        if self._compiled is not None:
            values, grads = self._run(self._compiled, batch)
        else:
            try:
                graph = self._record(batch)
                # Fused random numbers are another stream, and on a CPU they are slower.
                options: dict[str, Any] = {"fallback_random": True}
                compiled = torch.compile(graph, fullgraph=True, options=options)
                values, grads = self._run(compiled, batch)
            except Exception as error:
                # Compilers fail in ways of their own; whatever it is, the plain step still works.
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                warnings.warn(f"training goes on uncompiled: {reason}", stacklevel=2)
                self.failed = True
                return super().__call__(batch)
            self._compiled = compiled
        for parameter, grad in zip(self.parameters, grads, strict=True):
            parameter.grad = grad
        return values

    def _run(self, compiled: Compiled, batch: Batch) -> tuple[Tensor, list[Any]]:
        weights = [p.detach() for p in self.parameters]
        with torch.no_grad():
            return compiled(weights, list(self.objective.buffers()), batch.xs, batch.ys)

    def _record(self, batch: Batch) -> torch.fx.GraphModule:
        """Return the graph of `(weights, buffers, xs, ys) -> values, gradients`."""
        names = [n for n, p in self.objective.named_parameters() if p.requires_grad]
        buffer_names = [n for n, _ in self.objective.named_buffers()]

        def evaluate(weights: list[Any], buffers: list[Tensor], xs: Tensor, ys: Tensor) -> Any:
            state = dict(zip(names + buffer_names, weights + buffers, strict=True))
            same = Batch(xs, ys, batch.num_labelled)
            loss, terms = functional_call(self.objective, state, (same,))
            grads = list(torch.autograd.grad(loss, weights, allow_unused=True))
            return self._stack(loss, terms, grads), grads

        # Recording is a run: what it draws and what batch norm counts must not show.
        device = batch.xs.device
        devices = [device] if device.type == "cuda" else []
        buffers = [b.clone() for b in self.objective.buffers()]
        with torch.random.fork_rng(devices=devices):
            return make_fx(evaluate)(self.parameters, buffers, batch.xs, batch.ys)

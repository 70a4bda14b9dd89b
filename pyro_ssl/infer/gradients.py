"""Loss, terms and gradients of a minibatch, computed by Python or by a compiled function."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pyro_ssl.infer.graphs import recorded
from pyro_ssl.models.rows import Batch

Compiled = Callable[..., tuple[Tensor, list[Tensor | None]]]


class Measured(NamedTuple):
    """Measurements of a step: the loss, its terms, and the norm of its gradient.

    Attributes:
        names: `loss`, the objective's terms, and `gradient_norm` (over all parameters).
        values: their values, `[len(names)]`, detached.
    """

    names: tuple[str, ...]
    values: Tensor

    @classmethod
    def of(cls, loss: Tensor, terms: dict[str, Tensor], norm: Tensor) -> "Measured":
        """Return the measurements of a step, from their parts."""
        values = torch.stack([loss.detach(), *terms.values(), norm])
        return cls(("loss", *terms, "gradient_norm"), values)

    @property
    def norm(self) -> Tensor:
        """The norm of the gradient, a scalar."""
        return self.values[-1]


class Totals:
    """Sums of the measurements of an epoch's steps, kept on the device."""

    def __init__(self) -> None:
        self._measured: Measured | None = None

    def add(self, measured: Measured) -> None:
        """Add the measurements of a step, without reading them on the host."""
        if self._measured is None:
            self._measured = Measured(measured.names, torch.zeros_like(measured.values))
        self._measured.values.add_(measured.values)

    def clear(self) -> None:
        """Set the sums to 0 in place, since a CUDA graph refers to their memory."""
        if self._measured is not None:
            self._measured.values.zero_()

    def sums(self) -> Measured:
        """Return the sums over the steps, of which there must be at least one."""
        assert self._measured is not None
        return self._measured


class Gradients:
    """Evaluates an objective on minibatches and stores its gradients in the parameters.

    Args:
        objective: an `Objective`, possibly wrapped for training by several processes.
    """

    def __init__(self, objective: nn.Module) -> None:
        self.objective = objective
        self.parameters = [p for p in objective.parameters() if p.requires_grad]

    def __call__(self, batch: Batch) -> Measured:
        """Return loss, terms and gradient norm of a batch."""
        for parameter in self.parameters:
            parameter.grad = None
        loss, terms = self.objective(batch)
        loss.backward()
        return Measured.of(loss, terms, _norm([p.grad for p in self.parameters]))


def _norm(gradients: Sequence[Tensor | None]) -> Tensor:
    return torch.nn.utils.get_total_norm([g for g in gradients if g is not None])


def _laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Return a gradient in the memory layout of its parameter, as after `backward`.

    Fused optimisers read memory in order and ignore strides.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter, requires_grad=False).copy_(gradient)


class CompiledGradients(Gradients):
    """The same as `Gradients`, by one compiled function that no longer calls Pyro.

    The first call runs model, guide, ELBO and backward pass in Python once and records their
    tensor operations as a graph. Recorded random operations draw the same numbers from torch's
    generators as an uncompiled step. `torch.compile` fuses that graph. If this fails, a warning
    gives the reason in one line, and Python runs each step.

    Batches must have the shapes of the first one, and the objective must stay in training mode.
    """

    def __init__(self, objective: nn.Module) -> None:
        super().__init__(objective)
        self._compiled: tuple[Compiled, tuple[str, ...]] | None = None
        self.failed = False

    def __call__(self, batch: Batch) -> Measured:
        """Return loss, terms and gradient norm of a batch."""
        if self.failed:
            return super().__call__(batch)
        if self._compiled is not None:
            compiled, names = self._compiled
            values, grads = self._run(compiled, batch)
        else:
            try:
                # Imported here, since the import takes a second.
                from pyro_ssl.infer.compiler_options import compiler_options, with_float_scatters

                graph, names = self._record(batch)
                graph = with_float_scatters(graph)
                compiled = torch.compile(graph, fullgraph=True, options=compiler_options())
                values, grads = self._run(compiled, batch)
            except Exception as error:
                # A compiler may raise any error; the uncompiled step still works.
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                warnings.warn(f"training goes on uncompiled: {reason}", stacklevel=2)
                self.failed = True
                return super().__call__(batch)
            self._compiled = compiled, names
        for parameter, grad in zip(self.parameters, grads, strict=True):
            parameter.grad = grad if grad is None else _laid_out(grad, parameter)
        return Measured(names, values)

    def _run(self, compiled: Compiled, batch: Batch) -> tuple[Tensor, list[Any]]:
        weights = [p.detach() for p in self.parameters]
        with torch.no_grad():
            return compiled(weights, list(self.objective.buffers()), batch.xs, batch.ys)

    def _record(self, batch: Batch) -> tuple[torch.fx.GraphModule, tuple[str, ...]]:
        """Return the graph of `(weights, buffers, xs, ys) -> values, gradients`, and names."""
        names = [n for n, p in self.objective.named_parameters() if p.requires_grad]
        buffer_names = [n for n, _ in self.objective.named_buffers()]
        measured: list[Measured] = []

        def evaluate(weights: list[Any], buffers: list[Tensor], xs: Tensor, ys: Tensor) -> Any:
            state = dict(zip(names + buffer_names, weights + buffers, strict=True))
            same = Batch(xs, ys, batch.num_labelled)
            loss, terms = functional_call(self.objective, state, (same,))
            grads = list(torch.autograd.grad(loss, weights, allow_unused=True))
            measured.append(Measured.of(loss, terms, _norm(grads)))
            return measured[-1].values, grads

        # Recording runs the step, which must not change random states or batch norm's statistics.
        device = batch.xs.device
        devices = [device] if device.type == "cuda" else []
        buffers = [b.clone() for b in self.objective.buffers()]
        with torch.random.fork_rng(devices=devices):
            graph = recorded(evaluate, self.parameters, buffers, batch.xs, batch.ys)
        # Pyro makes unused tensors on the CPU, which would be inputs of the graph. Draws are kept.
        graph.graph.eliminate_dead_code()
        graph.recompile()
        return graph, measured[-1].names

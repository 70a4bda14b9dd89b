"""Compiler options with which a step draws the random numbers of the uncompiled step."""

from itertools import pairwise
from typing import Any

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch._inductor.fx_passes import post_grad

from pyro_ssl.infer.graphs import is_random

aten = torch.ops.aten


def compiler_options() -> dict[str, Any]:
    """Return options with which random numbers are those of the uncompiled step.

    Random numbers in fused kernels would differ, and they are slower on a CPU.
    """
    options: dict[str, Any] = {"fallback_random": True}
    if not hasattr(post_grad, "_chain_random_ops_for_ordering"):
        # Early versions of the compiler draw random numbers in another order.
        options |= {"reorder_for_locality": False, "post_grad_custom_post_pass": _DrawsInOrder()}
    return options


def with_float_scatters(module: fx.GraphModule) -> fx.GraphModule:
    """Return a recorded graph in which scattered numbers have the type of their tensor.

    Early versions of the compiler turn `zeros.scatter_(-1, index, 1)`, which Pyro's
    straight-through distributions call, into a tensor of integers.
    """
    for node in module.graph.nodes:
        if node.target in (aten.scatter.value, aten.scatter_.value):
            to, dim, index, value = node.args
            if to.meta["val"].is_floating_point():
                node.args = to, dim, index, float(value)
    module.recompile()
    return module


class _DrawsInOrder(CustomGraphPass):
    """Makes each random operation of a graph depend on the one before it."""

    def __call__(self, graph: fx.Graph) -> None:
        """Add the dependencies to a graph."""
        from torch._inductor.fx_passes.control_dependencies import preserve_node_ordering
        from torch.utils._ordered_set import OrderedSet

        draws = [node for node in graph.nodes if is_random(node)]
        before = {draw: OrderedSet([last]) for last, draw in pairwise(draws)}
        preserve_node_ordering(graph, before)

    def uuid(self) -> str:
        """Return a name for this pass, which distinguishes compiled graphs in the cache."""
        return "pyro_ssl: draws in order"

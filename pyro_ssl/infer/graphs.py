"""Recorded graphs of tensor operations, made faster with the same results."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_ssl.infer.graph_rules import RULES, if_alike, meta

aten = torch.ops.aten

# Operations whose value does not depend on the values of their inputs.
_FILLS = {
    *(aten.new_zeros.default, aten.new_ones.default, aten.new_full.default),
    *(aten.zeros_like.default, aten.ones_like.default, aten.full_like.default),
    *(aten.empty.memory_format, aten.new_empty.default),
}
# Second operands that change nothing.
_NEUTRAL: dict[Any, int] = {
    **dict.fromkeys((aten.add.Tensor, aten.sub.Tensor), 0),
    **dict.fromkeys((aten.mul.Tensor, aten.mul.Scalar, aten.div.Tensor), 1),
}
_LARGEST_CONSTANT = 1_000_000


def recorded(function: Callable[..., Any], *inputs: Any) -> fx.GraphModule:
    """Return the graph of a function's tensor operations, which is called once.

    Args:
        function: the function.
        inputs: its arguments, tensors and lists of them.
    """
    # Each operation notes the form of its value as a tensor without storage. Without a context,
    # `make_fx` makes a new mode for each of these, which takes half of the time.
    forms = FakeTensorMode(allow_fallback_kernels=True)
    with tracing(TracingContext(forms)):
        return make_fx(function)(*inputs)


def simplified(module: fx.GraphModule) -> fx.GraphModule:
    """Return a graph with the same values, up to rounding, in fewer and faster operations.

    Values that depend on no input are computed once. Repeated operations, and operations without
    effect, are removed. Some operations are replaced by faster ones on a CPU. Random draws stay as
    they are.

    Args:
        module: a graph recorded by `make_fx`; it is changed.
    """
    graph = module.graph
    graph.eliminate_dead_code()
    if not any(_changes_inputs(node) for node in graph.nodes):
        # A second time, since the first may enable further rules.
        for _ in range(2):
            _Simplifier(module).run()
            graph.eliminate_dead_code()
        _own_outputs(graph)
    module.recompile()
    return module


class _Simplifier:
    def __init__(self, module: fx.GraphModule) -> None:
        self._module, self._graph = module, module.graph
        self._constants: dict[fx.Node, Any] = {}
        self._known: dict[Any, fx.Node] = {}

    def run(self) -> None:
        for node in list(self._graph.nodes):
            self._visit(node)
        for node, value in self._constants.items():
            if isinstance(value, Tensor) and any(u not in self._constants for u in node.users):
                self._keep(node, value)

    def _visit(self, node: fx.Node) -> None:
        if node.op == "get_attr":
            self._constants[node] = getattr(self._module, str(node.target))
        if node.op != "call_function" or is_random(node):
            return
        key = _key(node)
        same = self._known.get(key)
        if same is None:
            self._known[key] = node
            same = self._neutral(node)
        if same is None and self._is_constant(node):
            return
        for rule in RULES:
            same = same or rule(node, self._graph)
        if same is not None:
            node.replace_all_uses_with(same)
            self._graph.erase_node(node)
            self._known[key] = same

    def _is_constant(self, node: fx.Node) -> bool:
        """Return whether a value is the same in every run; if so, compute it."""
        fills = node.target in _FILLS
        if not fills and not all(n in self._constants for n in node.all_input_nodes):
            return False
        if fills:
            args, kwargs = node.args, node.kwargs
            if node.all_input_nodes:
                # Only shape, dtype and device of the input matter.
                of = meta(node.args[0])
                like = torch.empty_strided(of.shape, of.stride(), dtype=of.dtype, device=of.device)
                args = (like, *args[1:])
        else:
            args, kwargs = fx.map_arg((node.args, node.kwargs), self._constants.__getitem__)
        value = node.target(*args, **kwargs)  # type: ignore[operator]
        if isinstance(value, Tensor) and value.numel() > _LARGEST_CONSTANT:
            return False
        self._constants[node] = value
        return True

    def _keep(self, node: fx.Node, value: Tensor) -> None:
        if node.op == "get_attr":
            return
        name = f"_constant_{node.name}"
        self._module.register_buffer(name, value, persistent=False)
        with self._graph.inserting_before(node):
            constant = self._graph.get_attr(name)
        constant.meta = dict(node.meta)
        node.replace_all_uses_with(constant, lambda user: user not in self._constants)

    def _neutral(self, node: fx.Node) -> fx.Node | None:
        """Return the operand that a node leaves unchanged, by adding 0 or multiplying by 1."""
        if node.target is aten.pow.Tensor_Scalar and node.args[1] == 1:
            return if_alike(node, node.args[0])
        neutral = _NEUTRAL.get(node.target)
        if neutral is None:
            return None
        pairs = [node.args[:2]]
        if node.target in (aten.add.Tensor, aten.mul.Tensor) and not node.kwargs:
            pairs.append(node.args[1::-1])
        for kept, other in pairs:
            value = self._constants.get(other, other) if isinstance(other, fx.Node) else other
            number = isinstance(value, (int, float)) and value == neutral
            if number or (isinstance(value, Tensor) and bool((value == neutral).all())):
                return if_alike(node, kept)
        return None


def _own_outputs(graph: fx.Graph) -> None:
    """Copy outputs that are inputs, or views of inputs, which the caller may change in place."""
    output = graph.output_node()
    for node in output.all_input_nodes:
        origin = node
        while _is_view(origin):
            origin = origin.all_input_nodes[0]
        if origin.op == "placeholder":
            with graph.inserting_before(output):
                output.replace_input_with(node, graph.call_function(aten.clone.default, (node,)))


def _is_view(node: fx.Node) -> bool:
    if node.target is operator.getitem:
        return True
    returns = getattr(_schema(node), "returns", ())
    return any(value.alias_info is not None for value in returns)


def _key(node: fx.Node) -> Any:
    """Return a key that is equal for two nodes if they compute the same value."""
    return node.target, repr((node.args, node.kwargs))


def _schema(node: fx.Node) -> Any:
    return getattr(node.target, "_schema", None)


def _changes_inputs(node: fx.Node) -> bool:
    schema = _schema(node)
    return bool(schema is not None and schema.is_mutable)


def is_random(node: fx.Node) -> bool:
    """Return whether an operation draws from a generator."""
    tags = getattr(node.target, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags

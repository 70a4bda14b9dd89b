"""Rules that replace operations of a recorded graph by faster equivalents."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten

# Operations that may return their input.
_MOVES = {
    *(aten.alias.default, aten.detach.default, aten.clone.default, aten._to_copy.default),
    *(aten.view.default, aten._unsafe_view.default, aten.expand.default, aten.permute.default),
    *(aten.slice.Tensor, aten.transpose.int, aten.squeeze.dims),
}
_VIEWS = {aten.view.default, aten._unsafe_view.default}
_INVERSES = {aten.neg.default, aten.bitwise_not.default}


def _unmoved(node: fx.Node, graph: fx.Graph) -> fx.Node | None:
    """Return the input of a node that neither changes nor moves it."""
    return if_alike(node, node.args[0]) if node.target in _MOVES else None


def _one_of_one(node: fx.Node, graph: fx.Graph) -> fx.Node | None:
    """Return the input of a concatenation or split that consists of a single tensor."""
    if node.target is aten.cat.default and len(node.args[0]) == 1:  # type: ignore[arg-type]
        return if_alike(node, node.args[0][0])  # type: ignore[index]
    of = node.args[0] if node.args else None
    splits = (aten.split_with_sizes.default, aten.split.Tensor)
    if isinstance(of, fx.Node) and of.target in splits:
        return if_alike(node, of.args[0])
    return None


def _view_of_view(node: fx.Node, graph: fx.Graph) -> fx.Node | None:
    """Return one view in place of two views in a row."""
    inner = node.args[0] if node.target in _VIEWS else None
    if not isinstance(inner, fx.Node) or inner.target not in _VIEWS:
        return None
    origin = inner.args[0]
    of, made = meta(origin), meta(node)
    try:
        torch.empty_strided(of.shape, of.stride(), device="meta").view(made.shape)
    except RuntimeError:
        return None
    return if_alike(node, origin) or _new(node, graph, aten.view.default, origin, list(made.shape))


def _softplus(node: fx.Node, graph: fx.Graph) -> fx.Node | None:
    """Return softplus as max(x, 0) + log(1 + e), e = exp(-|x|): exp and log are vectorised.

    With u = 1 + e rounded, log(1 + e) is log(u) - ((u - 1) - e) / u up to rounding.
    """
    if node.target is not aten.softplus.default or len(node.args) > 1 or node.kwargs:
        return None
    (x,) = node.args
    if meta(x).device.type != "cpu":
        return None

    def call(target: Any, *args: Any) -> fx.Node:
        return _new(node, graph, target, *args)

    e = call(aten.exp.default, call(aten.neg.default, call(aten.abs.default, x)))
    u = call(aten.add.Tensor, e, 1.0)
    lost = call(aten.sub.Tensor, call(aten.sub.Tensor, u, 1.0), e)
    log = call(aten.sub.Tensor, call(aten.log.default, u), call(aten.div.Tensor, lost, u))
    return call(aten.add.Tensor, call(aten.clamp_min.default, x, 0.0), log)


def _negated_twice(node: fx.Node, graph: fx.Graph) -> fx.Node | None:
    """Return the input of two negations in a row."""
    inner = node.args[0] if node.target in _INVERSES else None
    if isinstance(inner, fx.Node) and inner.target is node.target:
        return if_alike(node, inner.args[0])
    return None


def _filling(node: fx.Node, graph: fx.Graph) -> fx.Node | None:
    """Return a masked fill in place of a choice between a tensor and one number."""
    if node.target is not aten.where.self:
        return None
    mask, chosen, other = node.args
    for kept, number, inverted in ((chosen, other, True), (other, chosen, False)):
        filler = meta(number)
        if (
            filler.shape
            or filler.device.type != "cpu"
            or filler.dtype != meta(kept).dtype
            or not _alike(node, kept)
        ):
            continue
        if inverted:
            mask = _new(mask, graph, aten.bitwise_not.default, mask, before=node)
        return _new(node, graph, aten.masked_fill.Tensor, kept, mask, number)
    return None


def _new(
    like: Any, graph: fx.Graph, target: Any, *args: Any, before: fx.Node | None = None
) -> fx.Node:
    with graph.inserting_before(before or like):
        node = graph.call_function(target, args)
    node.meta = dict(like.meta)
    return node


def meta(node: Any) -> Tensor:
    """Return a tensor with shape, strides, dtype and device of a node's value."""
    value: Tensor = node.meta["val"]
    return value


def _alike(node: fx.Node, other: Any) -> bool:
    """Return whether two nodes have the same shape, strides, dtype and device."""
    if not isinstance(other, fx.Node):
        return False
    one, two = (n.meta.get("val") for n in (node, other))
    if not isinstance(one, Tensor) or not isinstance(two, Tensor):
        return False
    return (one.shape, one.stride(), one.dtype, one.device) == (
        *(two.shape, two.stride(), two.dtype, two.device),
    )


def if_alike(node: fx.Node, other: Any) -> fx.Node | None:
    """Return `other` if its shape and strides allow it to replace `node`, else None."""
    return other if _alike(node, other) else None


# Each rule returns the replacement of a node, or None.
Rule = Callable[[fx.Node, fx.Graph], fx.Node | None]
RULES: tuple[Rule, ...] = (
    _unmoved,
    _one_of_one,
    _view_of_view,
    _negated_twice,
    _softplus,
    _filling,
)

import contextlib

import torch
from torch import fx
from torch._inductor.fx_passes import post_grad
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_ssl.infer.compiler_options import compiler_options, with_float_scatters


def test_a_number_is_scattered_as_one_of_its_tensors_type():
    def one_hot(index):
        return torch.zeros(2, 3).scatter_(-1, index, 1), index.new_zeros(2, 3).scatter(-1, index, 1)

    index = torch.tensor([[2], [0]])
    graph = with_float_scatters(make_fx(one_hot)(index))
    values = [node.args[3] for node in graph.graph.nodes if "scatter" in node.name]
    assert [type(value) for value in values] == [float, int]
    for ours, theirs in zip(graph(index), one_hot(index), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_early_compilers_are_told_the_order_of_draws(monkeypatch):
    monkeypatch.delattr(post_grad, "_chain_random_ops_for_ordering", raising=False)
    options = compiler_options()
    assert options["fallback_random"]
    assert not options["reorder_for_locality"]

    def draws():
        first, second = torch.rand(2), torch.randn(2)
        # Used in the other order.
        return second.exp() + first

    graph = make_fx(draws)()
    options["post_grad_custom_post_pass"](graph.graph)
    graph.recompile()
    waiting = [node for node in graph.graph.nodes if "control_deps" in str(node.target)]
    assert len(waiting) == 1
    (before,) = waiting[0].args[0]
    assert isinstance(before, fx.Node)
    assert "rand" in before.name
    torch.manual_seed(0)
    expected = draws()
    torch.manual_seed(0)
    # Early versions of torch only compile this operation, see test_gradients.py.
    with contextlib.suppress(NotImplementedError):
        torch.testing.assert_close(graph(), expected)

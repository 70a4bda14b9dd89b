import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

from pyro_ssl.infer.graphs import simplified

aten = torch.ops.aten
INF = float("inf")


def both(function, *inputs):
    """A function's graph, and it simplified, with the names of its operations."""
    graph = make_fx(function)(*inputs)
    plain = make_fx(function)(*inputs)
    small = simplified(graph)
    names = [str(n.target) for n in small.graph.nodes if n.op == "call_function"]
    return plain, small, names


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_is_that_of_torch_everywhere(dtype):
    finfo = torch.finfo(dtype)
    xs = torch.cat([torch.linspace(-100, 100, 4001), torch.tensor([0.0, -INF, INF, 1e30, -1e30])])
    xs = xs.to(dtype)
    _, small, names = both(F.softplus, xs)
    assert not [n for n in names if "softplus" in n]
    exact = F.softplus(xs.double(), threshold=1000)
    exact = torch.where(xs > 500, xs.double(), exact)
    torch.testing.assert_close(
        small(xs).double(), exact, rtol=4 * finfo.eps, atol=finfo.smallest_normal
    )
    assert small(torch.full_like(xs, torch.nan)).isnan().all()


def test_softplus_of_other_options_stays():
    xs = torch.randn(5)
    _, small, names = both(lambda x: F.softplus(x, beta=2.0), xs)
    assert names == ["aten.softplus.default"]
    assert torch.equal(small(xs), F.softplus(xs, beta=2.0))


def test_choices_of_a_number_are_fills_and_hide_what_is_not_finite():
    def function(mask, x):
        return torch.where(mask, x, 0.5), torch.where(mask, 0.5, x)

    mask, x = torch.tensor([True, False, True, False]), torch.tensor([1.0, torch.nan, INF, 2.0])
    plain, small, names = both(function, mask, x)
    assert not [n for n in names if "where" in n]
    for one, two in zip(plain(mask, x), small(mask, x), strict=True):
        torch.testing.assert_close(one, two, equal_nan=True)
    assert small(mask, x)[0].tolist() == [1.0, 0.5, INF, 0.5]


def test_masks_smaller_than_what_they_choose_from():
    mask, x = torch.tensor([[True], [False]]), torch.randn(3, 2, 4)
    plain, small, _ = both(lambda m, x: torch.where(m, x, 0.0), mask, x)
    assert torch.equal(plain(mask, x), small(mask, x))
    # What is chosen from is smaller than the result: no fill.
    y = torch.randn(1, 2, 4)
    wide = mask.expand(3, 2, 1)
    plain, small, names = both(lambda m, x: torch.where(m, x, 0.0), wide, y)
    assert "aten.where.self" in names
    assert torch.equal(plain(wide, y), small(wide, y))


def test_what_depends_on_no_input_is_computed_once():
    def function(x):
        zeros = x.new_zeros(3)
        prior = (zeros + torch.arange(3.0)).log_softmax(-1)
        return x.sin() * prior.exp().view(1, 3).expand(2, 3)

    x = torch.randn(2, 3)
    plain, small, names = both(function, x)
    assert names == ["aten.sin.default", "aten.mul.Tensor"]
    for again in (x, x.cos()):
        torch.testing.assert_close(small(again), plain(again))


def test_what_is_computed_twice_is_computed_once_but_draws_are_not():
    def function(x):
        return x.exp() * x.exp() + torch.rand_like(x) - torch.rand_like(x)

    x = torch.randn(1000)
    plain, small, names = both(function, x)
    assert names.count("aten.exp.default") == 1
    assert names.count("aten.rand_like.default") == 2
    torch.manual_seed(0)
    expected = plain(x)
    torch.manual_seed(0)
    torch.testing.assert_close(small(x), expected)


def test_operations_that_change_nothing_go():
    def function(x):
        y = torch.cat([x.view(2, 3) * 1 + 0.0]).expand(2, 3) / torch.ones(2, 3)
        return y.neg().neg().view(6).view(3, 2).pow(1).sin()

    x = torch.randn(2, 3)
    plain, small, names = both(function, x)
    assert names == ["aten.view.default", "aten.sin.default"]
    assert torch.equal(small(x), plain(x))


def test_operations_that_only_look_as_if_they_changed_nothing_stay():
    def function(x, one):
        return (
            torch.add(torch.zeros(3), x, alpha=2.0),  # twice x
            1.0 / x,
            torch.zeros(3) - x,
            x * torch.ones(2, 3),  # wider
            x.double() * 1,
            one * x,
            x.expand(3, 3).clone(),
        )

    x, one = torch.randn(3), torch.ones(3)
    plain, small, _ = both(function, x, one)
    again = x.cos(), torch.full((3,), 7.0)
    for expected, found in zip(plain(*again), small(*again), strict=True):
        assert torch.equal(expected, found)
        assert expected.stride() == found.stride()


def test_views_that_strides_do_not_allow_at_once_stay_two():
    def function(x):
        return x.t().reshape(6).view(3, 2) + x.t().contiguous().view(3, 2)

    x = torch.randn(2, 3)
    plain, small, _ = both(function, x)
    assert torch.equal(small(x), plain(x))


def test_results_share_no_memory_with_inputs():
    def function(x):
        return x.view(-1) * 1, x + 0, x.split(2)[0]

    x = torch.randn(4, 2)
    _, small, _ = both(function, x)
    for found in small(x):
        assert found.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()
    assert torch.equal(small(x)[1], x)


def test_graphs_that_change_their_inputs_are_left_alone():
    def function(x):
        first = x * 1
        x.add_(1)
        return first, x * 1

    x = torch.zeros(3)
    _, small, names = both(function, x)
    assert names.count("aten.mul.Tensor") == 2
    first, second = small(torch.zeros(3))
    assert first.tolist() == [0, 0, 0]
    assert second.tolist() == [1, 1, 1]

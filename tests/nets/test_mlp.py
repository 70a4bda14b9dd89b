import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.nets.mlp import (
    ACTIVATIONS,
    MAXOUT_PIECES,
    MLP,
    LabelledLinear,
    maxout,
)
from pyro_ssl.nets.norm import SeparateBatchNorm, class_shares


def test_labelled_linear_is_a_linear_map_of_the_concatenated_one_hot_label():
    layer = LabelledLinear(4, 3, 5).double()
    xs, ys = torch.randn(6, 4).double(), torch.tensor([0, 1, 2, 2, 1, 0])
    weight = torch.cat([layer.linear.weight, layer.embedding.weight.T], 1)
    one_hot = torch.cat([xs, F.one_hot(ys, 3).double()], 1)
    torch.testing.assert_close(layer(xs, ys), F.linear(one_hot, weight, layer.linear.bias))


def test_labels_may_be_points_between_the_corners():
    layer = LabelledLinear(4, 3, 5).double()
    xs, ys = torch.randn(6, 4).double(), torch.tensor([0, 1, 2, 2, 1, 0])
    torch.testing.assert_close(layer(xs, F.one_hot(ys, 3).double()), layer(xs, ys))
    points = torch.randn(7, 6, 3).double().softmax(-1)
    corners = torch.stack([layer(xs, torch.full((6,), k)) for k in range(3)], -1)
    torch.testing.assert_close(layer(xs, points), (corners * points.unsqueeze(-2)).sum(-1))
    network = MLP(4, (5,), 2, num_classes=3).double()
    by_hand = network.layers[1](network.layers[0](xs, points).relu())
    torch.testing.assert_close(network(xs, points), by_hand)


def test_maxout_is_the_largest_of_neighbours():
    hs = torch.tensor([[1.0, -3.0, 2.0, 0.0, -4.0, -1.0, -2.0, -9.0]])
    assert maxout(hs).tolist() == [[2.0, -1.0]]
    network = MLP(4, (6, 5), 2, activation="maxout")
    widths = [(layer.in_features, layer.out_features) for layer in network.layers]
    assert widths == [(4, 6 * MAXOUT_PIECES), (6, 5 * MAXOUT_PIECES), (5, 2)]


def test_input_half_is_computed_once_for_all_enumerated_labels():
    network, rows = MLP(4, (5,), 2, num_classes=3), []
    network.layers[0].linear.register_forward_hook(
        lambda module, inputs, output: rows.append(output.shape)
    )
    xs, ys = torch.randn(6, 4), torch.arange(3).unsqueeze(1)
    out = network(xs, ys)
    assert rows == [(6, 5)]
    for k in range(3):
        torch.testing.assert_close(out[k], network(xs, torch.full((6,), k)))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_is_its_formula(activation):
    network = MLP(4, (6, 5), 2, activation=activation).double()
    xs = torch.randn(3, 4).double()
    hs = xs
    for layer in network.layers[:-1]:
        hs = ACTIVATIONS[activation](layer(hs))
    torch.testing.assert_close(network(xs), network.layers[-1](hs))


def test_batch_norm_normalises_over_all_leading_dimensions():
    network = MLP(4, (5,), 2, num_classes=3, batch_norm=True)
    seen = []
    network.norms[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    network(torch.randn(6, 4), torch.arange(3).unsqueeze(1))
    assert seen[0].shape == (18, 5)
    torch.testing.assert_close(seen[0].mean(0), torch.zeros(5), atol=1e-5, rtol=0)


def normalised(hs, norm, mean, variance):
    return (hs - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias


def test_separate_batch_norm_keeps_labelled_rows_out_of_its_averages():
    separate = SeparateBatchNorm(3).double()
    norm = separate.unlabelled
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    known, unknown = 5 + 2 * torch.randn(4, 3).double(), torch.randn(9, 3).double()
    for hs, labelled in ((known, True), (unknown, False), (known, True)):
        wanted = normalised(hs, norm, hs.mean(0), hs.var(0, correction=0))
        torch.testing.assert_close(separate(hs, labelled), wanted)
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * unknown.mean(0))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * unknown.var(0))
    before = norm.running_mean.clone()
    separate.eval()
    for hs, labelled in ((known, True), (unknown, False)):
        wanted = normalised(hs, norm, norm.running_mean, norm.running_var)
        torch.testing.assert_close(separate(hs, labelled), wanted)
    assert torch.equal(norm.running_mean, before)


def test_input_dropout_drops_in_training_only():
    network = MLP(1000, (), 1, input_dropout=0.3)
    torch.nn.init.ones_(network.layers[0].weight)
    xs = torch.ones(50, 1000)
    kept = (network(xs) - network.layers[0].bias) * 0.7 / 1000
    # Five standard errors of a frequency over 50,000 draws.
    assert abs(kept.mean() - 0.7) < 5 * (0.3 * 0.7 / 50_000) ** 0.5
    network.eval()
    torch.testing.assert_close(network(xs), 1000 + network.layers[0].bias.expand(50, 1))


def test_output_keeps_the_inputs_dtype_under_autocast():
    network = MLP(4, (5,), 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(torch.randn(3, 4)).dtype == torch.float32


def test_a_second_input_is_as_if_it_were_concatenated():
    network = MLP(4, (5, 6), 2, num_classes=3, activation="tanh", beside=7).double()
    one = MLP(11, (5, 6), 2, num_classes=3, activation="tanh").double()
    state = {k: v for k, v in network.state_dict().items() if k != "beside.weight"}
    whole = [network.layers[0].linear.weight, network.beside.weight]
    one.load_state_dict(state | {"layers.0.linear.weight": torch.cat(whole, 1)})
    xs, second, ys = torch.randn(6, 4), torch.randn(2, 6, 7), torch.tensor([0, 1, 2, 2, 1, 0])
    xs, second, shapes = xs.double(), second.double(), []
    both = torch.cat([xs.expand(2, 6, 4), second], -1)
    network.layers[0].linear.register_forward_hook(lambda m, i, o: shapes.append(o.shape))
    torch.testing.assert_close(network(xs, ys, beside=second), one(both, ys))
    assert shapes == [(6, 5)]
    linear = MLP(4, (), 2, beside=7).double()
    wanted = F.linear(xs, linear.layers[0].weight, linear.layers[0].bias)
    wanted = wanted + F.linear(second, linear.beside.weight)
    torch.testing.assert_close(linear(xs, beside=second), wanted)


def test_equal_shares_are_plain_batch_norm_and_whole_ones_are_repeated_rows():
    torch.manual_seed(0)
    hs = torch.randn(6, 3).double()
    norms = [SeparateBatchNorm(3).double() for _ in range(2)]
    found = [norms[0](hs), norms[1](hs, shares=torch.full((6,), 1 / 6).double())]
    torch.testing.assert_close(*found)
    torch.testing.assert_close(norms[0].state_dict(), norms[1].state_dict())
    # Shares 3/6, 2/6, 1/6 and 0 are those of rows that come so often.
    often = torch.tensor([3, 2, 1, 0])
    wanted = norms[0](hs[:4].repeat_interleave(often, 0))
    torch.testing.assert_close(norms[1](hs[:4], shares=often / 6)[:3], wanted[[0, 3, 5]])
    for norm in norms:
        norm.eval()
    torch.testing.assert_close(norms[0](hs), norms[0](hs, shares=often / 6))


def test_shares_of_classes_sum_to_that_of_their_row():
    logits = torch.randn(2, 5, 3).double()
    ys = torch.arange(3).view(3, 1, 1)
    shares = class_shares(logits, ys)
    torch.testing.assert_close(shares, logits.softmax(-1).permute(2, 0, 1) / 10)
    some = torch.stack([logits.argmax(-1), logits.argmin(-1)])
    shares = class_shares(logits.requires_grad_(), some)
    torch.testing.assert_close(shares.sum(0), torch.full((2, 5), 0.1).double())
    assert (shares[0] > shares[1]).all()
    assert not shares.requires_grad
    assert class_shares(logits, logits.argmax(-1)) is None


def test_shares_do_not_disturb_the_gradient_of_an_earlier_call():
    norm = SeparateBatchNorm(3)
    hs = torch.randn(6, 3, requires_grad=True)
    first = norm(hs)
    second = norm(hs, shares=torch.full((6,), 1 / 6))
    (first.square().sum() + second.square().sum()).backward()
    assert hs.grad.isfinite().all()


def test_weighted_statistics_are_not_rounded_under_autocast():
    norm, hs = SeparateBatchNorm(3), 100 + torch.randn(64, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = norm(hs, shares=torch.full((64,), 1 / 64))
    torch.testing.assert_close(
        found, (hs - hs.mean(0)) / hs.std(0, correction=0), atol=1e-3, rtol=0
    )
    halves = SeparateBatchNorm(3)(hs.bfloat16(), shares=torch.full((64,), 1 / 64))
    assert halves.dtype == torch.bfloat16

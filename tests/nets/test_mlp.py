import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.nets.mlp import (
    ACTIVATIONS,
    MAXOUT_PIECES,
    MLP,
    LabelledLinear,
    SeparateBatchNorm,
    maxout,
)


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

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError
from pyro_ssl.nets.conv import ConvDecoder, ConvEncoder, image_nets

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 128, 128), (1, 8, 8), (2, 16, 24)]
SHAPES += [(1, 1, 1), (2, 2, 3), (3, 5, 7), (5, 31, 17), (1, 1, 100)]
SHAPES += [(1, 1), (2, 7), (3, 11), (5, 100)]


@pytest.mark.parametrize("channels", [None, 4])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("leading", [(), (3,), (2, 1, 3), (0,)], ids=str)
def test_images_to_vectors_and_back_with_any_leading_dimensions(shape, leading, channels):
    torch.manual_seed(0)
    encoder, decoder = image_nets(shape, channels, "relu")
    xs = torch.rand(*leading, *shape)
    hs = encoder(xs)
    assert hs.shape == (*leading, encoder.out_features)
    assert encoder.out_features == decoder.in_features
    images = decoder(hs)
    assert images.shape == xs.shape
    if channels is None:
        assert torch.equal(images, xs)
    for index in ([0] * len(leading), [-1] * len(leading)) if 0 not in leading else ():
        torch.testing.assert_close(hs[tuple(index)], encoder(xs[tuple(index)][None])[0])
        torch.testing.assert_close(images[tuple(index)], decoder(hs[tuple(index)][None])[0])


@pytest.mark.parametrize(
    ("shape", "smallest"), [((1, 28, 28), (64, 7, 7)), ((3, 64, 64), (128, 8, 8))]
)
def test_sides_are_halved_until_they_are_small(shape, smallest):
    assert ConvDecoder(shape).smallest == smallest
    channels = [layer.out_channels for layer in ConvEncoder(shape).layers]
    assert channels == [32, 64, 128][: len(channels)]


@pytest.mark.parametrize(
    ("shape", "smallest"),
    [
        ((2, 31, 17), (64, 8, 5)),
        ((1, 9, 2), (32, 5, 1)),
        ((1, 1, 1), (32, 1, 1)),
        ((2, 100), (256, 7)),
        ((1, 7), (32, 4)),
    ],
    ids=str,
)
def test_half_of_an_odd_side_is_rounded_up(shape, smallest):
    assert ConvDecoder(shape).smallest == smallest
    assert ConvEncoder(shape).out_features == math.prod(smallest)


@pytest.mark.parametrize("shape", [(1, 28, 28), *SHAPES[-9:]], ids=str)
def test_every_pixel_reaches_the_vector_and_every_number_the_image(shape):
    torch.manual_seed(0)
    encoder, decoder = image_nets(shape, 1, "softplus")
    xs = torch.rand(shape, requires_grad=True)
    encoder(xs).sum().backward()
    assert (xs.grad != 0).all()
    hs = torch.rand(decoder.in_features, requires_grad=True)
    decoder(hs).sum().backward()
    assert (hs.grad != 0).all()
    for network in (encoder, decoder):
        assert all((p.grad != 0).any() for p in network.parameters())


def test_layers_and_activations_by_hand():
    torch.manual_seed(0)
    encoder, decoder = image_nets((2, 16, 24), 1, "softplus")
    hs = xs = torch.rand(3, 2, 16, 24)
    for layer in encoder.layers:
        hs = F.softplus(F.conv2d(hs, layer.weight, layer.bias, stride=2, padding=1))
    torch.testing.assert_close(encoder(xs), hs.flatten(1))
    images = vectors = torch.randn(3, decoder.in_features)
    images = images.view(3, *decoder.smallest)
    for layer in decoder.layers:
        images = F.softplus(images)
        images = F.conv_transpose2d(images, layer.weight, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(decoder(vectors), images)


@pytest.mark.parametrize("shape", [(2, 9, 13), (3, 27)], ids=str)
def test_odd_sides_are_padded_by_zeros_and_cut_by_hand(shape):
    torch.manual_seed(0)
    encoder, decoder = image_nets(shape, 1, "softplus")
    convolve, back = F.conv2d, F.conv_transpose2d
    if len(shape) == 2:
        convolve, back = F.conv1d, F.conv_transpose1d
    hs = xs = torch.rand(3, *shape)
    sizes = [shape[1:]]
    for layer in encoder.layers:
        even = torch.zeros(*hs.shape[:2], *(side + side % 2 for side in hs.shape[2:]))
        even[(..., *(slice(side) for side in hs.shape[2:]))] = hs
        hs = F.softplus(convolve(even, layer.weight, layer.bias, stride=2, padding=1))
        sizes.append(hs.shape[2:])
    torch.testing.assert_close(encoder(xs), hs.flatten(1))
    vectors = torch.randn(3, decoder.in_features)
    images = vectors.view(3, *decoder.smallest)
    for layer, sides in zip(decoder.layers, sizes[-2::-1], strict=True):
        images = back(F.softplus(images), layer.weight, layer.bias, stride=2, padding=1)
        images = images[(..., *(slice(side) for side in sides))]
    torch.testing.assert_close(decoder(vectors), images)


@pytest.mark.parametrize("shape", [(2, 5, 7), (1, 11), (1, 28, 28)], ids=str)
def test_several_at_once_are_each_alone(shape):
    torch.manual_seed(0)
    xs = torch.randn(3, 4, *shape, dtype=torch.float64)
    coders = [nn.Sequential(*image_nets(shape, 2, "softplus")).double() for _ in range(3)]
    stacked, _ = stack_module_state(coders)
    together = vmap(lambda state, rows: functional_call(coders[0], state, rows))(stacked, xs)
    together.square().sum().backward()
    for n, coder in enumerate(coders):
        alone = coder(xs[n])
        torch.testing.assert_close(together[n], alone)
        alone.square().sum().backward()
        for name, parameter in coder.named_parameters():
            torch.testing.assert_close(stacked[name].grad[n], parameter.grad)


def test_autocast_reaches_neither_end():
    encoder, decoder = image_nets((1, 16, 16), 1, "relu")
    with torch.autocast("cpu", torch.bfloat16):
        hs = encoder(torch.rand(2, 1, 16, 16))
        assert hs.dtype == decoder(hs).dtype == torch.float32


@pytest.mark.parametrize(
    ("shape", "activation", "named"),
    [
        ((784,), "relu", "channels, height, width"),
        ((1, 2, 3, 4), "relu", "channels, length"),
        ((1, 28, 28), "maxout", "maxout"),
        ((1, 28, 28), "sin", "activation is 'sin', expected one of relu"),
    ],
)
def test_what_convolutions_cannot_do_is_named(shape, activation, named):
    with pytest.raises(ConfigError, match=named):
        image_nets(shape, 1, activation)

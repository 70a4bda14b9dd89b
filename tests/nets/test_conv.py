import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError
from pyro_ssl.nets.conv import ConvDecoder, ConvEncoder, image_nets

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 128, 128), (1, 8, 8), (2, 16, 24)]


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


def test_every_pixel_reaches_the_vector_and_every_number_the_image():
    torch.manual_seed(0)
    encoder, decoder = image_nets((1, 28, 28), True, "softplus")
    xs = torch.rand(1, 28, 28, requires_grad=True)
    encoder(xs).sum().backward()
    assert (xs.grad != 0).all()
    hs = torch.rand(decoder.in_features, requires_grad=True)
    decoder(hs).sum().backward()
    assert (hs.grad != 0).all()


def test_layers_and_activations_by_hand():
    torch.manual_seed(0)
    encoder, decoder = image_nets((2, 16, 24), True, "softplus")
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


def test_autocast_reaches_neither_end():
    encoder, decoder = image_nets((1, 16, 16), True, "relu")
    with torch.autocast("cpu", torch.bfloat16):
        hs = encoder(torch.rand(2, 1, 16, 16))
        assert hs.dtype == decoder(hs).dtype == torch.float32


@pytest.mark.parametrize(
    ("shape", "activation", "named"),
    [
        ((784,), "relu", "channels, height, width"),
        ((1, 30, 30), "relu", "pad the images"),
        ((1, 28, 28), "maxout", "maxout"),
        ((1, 28, 28), "sin", "activation is 'sin', expected one of relu"),
    ],
)
def test_what_convolutions_cannot_do_is_named(shape, activation, named):
    with pytest.raises(ConfigError, match=named):
        image_nets(shape, True, activation)

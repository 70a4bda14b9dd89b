import pytest
import torch

from pyro_ssl.data import SHAPE_ATTRIBUTES, draw_shapes, shapes_dataset
from pyro_ssl.errors import PyroSSLError


def measured(images):
    """The attributes as they can be measured on the pixels alone, `[N, 6]`."""
    pixels = images.float() / 255
    colourful = pixels.amax(1) - pixels.amin(1)
    mass = colourful / colourful.flatten(1).sum(1)[:, None, None]
    at = (torch.arange(images.shape[-1]) + 0.5) / images.shape[-1]
    x, y = (mass.sum(1) * at).sum(-1), (mass.sum(2) * at).sum(-1)
    shape = colourful > 0.5 * colourful.flatten(1).amax(1)[:, None, None]
    dx, dy = at[None, None, :] - x[:, None, None], at[None, :, None] - y[:, None, None]
    straight = torch.where(shape, torch.maximum(dx.abs(), dy.abs()), 0.0).flatten(1).amax(1)
    diagonal = torch.where(shape, dx.abs() + dy.abs(), 0.0).flatten(1).amax(1)
    # Half the side of a square reaches so far from its centre, whichever way it stands.
    half = torch.minimum(straight, diagonal / 2**0.5)
    centre = (dx**2 + dy**2).flatten(1).argmin(1)
    red = (pixels[:, 0] * mass).flatten(1).sum(1) > (pixels[:, 2] * mass).flatten(1).sum(1)
    filled = shape.flatten(1).gather(1, centre[:, None]).squeeze(1)
    rotated = diagonal / 2**0.5 < straight
    return torch.stack([half > 0.145, filled, red, x < 0.5, y < 0.5, rotated], 1).long()


@pytest.mark.parametrize("size", [32, 64, 128])
def test_every_attribute_can_be_measured(size):
    images, attributes = draw_shapes(1500, seed=1, size=size)
    assert images.shape == (1500, 3, size, size)
    assert images.dtype == torch.uint8
    agreement = (measured(images) == attributes).float().mean(0)
    assert agreement.min() > 0.98, dict(zip(SHAPE_ATTRIBUTES, agreement.tolist(), strict=True))
    assert (attributes.float().mean(0) - 0.5).abs().max() < 0.06


@pytest.mark.parametrize("number", range(len(SHAPE_ATTRIBUTES)))
def test_changing_one_attribute_changes_it_and_no_other(number):
    images, attributes = draw_shapes(300, seed=2)
    other = attributes.clone()
    other[:, number] = 1 - other[:, number]
    changed, returned = draw_shapes(300, seed=2, attributes=other)
    assert torch.equal(returned, other)
    assert (changed != images).flatten(1).any(1).all()
    # What is left open stays: the background, and for the colour the whole of the green channel.
    assert torch.equal(changed[:, :, 0, 0], images[:, :, 0, 0])
    if SHAPE_ATTRIBUTES[number] == "red":
        assert torch.equal(changed[:, 1], images[:, 1])
        assert torch.equal(changed[:, 0], images[:, 2])
    if SHAPE_ATTRIBUTES[number] == "left":
        # The same shape some columns further, but for the share of a pixel.
        for before, after in zip(images[:20], changed[:20], strict=True):
            ours, theirs = (i.float().sum((0, 2)).sort().values for i in (before, after))
            torch.testing.assert_close(ours, theirs, atol=60.0, rtol=0.02)
    moved = (measured(changed) != measured(images)).float().mean(0)
    assert moved[number] > 0.97
    moved[number] = 0.0
    assert moved.max() < 0.04


def test_images_vary_beyond_their_attributes_and_follow_the_seed():
    same = torch.ones(2, 6)
    state = torch.get_rng_state()
    first, _ = draw_shapes(2, seed=3, attributes=same)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first, draw_shapes(2, seed=3, attributes=same)[0])
    assert not torch.equal(first, draw_shapes(2, seed=4, attributes=same)[0])
    # The second block is drawn as well.
    many, _ = draw_shapes(1001, seed=3)
    assert many[1000].float().std() > 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"num": -1}, "num"),
        ({"num": 2, "size": 8}, "size"),
        ({"num": 2, "attributes": torch.zeros(2, 5)}, "attributes"),
        ({"num": 2, "attributes": torch.full((2, 6), 0.5)}, "attributes"),
    ],
)
def test_bad_arguments_are_named(arguments, named):
    with pytest.raises(PyroSSLError, match=named):
        draw_shapes(**arguments)


def test_data_set_is_the_same_on_every_call_and_its_parts_differ():
    dataset = shapes_dataset(50, 30, size=16)
    assert dataset.multi_label
    assert (dataset.input_shape, dataset.num_classes) == ((3, 16, 16), 6)
    assert (len(dataset.train_xs), len(dataset.test_xs)) == (50, 30)
    assert torch.equal(dataset.train_xs, shapes_dataset(50, 30, size=16).train_xs)
    assert not torch.equal(dataset.train_xs[:30], dataset.test_xs)
    images, attributes = draw_shapes(50, 0, 16)
    torch.testing.assert_close(dataset.train_xs * 255, images.float())
    assert torch.equal(dataset.train_ys, attributes)

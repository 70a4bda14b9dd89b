import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from pyro_ssl import Augmentation
from pyro_ssl.errors import ConfigError

# An odd and an even side of different lengths.
HEIGHT, WIDTH = 21, 30


@pytest.fixture
def images():
    """Smooth images with nothing near the border."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    blobs = [
        torch.exp(-((y - a) ** 2 + (x - b) ** 2) / 8.0) for a, b in ((10, 12), (8, 17), (12, 15))
    ]
    return torch.stack(blobs).unsqueeze(1).double()


def centre(image):
    """Centre of mass of an image, down and across, from the middle."""
    place = ndimage.center_of_mass(image.squeeze().numpy())
    return np.array(place) - (np.array([HEIGHT, WIDTH]) - 1) / 2


def test_nothing_is_changed_by_default(images):
    assert torch.equal(Augmentation()(images), images)


def test_only_a_share_of_the_images_is_changed(images):
    xs = images[:1].expand(4000, -1, -1, -1)
    change = Augmentation(rotation=90, changed=0.25)
    same = (change(xs) == xs).flatten(1).all(1)
    assert same.double().mean().item() == pytest.approx(0.75, abs=0.03)
    assert torch.equal(Augmentation(rotation=90, covered=0.5, changed=0.0)(xs), xs)
    assert not (Augmentation(rotation=90)(xs) == xs).flatten(1).all(1).any()
    with pytest.raises(
        ConfigError, match=r"changed is 1\.5, expected a number, at least 0, at most 1"
    ):
        Augmentation(changed=1.5)


def drawn(monkeypatch, *numbers):
    """Let uniform draws, from -1 to 1, be these, one after the other."""
    left = list(numbers)

    def between(xs, most, *shape):
        return torch.full(shape, most * left.pop(0), dtype=xs.dtype)

    monkeypatch.setattr(Augmentation, "_between", staticmethod(between))


@pytest.mark.parametrize("share", [-1.0, 0.5])
def test_images_turn_about_their_middle_whatever_their_sides(images, monkeypatch, share):
    # In order: angle, scale, shear, shift.
    drawn(monkeypatch, share, 0, 0, 0)
    turned = Augmentation(rotation=60)(images)
    for before, after in zip(images, turned, strict=True):
        angle = share * 60
        expected = ndimage.rotate(before[0].numpy(), angle, reshape=False, order=1)
        assert np.abs(after[0].numpy() - expected).max() < 0.02


def test_images_move_grow_and_lean_by_what_was_drawn(images, monkeypatch):
    drawn(monkeypatch, 0, 0, 0, 1)
    moved = Augmentation(translation=0.1)(images)
    for before, after in zip(images, moved, strict=True):
        shift = centre(before) - centre(after)
        assert shift == pytest.approx([0.1 * HEIGHT, 0.1 * WIDTH], abs=0.02)
    drawn(monkeypatch, 0, 1, 0, 0)
    smaller = Augmentation(scale=0.25)(images)
    for before, after in zip(images, smaller, strict=True):
        assert centre(after) * 1.25 == pytest.approx(centre(before), abs=0.02)
        assert float(after.sum() * 1.25**2) == pytest.approx(float(before.sum()), rel=0.01)
    drawn(monkeypatch, 0, 0, -1, 0)
    leaning = Augmentation(shear=20)(images)
    for before, after in zip(images, leaning, strict=True):
        down, across = centre(before)
        expected = [down, across + math.tan(math.radians(20)) * down]
        assert centre(after) == pytest.approx(expected, abs=0.02)


def test_half_of_the_images_are_mirrored():
    torch.manual_seed(0)
    xs = torch.rand(400, 1, 3, 4)
    found = Augmentation(flip=True)(xs)
    same = (found - xs).abs().flatten(1).amax(1) < 1e-5
    mirrored = (found - xs.flip(-1)).abs().flatten(1).amax(1) < 1e-5
    assert bool((same ^ mirrored).all())
    assert 150 < int(mirrored.sum()) < 250


def test_displacements_have_their_deviation_and_are_smooth():
    torch.manual_seed(0)
    xs = torch.zeros(300, 1, HEIGHT, WIDTH, dtype=torch.float64)
    still = Augmentation()._places(xs)
    moved = Augmentation(elastic=1.5, smoothing=3.0)._places(xs) - still
    pixels = moved * torch.tensor([WIDTH, HEIGHT]) / 2
    # At the border as in the middle.
    for part in (pixels, pixels[:, 0], pixels[:, :, -1]):
        assert part.std().item() == pytest.approx(1.5, rel=0.05)
    one, other = pixels[:, 10, 10, 0], pixels[:, 10, 13, 0]
    # The correlation of two places smoothed alike: exp(-d^2 / (4 s^2)).
    expected = math.exp(-9 / (4 * 9))
    assert torch.corrcoef(torch.stack([one, other]))[0, 1].item() == pytest.approx(
        expected, abs=0.07
    )


def test_a_square_is_covered(images):
    torch.manual_seed(0)
    seen = Augmentation(covered=0.4)(torch.ones(500, 2, HEIGHT, WIDTH))
    hidden = seen == 0
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    rows, columns = hidden[:, 0].any(2).sum(1), hidden[:, 0].any(1).sum(1)
    assert torch.equal(hidden[:, 0].sum((1, 2)), rows * columns)
    assert int(rows.max()) in (8, 9)
    assert int(columns.max()) == 12
    assert set(seen.unique().tolist()) == {0, 1}


def test_all_at_once_keep_shape_dtype_and_range_and_each_image_has_its_own_draws(images):
    torch.manual_seed(0)
    change = Augmentation(
        rotation=15, scale=0.1, shear=10, translation=0.1, elastic=1.0, covered=0.2, flip=True
    )
    for dtype in (torch.float32, torch.float64):
        xs = images[:1].repeat(6, 3, 1, 1).to(dtype)
        found = change(xs)
        assert (found.shape, found.dtype) == (xs.shape, dtype)
        assert 0 <= float(found.min()) <= float(found.max()) <= float(xs.max()) + 1e-6
        assert len({one.sum().item() for one in found}) == 6
    torch.manual_seed(5)
    again = change(xs)
    torch.manual_seed(5)
    assert torch.equal(change(xs), again)


def test_no_gradient_and_no_lower_precision(images):
    change = Augmentation(rotation=10, elastic=1.0)
    xs = images.float().requires_grad_()
    torch.manual_seed(0)
    found = change(xs)
    assert not found.requires_grad
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(change(xs), found)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rotation": -1}, "rotation is -1"),
        ({"rotation": 181}, "rotation is 181"),
        ({"shear": 90}, "shear is 90"),
        ({"translation": 1.0}, "translation is 1.0"),
        ({"covered": float("nan")}, "covered is nan"),
        ({"smoothing": 0}, "smoothing is 0"),
        ({"flip": "yes"}, "flip is 'yes'"),
        ({"elastic": -0.5}, "elastic is -0.5"),
    ],
)
def test_options_that_cannot_work_are_named(options, words):
    with pytest.raises(ConfigError, match=words):
        Augmentation(**options)

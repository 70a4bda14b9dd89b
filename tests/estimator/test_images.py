import json

import numpy as np
import pytest
import torch

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator.array_features import array_features, pooled_sides
from pyro_ssl.estimator.images import ArrayInputs
from pyro_ssl.estimator.inputs import TableInputs, infer_inputs, inputs_from_dict

RNG = np.random.default_rng(0)
PICTURES = RNG.normal([[[[3.0]], [[-20.0]]]], [[[[0.5]], [[7.0]]]], (200, 2, 5, 3))
SIGNALS = RNG.normal(100.0, 4.0, (200, 1, 11)).astype(np.float32)
BYTES = RNG.integers(0, 256, (50, 3, 4, 4)).astype(np.uint8)


@pytest.mark.parametrize(
    "rows", [PICTURES, SIGNALS, BYTES, BYTES > 99], ids="pics sig u8 b".split()
)
def test_rows_are_standardised_by_channel_and_come_back(rows):
    inputs = infer_inputs(rows)
    assert isinstance(inputs, ArrayInputs)
    assert inputs.input_shape == rows.shape[1:]
    values = inputs.encode(rows)
    assert values.dtype == torch.float32
    axes = (0, *range(2, rows.ndim))
    np.testing.assert_allclose(values.mean(axes), 0, atol=0.02)
    np.testing.assert_allclose(values.numpy().std(axes), 1, atol=0.03)
    back = inputs.decode(values)
    assert back.dtype == rows.dtype
    np.testing.assert_allclose(back, rows, rtol=1e-5, atol=1e-5)
    frame = inputs.to_frame()
    np.testing.assert_allclose(frame["mean"], rows.mean(axes), atol=0.3)
    assert len(frame) == rows.shape[1]


def test_tensors_are_as_arrays():
    inputs = infer_inputs(torch.from_numpy(SIGNALS))
    assert inputs == infer_inputs(SIGNALS)
    assert torch.equal(inputs.encode(torch.from_numpy(SIGNALS)), inputs.encode(SIGNALS))
    infer_inputs(torch.from_numpy(PICTURES).bfloat16())


def test_tables_stay_tables():
    assert isinstance(infer_inputs(PICTURES.reshape(200, -1)), TableInputs)


def test_the_density_in_raw_units():
    inputs = infer_inputs(PICTURES)
    values = inputs.encode(PICTURES[:4]).double()
    normal = torch.distributions.Normal(0.3, 0.8)
    encoded = normal.log_prob(values).sum((1, 2, 3)).numpy()
    locs, scales = (np.array(v).reshape(2, 1, 1) for v in (inputs.locs, inputs.scales))
    raw = torch.distributions.Normal(
        torch.from_numpy(locs + 0.3 * scales), torch.from_numpy(0.8 * scales)
    )
    expected = raw.log_prob(torch.from_numpy(PICTURES[:4])).sum((1, 2, 3)).numpy()
    np.testing.assert_allclose(encoded + inputs.log_jacobian(values), expected, rtol=1e-5)


def test_outliers_change_little_and_are_drawn_in():
    spoilt = SIGNALS.copy()
    spoilt[3, 0, 4], spoilt[5, 0, 6] = 1e30, -1e9
    inputs = infer_inputs(spoilt)
    assert inputs.locs[0] == pytest.approx(100, abs=0.5)
    assert inputs.scales[0] == pytest.approx(4, rel=0.05)
    values = inputs.encode(spoilt)
    assert values.max() == 100
    assert values.min() == -100


def test_constant_pixels_and_channels():
    rows = np.zeros((20, 2, 4, 4))
    rows[:, 0, 1, 2] = np.arange(20)
    rows[:, 1] = 7.0
    inputs = infer_inputs(rows)
    assert inputs.locs[1] == 7
    assert inputs.scales[1] == 1
    assert inputs.encode(rows).isfinite().all()
    assert np.isfinite(inputs.features(inputs.encode(rows))).all()
    # Fewer than 0.5 % of the values differ: these decide.
    rare = np.zeros((20, 1, 30, 30))
    rare[4, 0, 3, 3] = 1.0
    assert infer_inputs(rare).scales[0] == pytest.approx(rare.std())


@pytest.mark.parametrize(
    ("rows", "bounds", "made"),
    [
        (BYTES, (0, 255), [0, 255]),
        (BYTES.astype(int), (0, 255), [0, 255]),
        (BYTES / 255, (0, 1), [0, 1]),
        (PICTURES, None, None),
    ],
)
def test_what_is_made_keeps_to_the_range_of_pixels(rows, bounds, made):
    inputs = infer_inputs(rows)
    assert inputs.bounds == bounds
    extremes = torch.tensor([-30.0, 30.0]).view(2, 1, 1, 1).expand(2, *inputs.shape)
    found = inputs.decode(extremes)
    if made is None:
        assert found.min() < -100 < 100 < found.max()
    else:
        assert [found[0].max(), found[1].min()] == made


@pytest.mark.parametrize("rows", [PICTURES, SIGNALS, BYTES])
def test_plain_values_and_back(rows):
    inputs = infer_inputs(rows)
    again = inputs_from_dict(json.loads(json.dumps(inputs.to_dict())))
    assert again == inputs
    with pytest.raises(ConfigError, match="keys"):
        inputs_from_dict({"kind": "images", "shape": [1]})


def test_features_by_hand():
    values = torch.randn(6, 2, 4, 5, dtype=torch.float64)
    values[0, 0, 0, 0] = 99.0
    clipped = values.numpy().clip(-10, 10)
    spectrum = np.log1p(np.abs(np.fft.rfft2(clipped)))
    expected = np.concatenate([clipped.reshape(6, -1), spectrum.reshape(6, -1)], 1)
    np.testing.assert_allclose(array_features(values), expected, atol=1e-12)
    inputs = infer_inputs(PICTURES)
    expected = array_features(inputs.encode(PICTURES)).numpy()
    np.testing.assert_allclose(inputs.features(inputs.encode(PICTURES)), expected)


def test_the_spectrum_is_the_same_at_any_place():
    signal = torch.zeros(1, 1, 16)
    signal[..., 3:6] = torch.tensor([1.0, -2.0, 1.0])
    found = array_features(torch.cat([signal, signal.roll(7, -1)]))
    torch.testing.assert_close(found[0, 16:], found[1, 16:])
    assert not torch.allclose(found[0, :16], found[1, :16])


@pytest.mark.parametrize(
    ("channels", "sides", "small"),
    [
        (1, (28, 28), (28, 28)),
        (3, (32, 32), (16, 16)),
        (1, (100, 10), (88, 9)),
        (2, (5000,), (400,)),
        (900, (4, 4), (1, 1)),
    ],
)
def test_features_are_bounded(channels, sides, small):
    assert pooled_sides(channels, sides) == small
    values = torch.randn(2, channels, *sides)
    found = array_features(values)
    first = found[:, : channels * np.prod(small)]
    assert found.shape[1] <= 2 * max(801, channels)
    means = first.view(2, channels, -1).mean(-1)
    if not any(side % cut for side, cut in zip(sides, small, strict=True)) and channels < 4:
        torch.testing.assert_close(means, values.double().flatten(2).mean(-1), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (np.where(PICTURES > 8, np.nan, PICTURES) * np.nan, "missing values; fill them in"),
        (np.full((3, 1, 4), np.inf), "value inf in row 0"),
        (np.zeros((0, 1, 4)), "shape .0, 1, 4., expected images"),
        (np.full((3, 1, 4), "a"), "dtype <U1, expected numbers"),
        (np.ones((3, 1, 4)), "all equal"),
    ],
)
def test_what_cannot_be_used_is_named(rows, named):
    with pytest.raises(DataError, match=named):
        infer_inputs(rows)


def test_other_shapes_and_columns_are_refused():
    inputs = infer_inputs(PICTURES)
    with pytest.raises(DataError, match=r"shape \(2, 3, 5\), expected \(2, 5, 3\)"):
        inputs.encode(PICTURES.transpose(0, 1, 3, 2))
    with pytest.raises(DataError, match=r"X\[:, None\]"):
        inputs.encode(PICTURES.reshape(200, -1))
    with pytest.raises(ConfigError, match="columns is"):
        infer_inputs(PICTURES, ["real"] * 30)
    with pytest.warns(UserWarning, match="moveaxis"):
        infer_inputs(RNG.normal(size=(4, 12, 12, 3)))

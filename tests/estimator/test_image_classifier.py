"""The classifier on images and signals, where what matters may be at any place."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pyro_ssl.errors import DataError
from pyro_ssl.estimator import SemiSupervisedVAEClassifier


def bars(rows, seed):
    """Bytes `[N, 1, 9, 6]`: a bright bar, horizontal or vertical, at a random place."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=rows)
    images = rng.normal(60, 10, (rows, 1, 9, 6))
    for image, label in zip(images, labels, strict=True):
        place = (0, rng.integers(9)) if label else (0, slice(None), rng.integers(6))
        image[place] += 100
    return images.astype(np.uint8), labels


def waves(rows, seed):
    """Floats `[N, 1, 37]`: two or four periods of a sine of random phase."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=rows)
    turns = (2.0 + 2 * labels[:, None]) * np.arange(37) / 37 + rng.random((rows, 1))
    signals = 5 + 3 * np.sin(2 * np.pi * turns) + rng.normal(0, 0.5, (rows, 37))
    return signals[:, None].astype(np.float32), labels


MADE = {"bars": bars, "waves": waves}
FEW = {"bars": 6, "waves": 12}


def partly(labels, each):
    found = np.full(len(labels), -1)
    for label in (0, 1):
        found[np.flatnonzero(labels == label)[:each]] = label
    return found


@pytest.fixture(scope="module", params=list(MADE))
def fitted(request):
    """A classifier, the rows it learned from, and their labels, most of them -1."""
    rows, labels = MADE[request.param](300, 0)
    known = partly(labels, FEW[request.param])
    model = SemiSupervisedVAEClassifier(members=2, max_steps=150, min_steps=100, random_state=0)
    return model.fit(rows, known), rows, known, MADE[request.param](300, 1)


def test_few_labels_do_at_any_place(fitted):
    model, rows, known, (new, labels) = fitted
    assert model.score(new, labels) > 0.8
    linear = LogisticRegression(max_iter=1000)
    linear.fit(rows[known >= 0].reshape((known >= 0).sum(), -1) / 1.0, known[known >= 0])
    assert linear.score(new.reshape(len(new), -1), labels) < 0.7
    np.testing.assert_allclose(model.predict_proba(new).sum(1), 1)
    assert model.n_features_in_ == np.prod(rows.shape[1:])
    assert list(model.columns_["family"]) == ["real"]
    assert model.model_.channels == 16
    assert model.model_.input_dropout == 0.5


def test_tensors_are_taken_as_arrays(fitted):
    model, *_, (new, _) = fitted
    found = model.predict_proba(torch.from_numpy(new[:20]))
    np.testing.assert_array_equal(found, model.predict_proba(new[:20]))


def test_latents_and_rows_made_of_them(fitted):
    model, rows, _, (new, _) = fitted
    latents = model.transform(new)
    assert latents.shape == (len(new), model.transform_dim_)
    for made in (model.inverse_transform(latents[:5], [0, 1, 0, 1, 1]), model.sample(1, 5)):
        assert made.shape == (5, *rows.shape[1:])
        assert made.dtype == rows.dtype
    drawn = model.sample(n=400, random_state=0)
    np.testing.assert_array_equal(drawn, model.sample(n=400, random_state=0))
    spread = float(rows.std())
    assert drawn.mean() == pytest.approx(float(rows.mean()), abs=0.2 * spread)
    assert drawn.std() == pytest.approx(spread, rel=0.25)


def test_reconstructions_are_means_at_the_latent_means(fitted):
    model, *_, (new, _) = fitted
    labels = torch.from_numpy(model.predict(new))
    latents = model.model_.encode(model.inputs_.encode(new).double(), labels)[0]
    expected = model.inverse_transform(latents.numpy(), labels.numpy())
    made = model.reconstruct(new)
    np.testing.assert_allclose(made, expected, rtol=1e-5)


def test_nothing_is_missing(fitted):
    model, *_, (new, _) = fitted
    np.testing.assert_allclose(model.impute(new), new, rtol=1e-6)
    if new.dtype.kind == "f":
        holed = new.copy()
        holed[3, 0, 2] = np.nan
        with pytest.raises(DataError, match="in row 3, expected finite numbers"):
            model.predict(holed)


def test_bounds_are_in_nats_of_raw_values(fitted):
    """In units ten times as small, the density of each of D values is a tenth."""
    model, rows, _, (new, _) = fitted
    other, inputs = copy.copy(model), model.inputs_
    other.inputs_ = dataclasses.replace(
        inputs,
        locs=tuple(10 * loc for loc in inputs.locs),
        scales=tuple(10 * scale for scale in inputs.scales),
    )
    found = model.score_samples(new)
    expected = found - np.prod(rows.shape[1:]) * np.log(10)
    np.testing.assert_allclose(other.score_samples(10.0 * new), expected, rtol=1e-5)
    # A density, in raw units: above that of normal values of the data's mean and deviation.
    values = new.astype(float)
    normal = -0.5 * np.square((values - rows.mean()) / rows.std()) - np.log(
        rows.std() * np.sqrt(2 * np.pi)
    )
    assert found.mean() > normal.sum(tuple(range(1, new.ndim))).mean()
    joint = np.stack([model.score_samples(new, np.full(len(new), c)) for c in (0, 1)])
    np.testing.assert_allclose(np.logaddexp(*joint), found, rtol=1e-6)


def test_noise_is_novel(fitted):
    model, rows, _, (new, _) = fitted
    rng = np.random.default_rng(0)
    noise = rng.permuted(new.reshape(len(new), -1) * 1.0, axis=1).reshape(new.shape)
    noise = rows.mean() + 2 * (noise - rows.mean())
    noise = noise.clip(0, 255).astype(rows.dtype)
    assert model.novelty(noise).mean() > 90
    assert 30 < model.novelty(new).mean() < 75


def test_other_shapes_are_refused(fitted):
    model, rows, *_ = fitted
    with pytest.raises(ValueError, match="features"):
        model.predict(rows[..., 1:])
    with pytest.raises(DataError, match=r"X has shape \(300, .*, expected images"):
        model.predict(rows.reshape(len(rows), -1))


def test_images_for_a_table_are_refused():
    rows, _ = bars(20, 0)
    table = SemiSupervisedVAEClassifier("m2", members=2, max_steps=2, min_steps=1)
    few = rows.reshape(20, -1)[:, :6] * 1.0
    table.fit(few, np.arange(20) % 2)
    with pytest.raises(ValueError, match="2"):
        table.predict(few.reshape(20, 1, 3, 2))


def test_another_model():
    rows, labels = waves(40, 0)
    classifier = SemiSupervisedVAEClassifier("ccvae", members=2, max_steps=5, min_steps=1)
    classifier.fit(rows, partly(labels, 3))
    assert classifier.predict_proba(rows).shape == (40, 2)
    assert classifier.sample(n=3).shape == (3, 1, 37)

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from pyro_ssl.errors import DataError
from pyro_ssl.metrics.frechet import ClassifierFeatures, FrechetDistance, inception_weights, padded
from pyro_ssl.models import MLPClassifier
from pyro_ssl.nets.dcgan import Discriminator, Generator, discriminator_loss, generator_loss


def classifier() -> MLPClassifier:
    torch.manual_seed(0)
    return MLPClassifier((1, 8, 8), 3, hidden_dims=(6, 4), channels=2, batch_norm=True)


def test_distance_is_the_formula_of_the_last_hidden_layer():
    model = classifier()
    real, other = torch.rand(60, 1, 8, 8), torch.rand(60, 1, 8, 8) ** 2
    features = ClassifierFeatures(model)
    xs = torch.cat([real, other])
    with torch.no_grad():
        net = model.classifier
        hidden = net.norms[0](net.layers[0](model.image_encoder(xs))).relu()
        hidden = net.norms[1](net.layers[1](hidden)).relu().double()
    torch.testing.assert_close(features(xs).double(), hidden)
    a, b = hidden[:60].numpy(), hidden[60:].numpy()
    means = np.square(a.mean(0) - b.mean(0)).sum()
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = means + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    distance = FrechetDistance(real, features, at_once=25)
    # The reference is kept; what was compared before is not.
    for _ in range(2):
        assert distance(other) == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert distance(real) == pytest.approx(0, abs=1e-4)
    # Noise around black and white does not count.
    assert distance(real.clamp(0.1)) > 0
    assert FrechetDistance(other - 2, features)(other * 0) == pytest.approx(0, abs=1e-6)


def test_missing_inception_is_named():
    if inception_weights() is not None:
        pytest.skip("INCEPTION IS HERE: nothing is missing")
    with pytest.raises(DataError, match="need torch-fidelity and its weights-inception"):
        FrechetDistance(torch.rand(3, 1, 8, 8))


def test_one_image_is_no_set():
    with pytest.raises(DataError, match="there are 1 images"):
        FrechetDistance(torch.rand(1, 1, 8, 8), ClassifierFeatures(classifier()))


def test_padding_is_around_the_image():
    xs = torch.rand(2, 1, 28, 28)
    wide = padded(xs, 32)
    assert torch.equal(wide[..., 2:30, 2:30], xs)
    assert wide.sum() == pytest.approx(xs.sum().item(), rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 64, 64)])
def test_generator_and_discriminator_fit_and_have_their_losses(shape):
    generator, discriminator = Generator(shape, 5, 2), Discriminator(shape, 2)
    fake, real = generator(torch.randn(3, 5)), torch.rand(3, *shape)
    assert fake.shape == real.shape
    assert (fake > 0).all()
    assert (fake < 1).all()
    discriminator.eval()
    scores = [discriminator(xs).sigmoid() for xs in (real, fake)]
    of_both = -scores[0].log().mean() - (1 - scores[1]).log().mean()
    torch.testing.assert_close(discriminator_loss(discriminator, real, fake), of_both)
    torch.testing.assert_close(generator_loss(discriminator, fake), -scores[1].log().mean())
    discriminator_loss(discriminator, real, fake).backward()
    assert all(p.grad is None for p in generator.parameters())
    generator_loss(discriminator, fake).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.parameters())

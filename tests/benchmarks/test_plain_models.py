"""Models written by hand have the loss and the gradients of the library's."""

import pytest
import torch

from benchmarks.all_models import BY_HAND, MODELS, measure_models
from benchmarks.plain_models import PlainCCVAE, PlainGumbelSoftmaxM2, PlainVAE
from pyro_ssl import models
from pyro_ssl.models import CCVAE, VAE, GumbelSoftmaxM2, PyroModel

PIXELS, CLASSES, HIDDEN, LATENT, ROWS, LABELLED = 12, 4, 7, 3, 6, 2
SHAPE = {"input_shape": (1, 3, 4), "hidden_dims": (HIDDEN,)}
# Parts of our networks and of those by hand.
AUTOENCODER = {
    "encoder.layers.0": "encoder.0",
    "encoder.layers.1": "encoder.2",
    "decoder.layers.0": "decoder.0",
    "decoder.layers.1": "decoder.2",
}
LABELS = {
    "classifier.layers.0": "classifier.0",
    "classifier.layers.1": "classifier.2",
    "encoder.layers.0.linear": "encoder_in",
    "encoder.layers.0.embedding": "encoder_label",
    "encoder.layers.1": "encoder_out",
    "decoder.layers.0.linear": "decoder_in",
    "decoder.layers.0.embedding": "decoder_label",
    "decoder.layers.1": "decoder_out",
}
PRIOR = {name: name for name in ("prior_loc", "prior_raw_scale", "slope", "intercept")}


def peers(name):
    """Our model, the one by hand, and which of its parameters are which of ours."""
    if name == "VAE":
        ours = VAE(latent_dim=LATENT, activation="relu", **SHAPE)
        return ours, PlainVAE(PIXELS, HIDDEN, LATENT), AUTOENCODER
    if name == "CCVAE":
        ours = CCVAE(num_classes=CLASSES, style_dim=CLASSES, num_samples=3, **SHAPE)
        return ours, PlainCCVAE(PIXELS, CLASSES, HIDDEN, CLASSES, 3), AUTOENCODER | PRIOR
    plain = {"batch_norm": False, "input_dropout": 0.0, "alpha": 50.0}
    ours = GumbelSoftmaxM2(0.4, num_classes=CLASSES, latent_dim=LATENT, **SHAPE, **plain)
    return ours, PlainGumbelSoftmaxM2(0.4, PIXELS, CLASSES, HIDDEN, LATENT), LABELS


@pytest.fixture
def same_noise(monkeypatch):
    """Draws that depend on their place in a row alone, in whichever order and parts they are made.

    Those of `torch.randn` itself differ along the first dimension, too.
    """

    def places(shape):
        row = torch.arange(shape[-1], dtype=torch.float64) % CLASSES
        return row.add(1).mul(0.61).remainder(1).expand(torch.Size(shape))

    def draws(shape):
        first = torch.arange(shape[0], dtype=torch.float64).add(1).mul(0.17)
        return places(shape) - first.view(-1, *[1] * (len(shape) - 1))

    def like(draw):
        return lambda tensor: draw(tensor.shape)

    def given(draw):
        return lambda *shape, **_: draw(shape[0] if isinstance(shape[0], tuple) else shape)

    monkeypatch.setattr(torch, "randn", given(draws))
    monkeypatch.setattr(torch, "rand", given(places))
    monkeypatch.setattr(torch, "randn_like", like(places))
    monkeypatch.setattr(torch, "rand_like", like(places))
    normal = "torch.distributions.normal._standard_normal"
    monkeypatch.setattr(normal, lambda shape, dtype, device: places(shape))


@pytest.mark.parametrize("name", BY_HAND)
def test_models_by_hand_are_the_same_mathematics(name, same_noise):
    torch.manual_seed(0)
    ours, by_hand, same = peers(name)
    ours, by_hand = ours.double().train(), by_hand.double()
    for parameter in ours.parameters():
        parameter.data += 0.1 * torch.linspace(-1, 1, parameter.numel()).view_as(parameter)
    for mine, theirs in same.items():
        if theirs in dict(by_hand.named_parameters()):
            by_hand.get_parameter(theirs).data.copy_(ours.get_parameter(mine))
        else:
            by_hand.get_submodule(theirs).load_state_dict(ours.get_submodule(mine).state_dict())
    xs = torch.linspace(0, 1, ROWS * PIXELS).mul(7).remainder(1).round().double()
    xs, ys = xs.view(ROWS, 1, 3, 4), torch.tensor([3, 1, -1, -1, -1, -1])
    loss = ours.make_elbo().differentiable_loss(ours.model, ours.guide, xs, ys)
    known = () if name == "VAE" else (LABELLED,)
    other = by_hand.loss(xs.flatten(1), ys, *known)
    torch.testing.assert_close(other, loss)
    loss.backward()
    other.backward()
    for mine, theirs in same.items():
        if theirs in dict(by_hand.named_parameters()):
            pairs = [(ours.get_parameter(mine), by_hand.get_parameter(theirs))]
        else:
            parts = ours.get_submodule(mine), by_hand.get_submodule(theirs)
            pairs = list(zip(*(part.parameters() for part in parts), strict=True))
        for one, two in pairs:
            torch.testing.assert_close(two.grad, one.grad)


def test_every_model_is_timed():
    exported = (getattr(models, name) for name in models.__all__)
    classes = {c.__name__ for c in exported if isinstance(c, type) and issubclass(c, PyroModel)}
    # Bases, and a mixture of four bits on a plane, which has no size to speak of.
    not_timed = {"PyroModel", "SSLModel", "RelaxedM2", "BitMixture"}
    assert classes - not_timed == MODELS.keys() - {"record"}


def test_table_of_models_has_ratios_and_limits(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **kwargs: function)
    cpu = torch.device("cpu")
    table = measure_models(4, 1, ("float32",), cpu, ("RegressionM2", *BY_HAND))
    assert len(table) == 2 * 4 + 2 * len(BY_HAND)
    for row in table:
        multiple = row["ms"] / row["arithmetic_limit_ms"]
        assert row["times_arithmetic_limit"] == pytest.approx(multiple)
        has_peer = any(row["step"].startswith(name) for name in BY_HAND)
        assert (row["times_by_hand"] is not None) == has_peer

"""What a user froze stays frozen, and in evaluation mode, in training and afterwards."""

import copy

import pytest
import torch
from torch import nn

from pyro_ssl import CCVAE, M2, VAE, FitConfig, MLPClassifier, SSLData, fit
from pyro_ssl.infer.ensemble import EnsembleConfig, Member, fit_ensemble
from pyro_ssl.nets.modes import frozen_parts

SIZES = {"input_shape": (6,), "hidden_dims": (4,)}
CONFIG = FitConfig(steps=3, batch_size=8, labelled_batch_size=8, compile="never", keep_best=False)


def rows(seed=0):
    generator = torch.Generator().manual_seed(seed)
    xs = (torch.rand(24, 6, generator=generator) < 0.5).float()
    ys = torch.arange(24) % 3
    return xs, torch.where(torch.arange(24) < 12, ys, -1)


class Own(nn.Module):
    """A network with statistics and noise."""

    def __init__(self, outputs=3):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.last = nn.Linear(4, outputs)
        self.modes = []

    def forward(self, xs):
        self.modes.append(self.training)
        return self.last(self.layers(xs))


def m2(**options):
    torch.manual_seed(0)
    return M2(num_classes=3, latent_dim=2, **SIZES, **options)


def with_parts():
    """Return models, and of each the name of a part with batch norm or dropout."""
    for norm in (True, "separate"):
        yield m2(batch_norm=norm), "classifier"
    yield m2(classifier=Own()), "classifier.network"
    yield m2(classifier=Own()), "classifier.network.layers"
    yield m2(classifier=Own()), "classifier.network.layers.1"
    yield VAE(latent_dim=2, batch_norm=True, **SIZES), "encoder"
    yield VAE(latent_dim=2, batch_norm=True, **SIZES), "decoder"
    yield CCVAE(num_classes=3, style_dim=2, batch_norm=True, **SIZES), "encoder"
    yield MLPClassifier(num_classes=3, **SIZES), "classifier.norms.0"


@pytest.mark.parametrize("engine", ["native", "svi"])
@pytest.mark.parametrize("number", range(9))
def test_what_was_frozen_does_not_move(number, engine):
    model, name = list(with_parts())[number]
    part = model.get_submodule(name).requires_grad_(False).eval()
    before = copy.deepcopy(part.state_dict())
    modes = []
    part.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    everything = copy.deepcopy(model.state_dict())
    fit(
        model,
        SSLData.from_arrays(*rows(), num_classes=3),
        FitConfig(**vars(CONFIG) | {"engine": engine}),
    )
    assert modes
    assert not any(modes)
    assert all(torch.equal(value, before[key]) for key, value in part.state_dict().items())
    assert not any(p.requires_grad for p in part.parameters())
    assert any(not torch.equal(v, everything[k]) for k, v in model.state_dict().items())


def test_a_frozen_part_in_training_mode_and_all_others_go_on_as_before():
    model = m2(classifier=Own())
    model.classifier.network.requires_grad_(False)
    before = model.classifier.network.layers[1].running_mean.clone()
    fit(model, SSLData.from_arrays(*rows(), num_classes=3), CONFIG)
    assert not torch.equal(model.classifier.network.layers[1].running_mean, before)


def test_a_model_that_was_trained_before_trains_in_training_mode_again():
    model, data = m2(batch_norm=True), SSLData.from_arrays(*rows(), num_classes=3)
    fit(model, data, CONFIG)
    assert not model.training
    assert not frozen_parts(model)
    before = model.classifier.norms[0].running_mean.clone()
    fit(model, data, CONFIG)
    assert not torch.equal(model.classifier.norms[0].running_mean, before)


def test_a_frozen_part_of_a_single_row_needs_no_batch():
    model = m2(batch_norm="separate")
    model.classifier.requires_grad_(False).eval()
    xs, ys = rows()
    fit(model, SSLData.from_arrays(xs[11:], ys[11:], num_classes=3), CONFIG)


@pytest.mark.parametrize("at_once", [True, False])
def test_what_was_frozen_in_an_ensemble_does_not_move(at_once):
    xs, ys = rows()
    models = [m2(classifier=Own()) for _ in range(2)]
    if not at_once:
        # Batch norm that is trained cannot be mapped.
        models = [m2(classifier=Own(), encoder=_Encoder()) for _ in range(2)]
    before = []
    for model in models:
        part = model.classifier.network.requires_grad_(False).eval()
        before.append(copy.deepcopy(part.state_dict()))
    members = [Member(torch.arange(12).numpy(), torch.arange(12, 24).numpy()) for _ in models]
    config = EnsembleConfig(max_steps=4, min_steps=0, check_every=2)
    if at_once:
        history = fit_ensemble(models, xs, ys, members, config)
    else:
        with pytest.warns(UserWarning, match="one after the other"):
            history = fit_ensemble(models, xs, ys, members, config)
    assert history.at_once is at_once
    for model, was in zip(models, before, strict=True):
        part = model.classifier.network
        assert all(torch.equal(value, was[key]) for key, value in part.state_dict().items())
        assert not part.training
        assert not any(p.requires_grad for p in part.parameters())
    assert not any(mode for model in models for mode in model.classifier.network.modes)


class _Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.last = nn.BatchNorm1d(9), nn.Linear(9, 4)

    def forward(self, xs, ys):
        return self.last(self.norm(torch.cat([xs, ys], -1)))


def test_members_that_differ_in_what_is_frozen_are_refused():
    xs, ys = rows()
    models = [m2(classifier=Own()) for _ in range(2)]
    for model in models:
        model.classifier.network.requires_grad_(False)
    models[0].classifier.network.eval()
    members = [Member(torch.arange(12).numpy(), torch.arange(12, 24).numpy()) for _ in models]
    with pytest.raises(ValueError, match="differ in what is frozen"):
        fit_ensemble(models, xs, ys, members, EnsembleConfig(max_steps=1, min_steps=0))

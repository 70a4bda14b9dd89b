"""Convolutional models of images and signals of any size, alone and several at once."""

import math

import numpy as np
import pytest
import torch

from pyro_ssl.infer.ensemble import EnsembleConfig, Member, fit_ensemble
from pyro_ssl.infer.objective import Objective
from pyro_ssl.likelihoods import Gaussian
from pyro_ssl.metrics import joint_bound
from pyro_ssl.models import CCVAE, M2
from pyro_ssl.models.rows import Batch

SIZES = [(1, 1, 1), (2, 2, 3), (1, 28, 28), (3, 31, 17), (5, 1), (2, 7), (1, 100)]
OPTIONS = {"latent_dim": 2, "hidden_dims": (8,), "channels": 3, "batch_norm": False}


def m2(shape, seed=0, **options):
    torch.manual_seed(seed)
    return M2(shape, 3, **{**OPTIONS, "likelihood": Gaussian(per="dimension"), **options})


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("per", ["value", "dimension"])
def test_shapes_are_exact_and_all_weights_learn(shape, per):
    model = m2(shape, likelihood=Gaussian(per=per), activation="softplus")
    xs, ys = torch.randn(5, *shape), torch.tensor([0, 2, -1, -1, -1])
    assert model.class_logits(xs).shape == (5, 3)
    assert model.encode(xs)[0].shape == (5, 2)
    assert model.decode(torch.zeros(5, 2), torch.zeros(5, dtype=torch.long)).shape == xs.shape
    loss = Objective(model, 2, 3).train()(Batch(xs, ys, 2))[0]
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


def test_ccvae_takes_odd_images_and_signals():
    for shape in [(2, 5, 7), (1, 11)]:
        model = CCVAE(shape, 3, style_dim=2, hidden_dims=(4,), channels=2, num_samples=2)
        loss = Objective(model, 2, 1)(Batch(torch.rand(3, *shape), torch.tensor([0, 1, -1]), 2))
        assert math.isfinite(float(loss[0]))


@pytest.mark.parametrize("shape", [(2, 5, 7), (1, 11)], ids=str)
def test_members_learn_at_once(shape):
    models = [m2(shape, seed, input_dropout=0.0, alpha=5.0) for seed in (0, 1)]
    torch.manual_seed(0)
    classes = torch.arange(60) % 3
    means = torch.randn(3, *shape)
    xs = means[classes] + 0.3 * torch.randn(60, *shape)
    ys = torch.where(torch.arange(60) < 12, classes, -1)
    before = [joint_bound(model.eval(), xs, classes).mean() for model in models]
    members = [Member(np.arange(12), np.arange(12, 60))] * 2
    config = EnsembleConfig(max_steps=150, batch_size=16, labelled_batch_size=12)
    history = fit_ensemble(models, xs, ys, members, config)
    assert history.steps == 150
    for model, bound in zip(models, before, strict=True):
        assert joint_bound(model, xs, classes).mean() > bound + 0.5 * math.prod(shape)
        assert (model.class_logits(xs).argmax(-1) == classes).double().mean() > 0.9
    weights = [model.image_encoder.layers[0].weight for model in models]
    assert not torch.allclose(*weights)

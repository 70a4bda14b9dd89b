import math

import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import GeneratorVAE
from tests import oracle


def make(**options) -> GeneratorVAE:
    sizes = {"image_shape": (2, 16, 16), "latent_dim": 3, "generator_channels": 2}
    sizes |= {"encoder_channels": 2, "hidden_dim": 5, "scale": 0.3}
    torch.manual_seed(1)
    model = GeneratorVAE(**sizes | options)
    for module in model.generator.layers:
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    for parameter in model.generator.parameters():
        parameter.data.mul_(10.0)
    return model.double().train()


def test_objective_is_the_formula_gradients_included():
    model, xs = make(), torch.rand(4, 2, 16, 16).double()
    loss, trace = oracle.run(model, model.make_elbo(), xs)
    loc, raw_scale = model.encoder(model.image_encoder(xs)).chunk(2, -1)
    scale = F.softplus(raw_scale) + 1e-4
    eps = ((trace.nodes["z"]["value"] - loc) / scale).detach()
    images = model.generator(loc + scale * eps)
    squares = ((xs - images) / 0.3).square().flatten(1).sum(-1)
    log_px = -squares / 2 - 512 * math.log(0.3 * math.sqrt(2 * math.pi))
    kl = oracle.normal_kl(loc, scale)
    expected = -(log_px - kl).sum()
    torch.testing.assert_close(loss, expected)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(expected, model))


def test_generator_keeps_its_statistics_in_training():
    model, zs = make(), torch.randn(5, 3).double()
    before = {k: v.clone() for k, v in model.generator.state_dict().items()}
    assert model.training
    alone = model._p_x(zs[:1]).base_dist.loc
    torch.testing.assert_close(alone, model._p_x(zs).base_dist.loc[:1])
    torch.testing.assert_close(alone.detach(), model.decode(zs[:1]))
    after = model.generator.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_samples_are_the_models_own():
    model = make()
    torch.manual_seed(0)
    images, zs = model.sample(400)
    noise = (images - model.decode(zs)) / 0.3
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    means, zs = model.sample(3, noise=False)
    torch.testing.assert_close(means, model.decode(zs))
    loc, scale = model.encode(images[:3])
    by_hand = oracle.normal_log_prob(zs, loc, scale)
    torch.testing.assert_close(model.code_log_prob(images[:3], zs).detach(), by_hand)
    assert importance_weighted_bound(model, images[:7], 3).shape == (7,)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scale": 0.0}, "scale is 0.0"),
        ({"image_shape": (1, 28, 28)}, "expected .channels, side, side. with a side of 16"),
        ({"generator_channels": 0}, "channels is 0"),
    ],
)
def test_bad_option_is_named(options, says):
    with pytest.raises(ConfigError, match=says):
        make(**options)

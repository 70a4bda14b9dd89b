"""VAEs with learned priors: densities, draws, refusals."""

import math

import pytest
import torch

from pyro_ssl.data import SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import FitConfig, fit, load_model, save_model
from pyro_ssl.metrics import importance_weighted_bound, kl_per_dimension
from pyro_ssl.models import M1M2, VAE, Autoencoder
from tests import oracle

SIZES = {"input_shape": (1, 2, 3), "latent_dim": 2, "hidden_dims": (5,), "num_components": 3}


def make(prior, **options):
    torch.manual_seed(1)
    model = VAE(prior=prior, **SIZES | options)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model.double()


def rows(number=5):
    torch.manual_seed(2)
    return torch.rand(number, 1, 2, 3).bernoulli().double()


def log_prior(model, zs):
    """log p(z) written out, `[B]`."""
    if model.prior == "mixture":
        part = model.latent_prior
        log_w = part.logits.log_softmax(-1)
        loc, scale = part.loc, torch.nn.functional.softplus(part.raw_scale) + 1e-2
    else:
        us = model.latent_prior.pseudo_inputs.sigmoid()
        loc, scale = oracle.vae_posterior(model, us)
        log_w = torch.full((len(us),), -math.log(len(us)), dtype=torch.float64)
    each = [log_w[k] + oracle.normal_log_prob(zs, loc[k], scale[k]) for k in range(3)]
    return torch.stack(each).logsumexp(0)


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_elbo_and_gradients_equal_the_formula(prior):
    model, xs = make(prior), rows()
    loss, trace = oracle.run(model, model.make_elbo(), xs)
    zs = trace.nodes["z"]["value"]
    loc, scale = oracle.vae_posterior(model, xs)
    zs = loc + scale * oracle.vae_noise(model, xs, zs)
    log_q = oracle.normal_log_prob(zs, loc, scale)
    by_hand = -(oracle.vae_log_px(model, xs, zs) + log_prior(model, zs) - log_q).sum()
    torch.testing.assert_close(loss, by_hand, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(by_hand, model))


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_draws_come_from_the_prior(prior):
    model = make(prior)
    with torch.no_grad():
        drawn = model.p_z(rows()).sample((20_000,))
        assert drawn.shape == (20_000, 2)
        # E_p[q / p] = 1 for any density q, here a broad one.
        q = torch.distributions.Normal(drawn.mean(0), 0.7 * drawn.std(0))
        ratio = (q.log_prob(drawn).sum(-1) - log_prior(model, drawn)).exp()
        assert ratio.mean() == pytest.approx(1.0, abs=0.1)
        assert model.sample(7).shape == (7, 1, 2, 3)


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
@pytest.mark.parametrize("compiles", ["never", "always"])
def test_a_learned_prior_learns(prior, compiles, tmp_path, monkeypatch):
    # The compiler itself has tests of its own; here its recorded graph is run.
    monkeypatch.setattr(torch, "compile", lambda function, **kwargs: function)
    xs = torch.rand(60, 1, 2, 3).round()
    model = make(prior, num_samples=2).float()
    before = {n: p.clone() for n, p in model.latent_prior.named_parameters()}
    how = FitConfig(epochs=3, batch_size=20, learning_rate=1e-2, compile=compiles)
    history = fit(model, SSLData.unlabelled(xs, xs[:10]), how)
    assert ("compiled" in history.execution) == (compiles == "always")
    assert all(not torch.equal(before[n], p) for n, p in model.latent_prior.named_parameters())
    # No divergence by dimension: those of a mixture do not add up.
    assert kl_per_dimension(model, xs[:10]) is None
    save_model(model, tmp_path / "model.pt")
    again = load_model(tmp_path / "model.pt")
    bounds = []
    for each in (model, again):
        torch.manual_seed(3)
        bounds.append(importance_weighted_bound(each, xs[:10], 5))
    torch.testing.assert_close(*bounds)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prior": "vamp", "batch_norm": True}, "statistics of batch norm"),
        ({"prior": "vamp", "likelihood": "poisson"}, "the likelihood is Poisson"),
        ({"prior": "uniform"}, "prior is 'uniform'"),
        ({"num_components": 0}, "num_components is 0"),
    ],
)
def test_what_does_not_go_together_is_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        VAE(**SIZES | options)


def test_models_built_on_a_vae_keep_its_normal_prior():
    with pytest.raises(ConfigError, match="draws none"):
        Autoencoder(prior="mixture", **SIZES)
    with pytest.raises(ConfigError, match="learned prior"):
        M1M2(m1={"prior": "mixture", **SIZES}, num_classes=3)

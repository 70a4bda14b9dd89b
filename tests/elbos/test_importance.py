"""The importance-weighted bound against its formula, row by row."""

import math
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI
from pyro.optim import Adam

from pyro_ssl.elbos import ImportanceWeighted_ELBO, StaticEnum_ELBO, loss_and_terms
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import FitConfig, RowWeights, fit
from pyro_ssl.models import VAE
from pyro_ssl.models.rows import Batch
from tests import oracle
from tests.infer.problems import blobs, small_m2

DRAWS = 4


def small_vae(**options):
    torch.manual_seed(1)
    sizes = {"input_shape": (1, 2, 3), "latent_dim": 2, "hidden_dims": (5,)}
    model = VAE(**sizes, **options)
    for parameter in model.parameters():
        parameter.data.mul_(2.0)
    return model.double()


def rows(number=5):
    torch.manual_seed(2)
    return torch.rand(number, 1, 2, 3).bernoulli().double()


def weighted_bounds(model, xs, zs):
    """The bound of each row, given its draws `[k, n, D]`."""
    draws = []
    for each in zs:
        eps = oracle.vae_noise(model, xs, each)
        draws.append(oracle.vae_bound(model, xs, eps, closed_form=False))
    return torch.stack(draws).logsumexp(0) - math.log(len(draws))


@pytest.mark.parametrize("draws", [1, DRAWS])
def test_bound_and_gradient_equal_the_formula(draws):
    model, xs = small_vae(num_samples=draws, importance_weighted=True), rows()
    loss, trace = oracle.run(model, model.make_elbo(), xs)
    zs = trace.nodes["z"]["value"].view(draws, len(xs), 2)
    by_hand = -weighted_bounds(model, xs, zs).sum()
    torch.testing.assert_close(loss, by_hand, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(by_hand, model))


def test_weights_of_rows_multiply_bounds_and_not_draws():
    model, xs = small_vae(num_samples=DRAWS, importance_weighted=True), rows()
    batch = Batch(xs, torch.tensor([1, 0, -1, -1, -1]), 2)
    with RowWeights(75, 25):
        loss, trace = oracle.run(model, model.make_elbo(), batch)
    by_hand = 0.0
    for part, index, share in (("labelled", slice(2), 0.75), ("unlabelled", slice(2, 5), 0.25)):
        of_part = xs[index]
        bounds = weighted_bounds(model, of_part, trace.nodes[f"{part}/z"]["value"])
        by_hand = by_hand - share * bounds.mean()
    torch.testing.assert_close(loss, by_hand, atol=1e-9, rtol=1e-9)


def test_it_is_above_the_elbo_of_the_same_draws_whose_terms_it_reports():
    model, xs = small_vae(num_samples=DRAWS, importance_weighted=True), rows()
    loss, terms = loss_and_terms(model.make_elbo(), model.model, model.guide, xs)
    assert -loss / len(xs) > terms["elbo"] + 0.1
    torch.testing.assert_close(terms["elbo"], terms["log_prob_x"] - terms["kl_z"])
    torch.manual_seed(0)
    plain = StaticEnum_ELBO(num_particles=DRAWS).differentiable_loss(model.model, model.guide, xs)
    torch.manual_seed(0)
    _, terms = loss_and_terms(model.make_elbo(), model.model, model.guide, xs)
    torch.testing.assert_close(terms["elbo"], -plain.detach() / len(xs))


def test_both_engines_train_with_it():
    found = []
    for engine in ("native", "svi"):
        model = small_vae(num_samples=DRAWS, importance_weighted=True).float()
        data = blobs()
        wide = VAE((1, 4, 4), 2, (5,), num_samples=DRAWS, importance_weighted=True)
        torch.manual_seed(0)
        for parameter in wide.parameters():
            parameter.data.uniform_(-0.3, 0.3)
        how = FitConfig(epochs=3, batch_size=30, engine=engine, compile="never")
        found.append(fit(wide, data, replace(how, precision="float32")).rows)
        assert model.importance_weighted
    for one, two in zip(*found, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-4)
    assert found[0][-1]["loss"] < found[0][0]["loss"]


def test_a_program_of_ones_own_may_have_it_and_plates_within_rows():
    xs = torch.randn(6, 3)

    def model(xs):
        with pyro.plate("rows", len(xs), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("values", 3, dim=-2):
                pyro.sample("x", dist.Normal(z, 1.0), obs=xs.T)

    def guide(xs):
        loc = pyro.param("loc", torch.zeros(6))
        with pyro.plate("rows", len(xs), dim=-1):
            pyro.sample("z", dist.Normal(loc, 1.0))

    pyro.clear_param_store()
    elbo = ImportanceWeighted_ELBO(5000, max_plate_nesting=2)
    # p(x) of a row: normal with ones in the covariance, and twos on its diagonal.
    exact = torch.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3) + 1.0)
    loss = SVI(model, guide, Adam({"lr": 0.01}), elbo).evaluate_loss(xs)
    assert loss == pytest.approx(-exact.log_prob(xs).sum().item(), abs=0.5)


def test_what_it_cannot_weigh_is_named():
    m2 = small_m2()
    with pytest.raises(ConfigError, match="'y' is enumerated"):
        ImportanceWeighted_ELBO(3).differentiable_loss(m2.model, m2.guide, torch.rand(4, 1, 4, 4))

    def alone(xs):
        pyro.sample("z", dist.Normal(0.0, 1.0))

    with pytest.raises(ConfigError, match="'z' is in no plate"):
        ImportanceWeighted_ELBO(1).differentiable_loss(alone, alone, torch.zeros(2))

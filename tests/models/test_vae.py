import math

import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from sklearn.datasets import load_digits

from pyro_ssl.data import SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import FitConfig, RowWeights, StaticEnum_ELBO, fit
from pyro_ssl.likelihoods import Gaussian
from pyro_ssl.models import VAE, Autoencoder
from pyro_ssl.models.rows import Batch
from tests import oracle

# The options that make each kind of p(x|z).
LIKELIHOODS = {
    "bernoulli": {"likelihood": "bernoulli"},
    "gaussian": {"likelihood": Gaussian(min_scale=0.05)},
    "fixed": {"likelihood": Gaussian(0.7)},
}

# Which ELBO, and whether it takes the KL in closed form.
ELBOS = {
    "its own": (lambda: VAE().make_elbo(), True),
    "sampled KL": (lambda: StaticEnum_ELBO(closed_form_kl=False), False),
    "Pyro's closed form": (TraceMeanField_ELBO, True),
    "Pyro's sampled": (Trace_ELBO, False),
}


def make(likelihood: str, cls: type[VAE] = VAE, **options) -> VAE:
    torch.manual_seed(1)
    sizes = {"latent_dim": 2, "hidden_dims": (5, 4)}
    model = cls((1, 2, 3), **LIKELIHOODS[likelihood] | sizes | options)
    # Away from its initial values every density is far from flat.
    for parameter in model.parameters():
        parameter.data.mul_(2.0)
    return model.double()


def rows(likelihood: str, number: int = 5) -> torch.Tensor:
    if likelihood == "bernoulli":
        return torch.rand(number, 1, 2, 3).bernoulli().double()
    return 2 * torch.randn(number, 1, 2, 3).double()


@pytest.mark.parametrize("elbo", ELBOS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_elbo_and_gradients_equal_the_formula(likelihood, elbo):
    model, xs = make(likelihood), rows(likelihood)
    make_elbo, closed_form = ELBOS[elbo]
    loss, trace = oracle.run(model, make_elbo(), xs)
    eps = oracle.vae_noise(model, xs, trace.nodes["z"]["value"])
    by_hand = -oracle.vae_bound(model, xs, eps, closed_form).sum()
    torch.testing.assert_close(loss, by_hand, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(by_hand, model))
    # The two forms are far enough apart here for one not to pass as the other.
    other = -oracle.vae_bound(model, xs, eps, not closed_form).sum()
    assert abs(loss - other) > 1e-2


@pytest.mark.parametrize(
    "ys", [[0, 3, 1, 1, 2], [-1, -1, -1, -1, -1], [2, -1, 0, -1, -1], [1, 3, -1, -1, -1]]
)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_labels_are_not_looked_at_and_a_mixed_call_is_the_sum_of_its_parts(likelihood, ys):
    model, xs, ys = make(likelihood), rows(likelihood), torch.tensor(ys)
    known = ys >= 0
    in_front = known.tolist() == [True] * 2 + [False] * 3
    batch = Batch(xs, ys, 2 if in_front else None)
    # Weights tell whose share of the sum is whose.
    with RowWeights(75, 25):
        loss, trace = oracle.run(model, model.make_elbo(), batch)
    by_hand = 0.0
    for part, mask, share in (("labelled", known, 0.75), ("unlabelled", ~known, 0.25)):
        # The sites of a call of one kind without a promise have plain names.
        name = f"{part}/z" if f"{part}/z" in trace.nodes else "z"
        factor = share / max(int(mask.sum()), 1)
        if mask.any():
            eps = oracle.vae_noise(model, xs[mask], trace.nodes[name]["value"])
            by_hand = by_hand - factor * oracle.vae_bound(model, xs[mask], eps).sum()
    torch.testing.assert_close(loss, by_hand, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(by_hand, model))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_encode_decode_and_sample_use_running_statistics_and_leave_modes_alone(likelihood):
    model, xs = make(likelihood, batch_norm=True), rows(likelihood)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    model.train()
    model.decoder.norms[0].eval()
    before = [(m, m.training) for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    in_training, _ = oracle.vae_posterior(model, xs)
    model.load_state_dict(state)

    zs = torch.randn(5, 2).double()
    found = (*model.encode(xs), model.decode(zs))
    torch.manual_seed(5)
    drawn = model.sample(3)
    assert all(m.training == mode for m, mode in before)
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert not any(t.requires_grad for t in (*found, drawn))

    model.eval()
    means = model.decoder(zs)[:, :6]
    means = (means.sigmoid() if likelihood == "bernoulli" else means).view(5, 1, 2, 3)
    torch.testing.assert_close(found, (*oracle.vae_posterior(model, xs), means))
    assert (found[0] - in_training).abs().max() > 0.01
    torch.manual_seed(5)
    torch.testing.assert_close(drawn, model.decode(torch.randn(3, 2, dtype=torch.float64)))


@pytest.mark.parametrize(
    "options",
    [
        {"latent_dim": 0},
        {"likelihood": "gauss"},
        {"hidden_dims": (3, 0)},
        {"activation": "sine"},
    ],
)
@pytest.mark.parametrize("cls", [VAE, Autoencoder])
def test_options_that_cannot_work_are_named(cls, options):
    with pytest.raises(ConfigError, match=rf"{next(iter(options))}(\[1\])? is "):
        cls(input_shape=(1, 2, 3), **options)


def fitted_gaussian(digits, seed, min_scale):
    """A VAE with learned variances after 50 epochs, and its history."""
    torch.manual_seed(seed)
    sizes = {"latent_dim": 4, "hidden_dims": (32,)}
    model = VAE((1, 8, 8), likelihood=Gaussian(min_scale=min_scale), **sizes)
    config = FitConfig(
        epochs=50,
        batch_size=100,
        learning_rate=1e-2,
        learning_rate_schedule="constant",
        binarise=False,
        compile="never",
        seed=seed,
    )
    return model, fit(model, SSLData.unlabelled(digits, real_valued=True), config).to_frame()


def test_learned_variance_trains_from_every_seed_beside_pixels_that_never_change():
    digits = torch.from_numpy(load_digits().images[:200]).float().div(16).unsqueeze(1)
    constant = digits.flatten(1).std(0) == 0
    assert constant.sum() >= 3
    # No density exceeds that of every pixel at its mean with the smallest scale.
    floor = 0.01
    ceiling = -64 * math.log(floor * math.sqrt(2 * math.pi))
    for seed in range(10):
        model, frame = fitted_gaussian(digits, seed, floor)
        # `fit` would raise at a figure that is not finite; that it does is not taken for granted.
        assert torch.isfinite(torch.from_numpy(frame.to_numpy(dtype=float))).all()
        bound = frame["unlabelled_elbo"]
        # A fit of means alone, with scales left near softplus(0), has densities below 1 and a
        # bound below 0; one that learns its scales ends above, but below what the floor allows.
        assert bound.iloc[0] < 0 < bound.iloc[-5:].mean() < ceiling
        assert bound.iloc[-5:].mean() > bound.iloc[20:25].mean() > bound.iloc[:5].mean()
        # The pixels that never change are what the floor is for: their scales meet it.
        scales = model.p_x(torch.zeros(1, 4)).base_dist.scale.flatten().detach()
        assert floor <= scales[constant].min() < scales[constant].max() < 2 * floor
        assert scales[~constant].median() > 10 * floor
        if seed < 3:
            # Without a floor their scales fall on, and what they throw the gradients about by
            # costs the other pixels more than they gain: the ceiling is gone, the bound lower.
            _, without = fitted_gaussian(digits, seed, 1e-30)
            assert without["gradient_norm"].max() > 1.5 * frame["gradient_norm"].max()
            assert without["unlabelled_elbo"].iloc[-5:].mean() < bound.iloc[-5:].mean() - 10


def autoencoder_loss(model, xs):
    code, _ = oracle.vae_posterior(model, xs)
    return -oracle.vae_log_px(model, xs, code).sum()


@pytest.mark.parametrize("ys", [None, [0, 3, 1, 1, 2], [2, -1, 0, -1, -1]])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_autoencoders_objective_is_the_reconstruction_alone(likelihood, ys):
    model, xs = make(likelihood, Autoencoder), rows(likelihood)
    loss, _ = oracle.run(model, model.make_elbo(), xs, ys if ys is None else torch.tensor(ys))
    by_hand = autoencoder_loss(model, xs)
    torch.testing.assert_close(loss, by_hand, atol=1e-9, rtol=1e-9)
    gradients = oracle.gradients(loss, model)
    oracle.assert_same(gradients, oracle.gradients(by_hand, model))
    for name in ("weight", "bias"):
        code, scales = gradients[f"encoder.layers.2.{name}"].split(2)
        assert (code != 0).all()
        assert (scales == 0).all()


def test_autoencoder_starts_from_the_weights_of_a_vae_and_draws_nothing():
    vae, plain = make("gaussian"), make("gaussian", Autoencoder)
    assert plain.options == vae.options
    ours, theirs = plain.state_dict(), vae.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    xs = rows("gaussian")
    code, spread = plain.encode(xs)
    torch.testing.assert_close(code, vae.encode(xs)[0])
    assert torch.equal(spread, torch.zeros_like(code))
    before = torch.get_rng_state()
    oracle.run(plain, plain.make_elbo(), xs)
    assert torch.equal(torch.get_rng_state(), before)


def test_labelled_and_unlabelled_rows_share_the_statistics_of_batch_norm():
    torch.manual_seed(0)
    model = VAE((1, 2, 3), latent_dim=2, hidden_dims=(5,), batch_norm=True)
    xs, ys = torch.rand(6, 1, 2, 3), torch.tensor([2, -1, -1, -1, -1, -1])
    with oracle.recorded_traces(elbo := model.make_elbo()) as traces:
        elbo.differentiable_loss(model.model, model.guide, xs, ys)
    _, guide_trace = traces[-1]
    together = model.q_z(xs).base_dist.loc
    labelled, unlabelled = (
        guide_trace.nodes[f"{p}/z"]["fn"].base_dist.loc for p in ("labelled", "unlabelled")
    )
    torch.testing.assert_close(torch.cat([labelled, unlabelled]), together)
    # One pass of encoder and decoder, and one of the encoder above.
    assert model.encoder.norms[0].num_batches_tracked == 2
    assert model.decoder.norms[0].num_batches_tracked == 1

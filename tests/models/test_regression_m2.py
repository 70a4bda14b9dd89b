"""RegressionM2 against densities written out by hand, and a model whose log p(x) is exact."""

import math

import numpy as np
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO
from pyro.optim import Adam
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from pyro_ssl.data import SSLData
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.infer import FitConfig, Objective, StaticEnum_ELBO, fit, load_model, save_model
from pyro_ssl.likelihoods import Bernoulli, Categorical, Gaussian, Mixed, Poisson
from pyro_ssl.metrics import importance_weighted_bound, joint_bound
from pyro_ssl.models import RegressionM2
from pyro_ssl.models.rows import Batch
from tests import oracle

ALPHA, NAN = 3.5, math.nan
MIXED = Mixed((Gaussian(), Bernoulli(), Categorical(3), Poisson()))


def small(likelihood="gaussian", **options):
    torch.manual_seed(1)
    options = {"alpha": ALPHA, "hidden_dims": (6,), "latent_dim": 2} | options
    model = RegressionM2((4,), likelihood=likelihood, **options)
    for parameter in model.parameters():
        parameter.data.mul_(2.0)
    return model.double()


def rows(likelihood="gaussian", count=5):
    torch.manual_seed(2)
    xs = torch.randn(count, 4).double()
    if likelihood is MIXED:
        xs[:, 1], xs[:, 2], xs[:, 3] = torch.tensor([[0, 2, 1], [1, 0, 3]] * 3)[:count].double().T
        xs[0, 0] = xs[1, 2] = xs[2, 1] = xs[2, 3] = NAN
    return xs


def loss_and_latents(model, elbo, xs, ys, num_labelled=None):
    """Return Pyro's loss, and what the guide drew: of unlabelled y, and of all z, by kind."""
    with oracle.recorded_traces(elbo) as traces:
        batch = Batch(xs, ys, num_labelled)
        loss = elbo.differentiable_loss(model.model, model.guide, batch)
    nodes = traces[-1][1].nodes
    return loss, {k: v["value"].detach() for k, v in nodes.items() if v["type"] == "sample"}


def by_hand(model, xs, ys, y_drawn, z_drawn, closed):
    """The negative objective of rows of one kind, from networks, noise and densities alone.

    Args:
        model: the model.
        xs: the rows.
        ys: their labels, or None.
        y_drawn: the labels that were drawn, if they are None.
        z_drawn: the latents that were drawn.
        closed: whether divergences are in closed form.
    """
    seen = model.likelihood.features(xs, (4,)).flatten(1)
    outputs = model.regressor(seen)
    q_y = Normal(outputs[:, 0], outputs[:, 1].exp().add(1).log() + model.min_scale)
    y = ys if ys is not None else like_drawn(q_y, y_drawn)
    outputs = model.encoder(seen, y[:, None])
    q_z = Normal(outputs[:, :2], outputs[:, 2:].exp().add(1).log() + 1e-4)
    z = like_drawn(q_z, z_drawn)
    total = oracle.log_px(model, xs, model.decoder(z, y[:, None]))
    total = total + ratio(q_z, z, closed).sum(-1)
    if ys is None:
        return -(total + ratio(q_y, y, closed)).sum()
    log_p_y = -0.5 * ys**2 - 0.5 * math.log(2 * math.pi)
    return -(total + log_p_y + ALPHA * q_y.log_prob(ys)).sum()


def like_drawn(q, value):
    """The value as a function of the parameters of q, its noise being fixed."""
    return q.mean + q.stddev * ((value - q.mean) / q.stddev).detach()


def ratio(q, value, closed):
    standard = Normal(torch.zeros(()).double(), torch.ones(()).double())
    return -kl_divergence(q, standard) if closed else standard.log_prob(value) - q.log_prob(value)


ELBOS = [
    (lambda: Trace_ELBO(), False),
    (lambda: StaticEnum_ELBO(max_plate_nesting=1), False),
    (lambda: small().make_elbo(), True),
]


@pytest.mark.parametrize("likelihood", ["gaussian", MIXED], ids=["gaussian", "mixed"])
@pytest.mark.parametrize(("make_elbo", "closed"), ELBOS, ids=["Pyro", "sampled", "own"])
@pytest.mark.parametrize("kind", ["labelled", "unlabelled"])
def test_objective_and_gradients_equal_the_formula(likelihood, make_elbo, closed, kind):
    model, xs = small(likelihood), rows(likelihood)
    ys = torch.tensor([0.3, -1.0, 2.0, 0.0, -0.4]).double() if kind == "labelled" else None
    loss, drawn = loss_and_latents(model, make_elbo(), xs, ys)
    wanted = by_hand(model, xs, ys, drawn.get("y"), drawn["z"], closed)
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


@pytest.mark.parametrize(("make_elbo", "closed"), ELBOS, ids=["Pyro", "sampled", "own"])
@pytest.mark.parametrize("ys", [[NAN, 0.5, NAN, -1.0, 2.0], [-1.0, 0.5, NAN, NAN, NAN]])
def test_mixed_call_is_the_sum_of_its_parts_gradients_included(make_elbo, closed, ys):
    model, xs, ys = small(MIXED), rows(MIXED), torch.tensor(ys).double()
    known = ~ys.isnan()
    in_front = bool(known[: int(known.sum())].all())
    count = int(known.sum()) if in_front else None
    loss, drawn = loss_and_latents(model, make_elbo(), xs, ys, count)
    labelled = by_hand(model, xs[known], ys[known], None, drawn["labelled/z"], closed)
    drawn = drawn["unlabelled/y"], drawn["unlabelled/z"]
    wanted = labelled + by_hand(model, xs[~known], None, *drawn, closed)
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


def test_training_objective_weighs_rows_and_the_mean_of_log_q():
    model, xs = small(), rows()
    ys = torch.tensor([-1.0, 0.5, NAN, NAN, NAN]).double()
    objective = Objective(model, 20, 60)
    objective.elbo = model.make_elbo()
    with oracle.recorded_traces(objective.elbo) as traces:
        batch = Batch(xs, ys, 2)
        with objective.row_weights:
            loss = objective.elbo.differentiable_loss(model.model, model.guide, batch)
    nodes = traces[-1][1].nodes
    q_y = model.q_y(xs[:2])
    term = ALPHA * q_y.log_prob(ys[:2])
    z, y_u, z_u = (nodes[n]["value"] for n in ("labelled/z", "unlabelled/y", "unlabelled/z"))
    bounds = -by_hand(model, xs[:2], ys[:2], None, z, True) - term.sum()
    unlabelled = -by_hand(model, xs[2:], None, y_u, z_u, True)
    wanted = -(20 * bounds / 2 + 60 * unlabelled / 3) / 80 - term.mean()
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)


class Linear:
    """x = b + w y + V z + noise of deviation s: log p(x), log p(x, y) and posteriors are exact.

    The columns of V are orthogonal, so that the latents are independent given x and y.
    """

    def __init__(self):
        double = {"dtype": torch.float64}
        self.w = torch.tensor([0.8, -0.5, 0.3, 1.1], **double)
        self.V = torch.tensor([[1.0, 0.2], [0.5, -0.4], [0.0, 0.6], [-0.3, 0.0]], **double)
        self.V[:, 1] -= self.V[:, 0] * (self.V[:, 0] @ self.V[:, 1]) / self.V[:, 0].square().sum()
        self.b = torch.tensor([0.1, 0.0, -0.2, 0.4], **double)
        self.s = 0.7
        self.given_y = self.V @ self.V.T + self.s**2 * torch.eye(4, **double)
        self.marginal = self.given_y + self.w[:, None] * self.w

    def model(self, exact):
        """A RegressionM2 of this p; its q is the posterior if `exact`, and else is near it."""
        torch.manual_seed(0)
        options = {"latent_dim": 2, "hidden_dims": (), "min_scale": 1e-4, "alpha": ALPHA}
        model = RegressionM2((4,), likelihood=Gaussian(scale=self.s), **options).double()
        decoder, encoder = model.decoder.layers[0], model.encoder.layers[0]
        q_y = model.regressor.layers[0]
        for parameter in model.parameters():
            parameter.data.zero_()
        decoder.linear.weight.data.copy_(self.V)
        decoder.linear.bias.data.copy_(self.b)
        decoder.embedding.weight.data.copy_(self.w[None])
        # y given x, and z given x and y, by the formula for normal distributions.
        gain = torch.linalg.solve(self.marginal, self.w)
        q_y.weight.data[0], q_y.bias.data[0] = gain, -gain @ self.b
        q_y.bias.data[1] = before_softplus((1 - gain @ self.w).sqrt())
        gains = torch.linalg.solve(self.given_y, self.V).T
        encoder.linear.weight.data[:2], encoder.linear.bias.data[:2] = gains, -gains @ self.b
        encoder.embedding.weight.data[0, :2] = -gains @ self.w
        deviation = (1 - (gains @ self.V).diagonal()).sqrt()
        encoder.linear.bias.data[2:] = before_softplus(deviation)
        if not exact:
            q_y.bias.data += torch.tensor([0.3, 0.4])
            encoder.linear.bias.data += 0.2
            encoder.embedding.weight.data += 0.1
        return model

    def log_p(self, xs, ys=None):
        if ys is None:
            return MultivariateNormal(self.b, self.marginal).log_prob(xs)
        conditional = MultivariateNormal(self.b + ys[:, None] * self.w, self.given_y)
        return conditional.log_prob(xs) + Normal(0.0, 1.0).log_prob(ys)


def before_softplus(scale):
    return torch.log(torch.expm1(scale - 1e-4))


@pytest.mark.parametrize("labelled", [False, True])
def test_bound_is_tight_where_the_guide_is_the_posterior(labelled):
    exact = Linear()
    model, xs = exact.model(exact=True), rows()
    model.alpha = 0.0
    ys = torch.tensor([0.3, -1.0, 2.0, 0.0, -0.4]).double() if labelled else None
    truth = exact.log_p(xs, ys)
    # With q the posterior every draw's log p - log q is log p(x): nothing is random.
    for _ in range(3):
        loss = Trace_ELBO().loss(model.model, model.guide, xs, ys)
        assert loss == pytest.approx(-float(truth.sum()), abs=1e-8)
    if labelled:
        torch.testing.assert_close(joint_bound(model, xs, ys), truth, atol=1e-8, rtol=0)
    else:
        torch.testing.assert_close(importance_weighted_bound(model, xs), truth, atol=1e-8, rtol=0)
    # In closed form it is the same in the mean, to within 4 standard errors.
    many = 4000
    wide = xs.repeat_interleave(many, 0)
    wide_ys = None if ys is None else ys.repeat_interleave(many)
    elbo, each = model.make_elbo(), []
    for part in range(0, len(wide), many):
        rows_of = slice(part, part + many), None if ys is None else wide_ys[part : part + many]
        each.append(elbo.loss(model.model, model.guide, wide[rows_of[0]], rows_of[1]) / many)
    np.testing.assert_allclose(each, -truth, atol=0.15)
    assert np.mean(each) == pytest.approx(-float(truth.mean()), abs=0.05)


def quadrature(model, xs, exact, number=12):
    """-U(x) by Gauss and Hermite, exact for a linear model whose log-densities are quadratic."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(number)
    grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3)
    shares = np.prod(np.stack(np.meshgrid(weights, weights, weights, indexing="ij"), -1), -1)
    shares = torch.from_numpy(shares.reshape(-1) / shares.sum())
    noise, bounds = torch.from_numpy(grid), []
    for x in xs:
        x = x.expand(len(noise), 4)
        q_y = model.q_y(x)
        y = q_y.mean + q_y.stddev * noise[:, 0]
        outputs = model.encoder(x, y[:, None])
        q_z = Normal(outputs[:, :2], outputs[:, 2:].exp().add(1).log() + 1e-4)
        z = q_z.mean + q_z.stddev * noise[:, 1:]
        p_x = Normal(exact.b + y[:, None] * exact.w + z @ exact.V.T, exact.s)
        each = p_x.log_prob(x).sum(-1) + ratio(q_y, y, False) + ratio(q_z, z, False).sum(-1)
        bounds.append(shares @ each)
    return torch.stack(bounds).detach()


def test_bound_of_another_guide_is_below_and_is_what_quadrature_says():
    exact = Linear()
    model, xs = exact.model(exact=False), rows(count=4)
    bounds, truth = quadrature(model, xs, exact), exact.log_p(xs)
    assert (bounds < truth - 0.02).all()
    torch.manual_seed(0)
    draws = torch.stack([importance_weighted_bound(model, xs) for _ in range(3000)])
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - bounds).abs() < 4 * error).all()
    # 20 draws, together, are nearer to log p(x).
    tighter = torch.stack([importance_weighted_bound(model, xs, 20) for _ in range(300)])
    assert (tighter.mean(0) > bounds).all()
    assert (tighter.mean(0) < truth + 4 * tighter.std(0) / math.sqrt(300)).all()


def test_training_finds_what_the_labels_and_the_rows_say():
    exact, count = Linear(), 600
    torch.manual_seed(3)
    ys = torch.randn(count).double()
    zs, noise = torch.randn(count, 2).double(), torch.randn(count, 4).double()
    xs = exact.b + ys[:, None] * exact.w + zs @ exact.V.T + exact.s * noise
    known = ys.clone()
    known[60:500] = NAN
    data = SSLData.from_arrays(xs[:500], known[:500], real_valued=True, real_labels=True)
    assert (data.num_labelled, data.num_unlabelled) == (60, 440)
    data = data.with_validation(xs[500:], ys[500:])
    torch.manual_seed(1)
    model = RegressionM2((4,), latent_dim=2, hidden_dims=(16,), alpha=2.0).double()
    config = FitConfig(epochs=6, batch_size=44, labelled_batch_size=20, learning_rate=0.01)
    history = fit(model, data, config)
    assert history.selection == "best validation log q y"
    gain = torch.linalg.solve(exact.marginal, exact.w)
    # No regression has a lower error, in the mean, than the posterior's deviation.
    best = float((1 - gain @ exact.w).sqrt())
    errors = [row["validation_rmse"] for row in history.rows]
    assert errors[history.selected_epoch] < 1.1 * best
    assert {"regression", "unlabelled_kl_y"} <= set(history.rows[0])


def test_files_keep_the_model(tmp_path):
    model, xs = small(), rows()
    save_model(model, tmp_path / "model.pt")
    again = load_model(tmp_path / "model.pt").double()
    assert type(again) is RegressionM2
    torch.testing.assert_close(again.predict(xs), model.predict(xs))


def test_a_loop_of_your_own_trains_it():
    model, xs = small(), rows()
    ys = torch.tensor([0.3, NAN, 2.0, NAN, NAN]).double()
    svi = SVI(model.model, model.guide, Adam({"lr": 0.02}), Trace_ELBO())
    losses = [svi.step(xs, ys) for _ in range(150)]
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 5
    drawn = Predictive(model.model, num_samples=3)(xs)
    assert drawn["y"].shape == (3, 5)


def test_latents_labels_and_inputs_in_and_out():
    model, xs = small(), rows()
    loc, scale = model.predict(xs)
    assert (scale > 0.1).all()
    torch.testing.assert_close(model.encode(xs)[0], model.encode(xs, loc)[0])
    assert not torch.allclose(model.encode(xs)[0], model.encode(xs, loc + 1)[0])
    zs = torch.zeros(2, 2).double()
    low, high = model.decode(zs, torch.tensor([-1.0, 1.0]).double())
    assert not torch.allclose(low, high)
    torch.manual_seed(0)
    made = model.sample(torch.tensor([NAN] * 400 + [4.0] * 400).double())
    assert made[:400].std(0).sum() > made[400:].std(0).sum()


def test_wrong_labels_and_options_are_refused():
    model, xs = small(), rows()
    with pytest.raises(DataError, match="NaN where unknown"):
        model.make_elbo().loss(model.model, model.guide, xs, torch.tensor([0, 1, 2, -1, 3]))
    with pytest.raises(ConfigError, match="min_scale is 0"):
        small(min_scale=0)
    with pytest.raises(DataError, match=r"ys\[1\] is inf"):
        SSLData.from_arrays(xs, [1.0, math.inf, NAN, NAN, NAN], real_valued=True, real_labels=True)
    data = SSLData.from_arrays(xs, [0, 1, -1, -1, -1], real_valued=True)
    with pytest.raises(DataError, match="takes real labels, but the data has classes"):
        fit(model, data)

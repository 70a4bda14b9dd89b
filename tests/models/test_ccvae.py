import math

import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.elbos import objective_terms
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import Anneal, Objective
from pyro_ssl.likelihoods import Laplace
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import CCVAE
from pyro_ssl.models.rows import Batch
from tests import oracle
from tests.elbos.test_sampled import pixels
from tests.models.test_m2 import YS_OF_EACH_KIND


def make(**options) -> CCVAE:
    shape = (1, 2, 4) if options.get("channels") else (1, 2, 3)
    sizes = {"input_shape": shape, "num_classes": 4, "style_dim": 3, "hidden_dims": (5,)}
    torch.manual_seed(1)
    model = CCVAE(**sizes | {"num_samples": 6, "activation": "tanh"} | options)
    # Away from its initial values every density is far from flat.
    for parameter in model.parameters():
        parameter.data.mul_(1.5).add_(0.2 * torch.randn_like(parameter))
    return model.double()


def posterior(model, xs):
    loc, raw = model.encoder(model.image_encoder(xs)).chunk(2, -1)
    return loc, F.softplus(raw) + 1e-4


def log_q_y(model, z_class):
    """log q(y|z_class), `[..., K]`, the logit of each class from its own dimension."""
    scores = [
        model.slope[k] * z_class[..., k] + model.intercept[k] for k in range(model.num_classes)
    ]
    return torch.stack(scores, -1).log_softmax(-1)


def log_px(model, xs, z):
    outputs, values = model.image_decoder(model.decoder(z)).flatten(-3), xs.flatten(1)
    if isinstance(model.likelihood, Laplace):
        size = model.likelihood.scale
        return (-(values - outputs.sigmoid()).abs() / size - math.log(2 * size)).sum(-1)
    return (values * F.logsigmoid(outputs) + (1 - values) * F.logsigmoid(-outputs)).sum(-1)


def log_pz(model, z, ys):
    """log p(z|y), `[...]`, for latents `[..., K + S]`."""
    z_class, z_style = z[..., : model.num_classes], z[..., model.num_classes :]
    scale = F.softplus(model.prior_raw_scale[ys]) + 1e-3
    by_class = oracle.normal_log_prob(z_class, model.prior_loc[ys], scale)
    return by_class + oracle.normal_log_prob(z_style, 0.0, 1.0)


def standard_normal(*shape):
    return torch.normal(torch.zeros(shape).double(), torch.ones(shape).double())


def by_hand(model, xs, ys):
    """The loss; draws are made anew from the generator in the order of the guide."""
    loc, scale = posterior(model, xs)
    k, beta, total = model.num_classes, model.kl_weight, 0.0
    for _, mask in oracle.parts(xs, ys):
        n, m, s = int(mask.sum()), loc[mask], scale[mask]
        z = m + s * torch.cat([standard_normal(n, k), standard_normal(n, model.style_dim)], -1)
        log_qz = oracle.normal_log_prob(z, m, s)
        here, log_q = torch.arange(n), log_q_y(model, z[:, :k])
        if ys is None or ys[mask][0] < 0:
            for label in range(k):
                fit = log_px(model, xs[mask], z)
                fit = fit + beta * (log_pz(model, z, torch.full((n,), label)) - log_qz)
                inside = fit + oracle.log_p_y(model)[label] - log_q[:, label]
                total = total - (log_q[:, label].exp() * inside).sum()
            continue
        label = ys[mask]
        more = m[:, :k] + s[:, :k] * standard_normal(model.num_samples - 1, n, k)
        q_y = (log_q.exp() + log_q_y(model, more).exp().sum(0)) / model.num_samples
        q_y = q_y[here, label]
        w = log_q_y(model, z[:, :k].detach())[here, label].exp() / q_y
        inside = log_px(model, xs[mask], z) + beta * (log_pz(model, z, label) - log_qz)
        bound = w * (inside - log_q[here, label]) + oracle.log_p_y(model)[label]
        total = total - (bound + (1 + model.alpha) * q_y.log()).sum()
    return total


@pytest.mark.parametrize("ys", YS_OF_EACH_KIND)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kl_weight": 0.3, "alpha": 5.0},
        {"likelihood": Laplace(0.4)},
        {"label_prior": (0.1, 0.2, 0.3, 0.4)},
        {"label_prior": "learned"},
        {"style_dim": 0, "num_samples": 1},
        {"channels": 4},
        # Statistics of all rows of the call, labelled or not.
        {"batch_norm": True},
    ],
    ids=str,
)
def test_objective_at_its_draws_is_the_formula_gradients_included(ys, options):
    model, xs = make(**options), pixels(5)
    if model.channels:
        xs = torch.cat([xs, xs[..., :1]], -1)
    ys = None if ys is None else torch.tensor(ys)
    torch.manual_seed(5)
    loss, _ = oracle.run(model, model.make_elbo(), xs, ys)
    torch.manual_seed(5)
    wanted = by_hand(model, xs, ys)
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


def grid(model, xs, points=161, reach=9.0):
    """Points `[P, 1, 2]` of the plane of z_class, and the log of q(z|x) dz, `[P, B]`."""
    loc, scale = posterior(model, xs)
    steps = torch.linspace(-reach, reach, points, dtype=torch.float64)
    unit = torch.cartesian_prod(steps, steps).unsqueeze(1)
    z = loc + scale * unit
    area = 2 * math.log(float(steps[1] - steps[0]))
    return z, oracle.normal_log_prob(unit, 0.0, 1.0) + area


def plane():
    """Two labels, no style: all integrals are over a plane."""
    return make(num_classes=2, style_dim=0, num_samples=500)


def test_classifier_is_the_integral_and_draws_tend_to_it():
    model, xs = plane(), pixels(4)
    z, log_mass = grid(model, xs)
    exact = (log_mass.unsqueeze(-1) + log_q_y(model, z)).logsumexp(0)
    torch.testing.assert_close(exact.exp().sum(-1), torch.ones(4).double())
    points = model.class_logits(xs)
    torch.testing.assert_close(points.exp(), exact.exp(), atol=2e-3, rtol=0)
    loc, scale = posterior(model, xs)
    errors = []
    for draws in (100, 10_000):
        z = loc + scale * standard_normal(200, draws, 4, 2)
        found = torch.stack([model._mean_over_draws(some) for some in z])
        errors.append(((found - exact) ** 2).mean().sqrt())
    assert 7 < errors[0] / errors[1] < 14


def exact_bounds(model, xs, ys):
    """The bound of each row, and log p(x, y) or log p(x), as integrals."""
    z, log_mass = grid(model, xs)
    log_q = log_q_y(model, z)
    loc, scale = posterior(model, xs)
    log_qz, x = oracle.normal_log_prob(z, loc, scale), log_px(model, xs, z)
    per_class = torch.stack(
        [x + log_pz(model, z, torch.tensor(k)) - log_qz - math.log(2) for k in range(2)], -1
    )
    if ys is None:
        bound = (log_mass.exp().unsqueeze(-1) * log_q.exp() * (per_class - log_q)).sum((0, -1))
        return bound, (log_mass.unsqueeze(-1) + per_class).logsumexp((0, -1))
    here = torch.arange(len(xs))
    log_q, per_class = log_q[:, here, ys], per_class[:, here, ys]
    log_q_x = (log_mass + log_q).logsumexp(0)
    weight = (log_mass + log_q - log_q_x).exp()
    return (weight * (per_class - log_q)).sum(0) + log_q_x, (log_mass + per_class).logsumexp(0)


@pytest.mark.parametrize("labelled", [False, True])
def test_mean_objective_is_the_integral_and_below_the_evidence(labelled):
    model, rows = plane(), pixels(3)
    ys = torch.tensor([0, 1, 1]) if labelled else None
    with torch.no_grad():
        bound, evidence = exact_bounds(model, rows, ys)
        assert (bound < evidence).all()
        many = 300
        xs, more = rows.repeat(many, 1, 1, 1), None if ys is None else ys.repeat(many)
        elbo = model.make_elbo()
        drawn = torch.stack(
            [elbo.differentiable_loss(model.model, model.guide, xs, more) / many for _ in range(30)]
        )
    error = drawn.std() / 30**0.5
    assert error < 0.005 * bound.sum().abs()
    assert (drawn.mean() + bound.sum()).abs() < 3 * error


def test_bound_by_importance_sampling_is_the_evidence():
    model, xs = plane(), pixels(3)
    with torch.no_grad():
        # Draws that are spread wider than the true posterior have weights of small variance.
        model.encoder.layers[-1].bias[2:] += 3.0
        _, evidence = exact_bounds(model, xs, None)
        found = importance_weighted_bound(model, xs, num_samples=20_000)
    torch.testing.assert_close(found, evidence, atol=0.03, rtol=0)


def test_weight_is_bounded_where_no_other_draw_is_like_the_first():
    model, xs, ys = make(num_samples=5), pixels(400), torch.arange(400) % 4
    with torch.no_grad():
        model.slope.mul_(3000.0)
    elbo = model.make_elbo()
    with oracle.recorded_traces(elbo) as traces:
        loss = elbo.differentiable_loss(model.model, model.guide, xs, ys)
    weight = traces[-1][1].nodes["weight"]["value"]
    # With other draws alone in the denominator, some weights would be infinite.
    torch.testing.assert_close(weight.max(), torch.tensor(5.0).double())
    assert weight.min() >= 0
    assert all(g.isfinite().all() for g in oracle.gradients(loss, model).values())


def test_terms_add_up_to_the_loss():
    model, xs, ys = make(alpha=2.0), pixels(5), torch.tensor([2, 0, 1, -1, -1])
    elbo = model.make_elbo()
    with oracle.recorded_traces(elbo) as traces:
        loss = elbo.differentiable_loss(model.model, model.guide, xs, ys)
    terms = objective_terms(*traces[-1])
    total = 3 * terms["labelled_elbo"] + 2 * terms["unlabelled_elbo"] - 9 * terms["classification"]
    torch.testing.assert_close(-total, loss.detach())
    assert {"labelled_kl_y", "labelled_kl_z_class", "unlabelled_kl_z_style"} <= terms.keys()


def test_latents_decode_and_samples_are_of_their_class():
    model, xs = make().float(), pixels(5).float()
    loc, scale = model.encode(xs)
    assert loc.shape == scale.shape == (5, 7)
    assert model.decode(loc).shape == xs.shape
    torch.testing.assert_close(model.decode(loc), model.decoder(loc).sigmoid().view(xs.shape))
    with torch.no_grad():
        model.prior_loc.copy_(50 * torch.eye(4))
        model.prior_raw_scale.fill_(-9.0)
        model.slope.fill_(1.0)
    torch.manual_seed(0)
    z_class = model._p_z_class(torch.tensor([3, 0])).sample()
    assert model._label_logits(z_class).argmax(-1).tolist() == [3, 0]
    assert model.sample(torch.tensor([3, 0])).shape == (2, 1, 2, 3)


def test_samples_are_decoded_from_the_latents_of_their_class():
    model = make(style_dim=0)
    with torch.no_grad():
        # p(z_class|y) is as good as a point.
        model.prior_raw_scale.fill_(-9.0)
    ys = torch.tensor([3, 0, 2])
    wanted = model.decode(model.prior_loc[ys].detach())
    torch.testing.assert_close(model.sample(ys), wanted, atol=0.02, rtol=0)
    drawn = model._complete(torch.tensor([3] + [-1] * 200))
    assert drawn[0] == 3
    assert set(drawn.tolist()) == {0, 1, 2, 3}


def test_style_comes_after_the_class_and_from_a_standard_normal():
    model = make(style_dim=1, num_classes=2)
    layer = model.decoder.layers[0]
    with torch.no_grad():
        layer.weight[:, :2] = 0.0
    ys = torch.zeros(5000, dtype=torch.int64)
    # Of the class nothing is left to see.
    zs = torch.linspace(-3, 3, 5)[:, None].double()
    by_style = model.decode(torch.cat([zs.new_zeros(5, 2), zs], -1)).flatten(1)[:, 0]
    below = [(model.sample(ys).flatten(1)[:, 0] < x).double().mean() for x in by_style[1:4]]
    below = torch.stack(below)
    below = below if by_style[0] < by_style[4] else 1 - below
    wanted = torch.tensor([0.0668, 0.5, 0.9332]).double()
    torch.testing.assert_close(below, wanted, atol=0.03, rtol=0)


def test_laplace_likelihood_is_of_values_and_not_of_drawn_pixels():
    assert CCVAE(hidden_dims=(4,)).takes_pixels
    assert not CCVAE(hidden_dims=(4,), likelihood="laplace").takes_pixels


@pytest.mark.parametrize("num_labelled", [1, 2])
def test_a_batch_weighs_its_parts_by_their_share_of_the_data(num_labelled):
    model, xs, ys = make(), pixels(5), torch.tensor([2, 0, 1, 1, 3])
    ys[num_labelled:] = -1
    torch.manual_seed(5)
    loss, _ = Objective(model, 30, 70)(Batch(xs, ys, num_labelled))
    torch.manual_seed(5)
    parts = [by_hand(model, xs[:num_labelled], ys[:num_labelled])]
    # The noise of both parts comes from one stream, the labelled part first.
    parts.append(by_hand(model, xs[num_labelled:], None))
    wanted = 0.3 * parts[0] / num_labelled + 0.7 * parts[1] / (5 - num_labelled)
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


def test_the_weight_is_no_divergence_to_be_annealed():
    model, xs, ys = make(), pixels(5), torch.tensor([2, 0, -1, -1, -1])
    objective = Objective(model, 2, 3, anneal={"kl_weight": Anneal(0.0, 1.0, 5)})
    with pytest.raises(ConfigError, match=r"'kl_weight'.*expected one of .*kl_z_class"):
        objective.check_annealed(Batch(xs, ys, 2))


@pytest.mark.parametrize(
    "options",
    [
        {"style_dim": -1},
        {"likelihood": "gauss"},
        {"label_prior": "even"},
        {"kl_weight": math.nan},
        {"num_samples": 0},
        {"alpha": -1.0},
    ],
    ids=str,
)
def test_bad_option_is_named(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        CCVAE(**options)


def test_encoders_dropout_and_batch_norm_are_for_training():
    torch.manual_seed(0)
    model = CCVAE(input_shape=(1, 4, 4), num_classes=3, style_dim=2, hidden_dims=(8,),
                  batch_norm=True, input_dropout=0.5)  # fmt: skip
    xs = torch.rand(6, 1, 4, 4)
    model.train()
    assert not torch.equal(model._loc_and_scale(xs)[0], model._loc_and_scale(xs)[0])
    assert torch.equal(model.encode(xs)[0], model.encode(xs)[0])
    assert model.training

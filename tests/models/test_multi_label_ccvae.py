from itertools import product

import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.data import SSLData
from pyro_ssl.elbos import objective_terms
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.infer import FitConfig, fit, load_model
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import CCVAE, MultiLabelCCVAE
from tests import oracle
from tests.elbos.test_sampled import pixels
from tests.models.test_ccvae import grid, log_px, posterior, standard_normal

FREQUENCIES = (0.2, 0.5, 0.9)
# Unknown, known, known in part, and all of these in one call.
YS_OF_EACH_KIND = [
    None,
    [[0, 1, 1], [1, 1, 0], [0, 0, 0]],
    [[-1, 1, 1], [1, -1, -1], [0, 0, -1]],
    [[-1, -1, -1], [1, 0, 1], [-1, -1, -1], [0, -1, -1]],
    [[1, -1, 0], [0, 0, 1], [-1, -1, -1], [-1, -1, -1]],
]


def make(**options) -> MultiLabelCCVAE:
    sizes = {"input_shape": (1, 2, 3), "num_classes": 3, "style_dim": 2, "hidden_dims": (5,)}
    torch.manual_seed(1)
    frequencies = FREQUENCIES[: options.get("num_classes", 3)]
    model = MultiLabelCCVAE(
        frequencies, **sizes | {"num_samples": 6, "activation": "tanh"} | options
    )
    # Away from its initial values every density is far from flat.
    for parameter in model.parameters():
        parameter.data.mul_(1.5).add_(0.2 * torch.randn_like(parameter))
    model = model.double()
    # The same numbers as below, to the last bit.
    model.prior_logits.copy_(torch.tensor(frequencies, dtype=torch.float64).logit().unsqueeze(-1))
    return model


def log_p(label, value):
    share = FREQUENCIES[label] if value else 1 - FREQUENCIES[label]
    return torch.tensor(share, dtype=torch.float64).log()


def log_q(model, label, value, z):
    """log q(y_l = value|z_l) of draws `z` `[..., L]` of z_class."""
    odds = model.slope[label] * z[..., label] + model.intercept[label]
    return F.logsigmoid(odds if value else -odds)


def log_pz(model, label, value, z):
    scale = F.softplus(model.prior_raw_scale[value, label]) + 1e-3
    return oracle.normal_log_prob(z[..., label, None], model.prior_loc[value, label], scale)


def inner(model, y, z):
    """The part in brackets that concerns the labels, for one row's attributes `y` and draws `z`.

    Every combination of the unknown attributes is written out.
    """
    known = [label for label, value in enumerate(y) if value >= 0]
    unknown = [label for label, value in enumerate(y) if value < 0]
    beta, total = model.kl_weight, 0.0
    for label in known:
        total = total + beta * log_pz(model, label, y[label], z) - log_q(model, label, y[label], z)
    for values in product((0, 1), repeat=len(unknown)):
        share, term = 0.0, 0.0
        for label, value in zip(unknown, values, strict=True):
            share = share + log_q(model, label, value, z)
            term = term + log_p(label, value) + beta * log_pz(model, label, value, z)
        if unknown:
            total = total + share.exp() * (term - share)
    return total


def known_log_q(model, y, z):
    return sum(log_q(model, k, v, z) for k, v in enumerate(y) if v >= 0)


def by_hand(model, xs, ys):
    """The loss; draws are made anew from the generator in the order of the guide."""
    loc, scale = posterior(model, xs)
    k, beta, total = model.num_classes, model.kl_weight, 0.0
    labels = torch.full((len(xs), k), -1) if ys is None else ys
    some = (labels >= 0).any(-1)
    for mask in (some, ~some):
        n, m, s = int(mask.sum()), loc[mask], scale[mask]
        if not n:
            continue
        noise = torch.cat([standard_normal(k, n).T, standard_normal(n, model.style_dim)], -1)
        z = m + s * noise
        z_class, z_style = z[:, :k], z[:, k:]
        fit = log_px(model, xs[mask], z) - beta * oracle.normal_log_prob(z, m, s)
        fit = fit + beta * oracle.normal_log_prob(z_style, 0.0, 1.0)
        if mask is some:
            more = m[:, :k] + s[:, :k] * standard_normal(model.num_samples - 1, n, k)
        for i, y in enumerate(labels[mask].tolist()):
            bound = fit[i] + inner(model, y, z_class[i])
            if mask is some:
                draws = torch.cat([z_class[None, i], more[:, i]])
                q_y = known_log_q(model, y, draws).exp().mean()
                w = known_log_q(model, y, z_class[i].detach()).exp() / q_y
                bound = w * bound + sum(log_p(a, v) for a, v in enumerate(y) if v >= 0)
                bound = bound + (1 + model.alpha) * q_y.log()
            total = total - bound
    return total


@pytest.mark.parametrize("ys", YS_OF_EACH_KIND)
@pytest.mark.parametrize("options", [{}, {"kl_weight": 0.3, "alpha": 5.0}], ids=str)
def test_objective_at_its_draws_is_the_sum_over_all_combinations(ys, options):
    model, xs = make(**options), pixels(3 if ys is None else len(ys))
    ys = None if ys is None else torch.tensor(ys)
    torch.manual_seed(5)
    loss, _ = oracle.run(model, model.make_elbo(), xs, ys)
    torch.manual_seed(5)
    wanted = by_hand(model, xs, ys)
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


def plane():
    """Two attributes, no style: all integrals are over a plane."""
    return make(num_classes=2, style_dim=0, num_samples=500)


@pytest.mark.parametrize("y", [(-1, -1), (1, -1), (-1, 0), (0, 1)])
def test_mean_objective_is_the_integral_and_below_the_evidence(y):
    model, rows = plane(), pixels(3)
    known = [a for a, value in enumerate(y) if value >= 0]
    with torch.no_grad():
        z, log_mass = grid(model, rows)
        fit = log_px(model, rows, z) - oracle.normal_log_prob(z, *posterior(model, rows))
        log_q_y = known_log_q(model, y, z) + torch.zeros_like(fit)
        log_q_x = (log_mass + log_q_y).logsumexp(0)
        prior = sum(log_p(a, y[a]) for a in known)
        weight = (log_mass + log_q_y - log_q_x).exp()
        bound = (weight * (fit + inner(model, y, z))).sum(0) + log_q_x + prior
        combinations = product(*([v] if v >= 0 else [0, 1] for v in y))
        joint = [
            log_mass + fit + sum(log_p(a, v) + log_pz(model, a, v, z) for a, v in enumerate(c))
            for c in combinations
        ]
        evidence = torch.stack(joint).logsumexp((0, 1))
        assert (bound < evidence).all()
        many = 300
        xs, ys = rows.repeat(many, 1, 1, 1), torch.tensor(y).repeat(3 * many, 1)
        elbo, drawn = model.make_elbo(), []
        for _ in range(30):
            loss = elbo.differentiable_loss(model.model, model.guide, xs, ys if known else None)
            drawn.append(loss / many)
        drawn = torch.stack(drawn)
        error = drawn.std() / 30**0.5
        assert error < 0.005 * bound.sum().abs()
        assert (drawn.mean() + bound.sum()).abs() < 3 * error
        if not known:
            model.encoder.layers[-1].bias[2:] += 3.0
            z, log_mass = grid(model, rows)
            fit = log_px(model, rows, z) - oracle.normal_log_prob(z, *posterior(model, rows))
            joint = [
                log_mass + fit + sum(log_p(a, v) + log_pz(model, a, v, z) for a, v in enumerate(c))
                for c in product((0, 1), repeat=2)
            ]
            found = importance_weighted_bound(model, rows, num_samples=20_000)
            evidence = torch.stack(joint).logsumexp((0, 1))
            torch.testing.assert_close(found, evidence, atol=0.03, rtol=0)


def test_bound_by_importance_sampling_takes_plates_between_samples_and_rows():
    # With a decoder that looks at nothing, p(x) is known; and so is p(z|x), which is the prior.
    model, xs = make(), pixels(3)
    with torch.no_grad():
        model.decoder.layers[0].weight.zero_()
        model.prior_loc.zero_()
        model.prior_raw_scale.fill_(0.5)
        model.slope.zero_()
        model.intercept.copy_(model.prior_logits.squeeze(-1))
        model.encoder.layers[-1].weight.zero_()
        model.encoder.layers[-1].bias[:5] = 0.0
        model.encoder.layers[-1].bias[5:] = 0.8
        wanted = log_px(model, xs, xs.new_zeros(3, 5))
        found = importance_weighted_bound(model, xs, num_samples=4000)
    torch.testing.assert_close(found, wanted, atol=0.04, rtol=0)


def test_classifier_is_the_integral():
    model, xs = plane(), pixels(4)
    z, log_mass = grid(model, xs)
    for label in (0, 1):
        exact = (log_mass + log_q(model, label, 1, z)).logsumexp(0).exp()
        found = model.predict_proba(xs)[:, label]
        torch.testing.assert_close(found, exact, atol=2e-3, rtol=0)


def test_terms_add_up_to_the_loss():
    model, xs = make(alpha=2.0), pixels(5)
    ys = torch.tensor([[0, 1, 1], [-1, 1, -1], [1, -1, 0], [-1, -1, -1], [-1, -1, -1]])
    elbo = model.make_elbo()
    with oracle.recorded_traces(elbo) as traces:
        loss = elbo.differentiable_loss(model.model, model.guide, xs, ys)
    terms = objective_terms(*traces[-1])
    total = 3 * terms["labelled_elbo"] + 2 * terms["unlabelled_elbo"] - 9 * terms["classification"]
    torch.testing.assert_close(-total, loss.detach())
    assert 0 < terms["weight"] <= model.num_samples


def test_training_finds_attributes_and_validates_on_them():
    generator = torch.Generator().manual_seed(0)
    ys = torch.randint(2, (400, 2), generator=generator)
    # The first attribute is the upper row of pixels, the second the lower.
    xs = ys.float()[:, None, :, None].expand(400, 1, 2, 3).clone()
    xs = (torch.rand(xs.shape, generator=generator) < 0.1 + 0.8 * xs).float()
    known = ys.clone()
    known[100:200, 0] = -1
    known[200:] = -1
    data = SSLData.from_arrays(xs, known).with_validation(xs, ys)
    assert (data.num_labelled, data.num_unlabelled, data.multi_label) == (200, 200, True)
    model = MultiLabelCCVAE(num_classes=2, input_shape=(1, 2, 3), style_dim=1, hidden_dims=(16,))
    history = fit(model, data, FitConfig(epochs=30, batch_size=50, learning_rate=0.01))
    # The best anyone can do: three pixels, each wrong once in ten times.
    assert history.to_frame()["validation_accuracy"].max() > 0.95
    with pytest.raises(DataError, match="CCVAE takes one label per row, but the data has rows of"):
        fit(CCVAE((1, 2, 3), 2, hidden_dims=(4,)), data, FitConfig(epochs=1, batch_size=50))
    single = SSLData.from_arrays(xs, known[:, 0], num_classes=2)
    with pytest.raises(DataError, match="CCVAE takes rows of attributes, but the data has one"):
        fit(model, single, FitConfig(epochs=1, batch_size=50))


def test_samples_are_of_their_attributes():
    model = make().float()
    with torch.no_grad():
        model.prior_loc.copy_(torch.tensor([[-50.0] * 3, [50.0] * 3]))
        model.prior_raw_scale.fill_(-9.0)
        model.slope.fill_(1.0)
    ys = torch.tensor([[0, 1, 1], [1, 0, 0]])
    z_class = model._p_z_class(ys).sample()
    assert (model._label_logits(z_class) > 0).long().tolist() == ys.tolist()
    assert model.sample(ys).shape == (2, 1, 2, 3)
    point = make(style_dim=0)
    with torch.no_grad():
        point.prior_raw_scale.fill_(-9.0)
        zs = torch.stack([point.prior_loc[y, torch.arange(3)] for y in ys])
    torch.testing.assert_close(point.sample(ys), point.decode(zs), atol=0.02, rtol=0)
    drawn = point._complete(torch.tensor([[1, -1, -1]]).expand(2000, 3)).double().mean(0)
    assert drawn[0] == 1
    assert (drawn[1:] - torch.tensor(FREQUENCIES[1:])).abs().max() < 0.04


def test_frequencies_survive_a_checkpoint(tmp_path):
    xs, ys = pixels(8).float(), torch.tensor([[0, 1], [1, -1]] * 2 + [[-1, -1]] * 4)
    data = SSLData.from_arrays(xs, ys, minus_one="unknown")
    frequencies = ys[:2].double().clamp(min=0.1, max=0.8).mean(0).numpy()
    model = MultiLabelCCVAE(
        frequencies, input_shape=(1, 2, 3), num_classes=2, style_dim=1, hidden_dims=(4,)
    )
    fit(model, data, FitConfig(epochs=1, batch_size=4), checkpoint=tmp_path / "model.pt")
    loaded = load_model(tmp_path / "model.pt")
    assert loaded.options == model.options
    torch.testing.assert_close(loaded.prior_logits, model.prior_logits)
    wanted = torch.tensor(frequencies).float().unsqueeze(-1)
    torch.testing.assert_close(loaded.prior_logits.sigmoid(), wanted)


@pytest.mark.parametrize("frequencies", [(), (0.5, 0.5), (0.0, 0.5, 0.5), (0.5, 0.5, 1.5)])
def test_bad_frequencies_are_named(frequencies):
    with pytest.raises(ConfigError, match="frequencies"):
        MultiLabelCCVAE(frequencies, num_classes=3)


def test_intervention_moves_the_latent_of_its_attribute_alone():
    model, xs, values = make(), pixels(4), torch.tensor([0, 1, 1, 0])
    zs, _ = model.encode(xs)
    for attribute in range(3):
        moved = zs.clone()
        for i, value in enumerate(values):
            moved[i, attribute] = model.prior_loc[value, attribute]
        torch.testing.assert_close(model.intervene(xs, attribute, values), model.decode(moved))
    torch.testing.assert_close(model.reconstruct(xs), model.decode(zs))

import math
from itertools import product

import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.data import SSLData
from pyro_ssl.elbos import objective_terms
from pyro_ssl.infer import FitConfig, fit
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import MultiLabelM2
from tests import oracle
from tests.elbos.test_sampled import pixels
from tests.infer.problems import STEADY
from tests.models.test_ccvae import standard_normal
from tests.models.test_multi_label_ccvae import FREQUENCIES, YS_OF_EACH_KIND, log_p

WEIGHT = 2.5


def make(**options) -> MultiLabelM2:
    sizes = {"input_shape": (1, 2, 3), "num_classes": 3, "latent_dim": 2, "hidden_dims": (5,)}
    torch.manual_seed(1)
    frequencies = FREQUENCIES[: options.get("num_classes", 3)]
    options = oracle.PLAIN | {"activation": "tanh", "alpha": WEIGHT} | options
    model = MultiLabelM2(frequencies, **sizes | options)
    for parameter in model.parameters():
        parameter.data.mul_(2.0)
    model = model.double()
    model.prior_logits.copy_(torch.tensor(frequencies, dtype=torch.float64).logit())
    return model


def log_q(model, label, value, scores):
    return F.logsigmoid(scores[..., label] if value else -scores[..., label])


def known_terms(model, y, scores):
    """log p(y_O) + c log q(y_O|x) of one row."""
    known = [(a, v) for a, v in enumerate(y) if v >= 0]
    prior = sum(log_p(a, v) for a, v in known)
    return prior + model.alpha * sum(log_q(model, a, v, scores) for a, v in known)


def divergence(model, y, scores):
    """KL(q(y_U|x) || p(y_U)) of one row, every combination written out."""
    unknown, total = [a for a, v in enumerate(y) if v < 0], 0.0
    for values in product((0, 1), repeat=len(unknown)):
        pairs = list(zip(unknown, values, strict=True))
        share = sum(log_q(model, a, v, scores) for a, v in pairs)
        prior = sum(log_p(a, v) for a, v in pairs)
        total = total + (share.exp() * (share - prior) if pairs else 0.0)
    return total


def pixel_bound(model, xs, y, eps):
    """log p(x|y,z) + log p(z) - log q(z|x,y) at `y` `[B, L]`, between zeros and ones, `[B]`."""
    loc, scale = oracle.posterior(model, xs, y)
    z = loc + scale * eps
    log_px = oracle.pixel_log_prob(model, xs, model.decoder(z, y))
    kl = oracle.normal_log_prob(z, loc, scale) - oracle.normal_log_prob(z, 0.0, 1.0)
    return log_px - kl


def by_hand(model, xs, ys):
    """The loss; draws are made anew from the generator in the order of the guide."""
    labels = torch.full((len(xs), 3), -1) if ys is None else ys
    some, total = (labels >= 0).any(-1), 0.0
    for mask in (some, ~some):
        if not mask.any():
            continue
        rows, y = xs[mask], labels[mask]
        scores = model.classifier(rows.flatten(1))
        noise = torch.rand(scores.shape, dtype=torch.float64)
        h = ((noise.logit() + scores) / model.temperature).sigmoid()
        if model.straight_through:
            h = h.round().detach() + h - h.detach()
        seen = torch.where(y >= 0, y.double(), h)
        bound = pixel_bound(model, rows, seen, standard_normal(len(rows), 2))
        for i, row in enumerate(y.tolist()):
            total = total - bound[i] + divergence(model, row, scores[i])
            if mask is some:
                total = total - known_terms(model, row, scores[i])
    return total


@pytest.mark.parametrize("ys", YS_OF_EACH_KIND)
@pytest.mark.parametrize("straight_through", [False, True])
def test_objective_at_its_draws_is_the_formula(ys, straight_through):
    model, xs = make(straight_through=straight_through), pixels(3 if ys is None else len(ys))
    ys = None if ys is None else torch.tensor(ys)
    torch.manual_seed(5)
    loss, _ = oracle.run(model, model.make_elbo(), xs, ys)
    torch.manual_seed(5)
    wanted = by_hand(model, xs, ys)
    torch.testing.assert_close(loss, wanted, atol=1e-8, rtol=1e-8)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


def exact(model, xs, y):
    """The bound of each row, `[B]`, as a sum over all combinations, with z at its mean."""
    scores, total = model.classifier(xs.flatten(1)), 0.0
    unknown = [a for a, v in enumerate(y) if v < 0]
    for values in product((0, 1), repeat=len(unknown)):
        row, share = list(y), 0.0
        for a, v in zip(unknown, values, strict=True):
            row[a], share = v, share + log_q(model, a, v, scores)
        seen = torch.tensor(row).double().expand(len(xs), -1)
        inside = pixel_bound(model, xs, seen, torch.zeros(len(xs), 2).double())
        total = total + (share.exp() if unknown else 1.0) * inside
    kl = torch.stack([divergence(model, y, s) + torch.zeros(()).double() for s in scores])
    return total - kl + known_terms(model, y, scores)


def drawn_figures(model, xs, y, draws=30, copies=400):
    """Mean and standard error of value and gradient, by the classifier's last bias, of one row."""
    found, labelled = [], any(v >= 0 for v in y)
    ys = torch.tensor(y).repeat(copies * len(xs), 1) if labelled else None
    many = xs.repeat(copies, 1, 1, 1)
    for _ in range(draws):
        loss = model.make_elbo().differentiable_loss(model.model, model.guide, many, ys) / copies
        (gradient,) = torch.autograd.grad(loss, model.classifier.layers[-1].bias)
        found.append(torch.cat([loss.detach()[None], gradient]))
    found = torch.stack(found)
    return found.mean(0), found.std(0) / math.sqrt(draws)


@pytest.mark.parametrize("y", [(-1, -1, -1), (1, -1, 0)])
def test_bias_of_the_relaxation_shrinks_with_the_temperature(y, monkeypatch):
    monkeypatch.setattr(
        "torch.distributions.normal._standard_normal",
        lambda shape, dtype, device: torch.zeros(shape, dtype=dtype, device=device),
    )
    model, xs = make(), pixels(2)
    value = -exact(model, xs, y).sum()
    (gradient,) = torch.autograd.grad(value, model.classifier.layers[-1].bias)
    wanted = torch.cat([value.detach()[None], gradient])
    biases = []
    for temperature in (1.0, 0.1):
        model.temperature = temperature
        mean, error = drawn_figures(model, xs, y)
        biases.append(((mean - wanted).abs()).max())
        if temperature == 0.1:
            assert ((mean - wanted).abs() < 3 * error + 0.03 * wanted.abs().max()).all()
    assert biases[1] < 0.4 * biases[0]
    # What the networks see is then as if drawn: the value has no bias, at any temperature.
    rounded = make(straight_through=True, temperature=1.0)
    mean, error = drawn_figures(rounded, xs, y)
    assert abs(mean[0] - wanted[0]) < 3 * error[0]


def test_in_evaluation_mode_attributes_are_drawn_and_bounds_are_the_models():
    model = make(latent_dim=1).eval()
    xs = pixels(2)
    with torch.no_grad():
        # Wider than the posterior: no weight is then far from the others.
        model.encoder.layers[-1].bias[1:] = 1.0
        z = torch.linspace(-9, 9, 2001).double()[:, None, None]
        step, joint = math.log(float(z[1, 0, 0] - z[0, 0, 0])), []
        for y in product((0, 1), repeat=3):
            seen = torch.tensor(y).double().expand(1, -1)
            log_px = oracle.pixel_log_prob(model, xs, model.decoder(z, seen))
            prior = sum(log_p(a, v) for a, v in enumerate(y))
            joint.append(log_px + oracle.normal_log_prob(z, 0.0, 1.0) + prior + step)
        wanted = torch.stack(joint).logsumexp((0, 1))
        found = importance_weighted_bound(model, xs, num_samples=20_000)
    torch.testing.assert_close(found, wanted, atol=0.03, rtol=0)


def test_terms_add_up_to_the_loss():
    model, xs = make(), pixels(5)
    ys = torch.tensor([[0, 1, 1], [-1, 1, -1], [1, -1, 0], [-1, -1, -1], [-1, -1, -1]])
    elbo = model.make_elbo()
    with oracle.recorded_traces(elbo) as traces:
        loss = elbo.differentiable_loss(model.model, model.guide, xs, ys)
    terms = objective_terms(*traces[-1])
    total = 3 * terms["labelled_elbo"] + 2 * terms["unlabelled_elbo"]
    total = total - WEIGHT * 3 * terms["classification"]
    torch.testing.assert_close(-total, loss.detach())


def test_training_finds_attributes():
    generator = torch.Generator().manual_seed(0)
    ys = torch.randint(2, (400, 2), generator=generator)
    # The first attribute is the upper row of pixels, the second the lower.
    xs = ys.float()[:, None, :, None].expand(400, 1, 2, 3).clone()
    xs = (torch.rand(xs.shape, generator=generator) < 0.1 + 0.8 * xs).float()
    known = ys.clone()
    known[20:40, 0] = -1
    known[40:] = -1
    data = SSLData.from_arrays(xs, known).with_validation(xs, ys)
    options = {"input_shape": (1, 2, 3), "num_classes": 2, "latent_dim": 1, "hidden_dims": (16,)}
    model = MultiLabelM2(**oracle.PLAIN | {"alpha": 5.0}, **options)
    history = fit(model, data, FitConfig(epochs=20, batch_size=40, learning_rate=0.01, **STEADY))
    assert history.to_frame()["validation_accuracy"].max() > 0.95
    assert (model.predict_proba(xs) > 0.5).long().eq(ys).double().mean() > 0.95


def test_latents_and_samples_take_attributes():
    model, xs = make().float(), pixels(4).float()
    ys = torch.tensor([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
    loc, _ = model.encode(xs, ys)
    by_guess, _ = model.encode(xs)
    guess = (model.classifier(xs.flatten(1)) > 0).float()
    torch.testing.assert_close(by_guess, oracle.posterior(model, xs, guess)[0])
    torch.testing.assert_close(loc, oracle.posterior(model, xs, ys.float())[0])
    means = model.image_decoder(model.decoder(loc, ys.float())).sigmoid()
    torch.testing.assert_close(model.decode(loc, ys), means)
    assert model.sample(torch.where(ys == 1, ys, -1)).shape == xs.shape


def test_intervention_changes_what_the_decoder_sees_of_its_attribute():
    model, xs, values = make(), pixels(4), torch.tensor([0, 1, 1, 0])
    ys = (model.classifier(xs.flatten(1)) > 0).double()
    loc, _ = model.encode(xs, ys)
    for attribute in range(3):
        other = ys.clone()
        other[:, attribute] = values.double()
        torch.testing.assert_close(model.intervene(xs, attribute, values), model.decode(loc, other))
    torch.testing.assert_close(model.reconstruct(xs), model.decode(loc, ys))


def test_large_scores_keep_their_gradient():
    model = make(temperature=20.0).float()
    model.classifier.layers[-1].bias.data.fill_(30.0)
    xs = pixels(3).float()
    loss = model.make_elbo().differentiable_loss(model.model, model.guide, xs)
    scores = model.classifier(xs.flatten(1))
    of_kl = torch.autograd.grad(model._kl(scores).sum(), model.classifier.layers[-1].bias)[0]
    whole = torch.autograd.grad(loss, model.classifier.layers[-1].bias)[0]
    # What remains is the gradient by way of the relaxed draws, at sigmoid(30 / 20).
    assert ((whole - of_kl).abs() > 1e-4).all()

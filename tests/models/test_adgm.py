"""ADGM and SDGM against their objectives written out, with loops over draws and classes."""

import copy
import math

import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from torch import nn
from torch.nn import functional as F

from pyro_ssl.elbos import RaoBlackwell_ELBO, StaticEnum_ELBO
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import Objective
from pyro_ssl.likelihoods import Gaussian
from pyro_ssl.metrics import importance_weighted_bound, joint_bound
from pyro_ssl.models import ADGM, SDGM
from pyro_ssl.models.rows import Batch
from tests import oracle

WEIGHT, CLASSES = 3.5, 4
SIZES = {
    "input_shape": (6,),
    "num_classes": CLASSES,
    "latent_dim": 2,
    "auxiliary_dim": 3,
    "hidden_dims": (7, 5),
    "alpha": WEIGHT,
}
KINDS = (ADGM, SDGM)
# All unknown, all known, mixed in any order, the known ones in front.
YS_OF_EACH_KIND = [None, [0, 3, 1, 1, 2], [2, -1, 0, -1, -1], [1, 3, -1, -1, -1]]


def made(kind, **options):
    torch.manual_seed(1)
    model = kind(**SIZES | {"batch_norm": False} | options)
    # Away from its initial values every density is far from flat.
    for parameter in model.parameters():
        parameter.data.mul_(2.0)
    return model.double()


def rows(number=5):
    torch.manual_seed(2)
    return torch.rand(number, 6).bernoulli().double()


def moments(outputs, least=1e-4):
    loc, raw = outputs.chunk(2, -1)
    return loc, F.softplus(raw) + least


def log_density(model, xs, ys, a, z):
    """log p(x, y, z, a), `[B]`, one draw and one class a row."""
    if isinstance(model, ADGM):
        log_px = oracle.log_px(model, xs, model.decoder(z, ys))
        p_a = moments(model.auxiliary_decoder(xs, ys, beside=z), 1e-2)
    else:
        log_px = oracle.log_px(model, xs, model.decoder(z, ys, beside=a))
        p_a = moments(model.auxiliary_decoder(z, ys), 1e-2)
    log_pz = oracle.normal_log_prob(z, 0.0, 1.0)
    return log_px + oracle.log_p_y(model)[ys] + log_pz + oracle.normal_log_prob(a, *p_a)


def noise_of(moments_of, values):
    with torch.no_grad():
        loc, scale = moments_of
        return (values - loc) / scale


def of_one_draw(model, xs, ys, a, z):
    """What one draw contributes, `[B]`: a `[B, A]`; z `[B, D]`, or `[K, B, D]` where ys is None.

    Both are drawn values, of which only the noise is taken.
    """
    q_a = moments(model.auxiliary_encoder(xs))
    a = q_a[0] + q_a[1] * noise_of(q_a, a)
    log_qa = oracle.normal_log_prob(a, *q_a)
    log_q = model.classifier(xs, beside=a).log_softmax(-1)

    def bound(labels, drawn):
        q_z = moments(model.encoder(xs, labels, beside=a))
        z = q_z[0] + q_z[1] * noise_of(q_z, drawn)
        log_p = log_density(model, xs, labels, a, z)
        return log_p - log_qa - oracle.normal_log_prob(z, *q_z)

    if ys is not None:
        return bound(ys, z) + WEIGHT * log_q[torch.arange(len(xs)), ys]
    total = torch.zeros(len(xs)).double()
    for k in range(CLASSES):
        each = bound(torch.full((len(xs),), k), z[k]) - log_q[:, k]
        total = total + log_q[:, k].exp() * each
    return total


def by_hand(model, xs, ys, trace, draws):
    """The loss of all rows, the mean over draws of a and z that are in the model's trace."""
    loss = torch.zeros(()).double()
    for prefix, mask in oracle.parts(xs, ys):
        a, z = (trace.nodes[prefix + site]["value"] for site in "az")
        known = None if prefix.startswith("un") or ys is None else ys[mask]
        a, z = a.reshape(draws, -1, 3), z.reshape(*z.shape[: z.dim() - a.dim()], draws, -1, 2)
        for s in range(draws):
            loss = loss - of_one_draw(model, xs[mask], known, a[s], z[..., s, :, :]).sum() / draws
    return loss


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ys", YS_OF_EACH_KIND)
@pytest.mark.parametrize(
    ("elbo", "draws"),
    [
        (StaticEnum_ELBO(num_particles=3), 3),
        (StaticEnum_ELBO(), 1),
        (TraceEnum_ELBO(3, 1, vectorize_particles=True), 3),
        (RaoBlackwell_ELBO(CLASSES - 1, num_particles=2), 2),
    ],
    ids=["3 draws", "1 draw", "Pyro's own", "Rao-Blackwellised, all summed"],
)
def test_objective_and_gradients_equal_loops_over_draws_and_classes(kind, ys, elbo, draws):
    model, xs = made(kind, label_prior=(0.1, 0.2, 0.3, 0.4)), rows()
    ys = None if ys is None else torch.tensor(ys)
    loss, trace = oracle.run(model, elbo, xs, ys)
    wanted = by_hand(model, xs, ys, trace, draws)
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    found = oracle.gradients(loss, model)
    oracle.assert_same(found, oracle.gradients(wanted, model))
    if ys is None or (ys < 0).any():
        # The auxiliary encoder learns from all that depends on a.
        assert all((found[name] != 0).any() for name in found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_models_own_elbo_has_the_number_of_draws_that_it_says(kind):
    xs, ys = rows(), torch.tensor([1, 3, -1, -1, -1])
    for summed in (None, 1):
        model = made(kind, num_samples=4, num_summed=summed)
        loss, trace = oracle.run(model, model.make_elbo(), Batch(xs, ys, 2))
        assert trace.nodes["unlabelled/a"]["value"].shape == (4, 3, 3)
        classes = CLASSES if summed is None else 2
        assert trace.nodes["unlabelled/z"]["value"].shape == (classes, 4, 3, 2)
        if summed is None:
            torch.testing.assert_close(loss, by_hand(model, xs, ys, trace, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_some_classes_stand_for_all_with_their_weights(kind):
    """Liu et al. (2019), eq. 8; draws of a have classes of their own."""
    model, xs = made(kind), rows()
    elbo = RaoBlackwell_ELBO(1, num_particles=3)
    with oracle.recorded_traces(elbo) as traces:
        loss = elbo.differentiable_loss(model.model, model.guide, xs)
    drawn = [traces[-1][1].nodes[site]["value"] for site in "azy"]
    assert drawn[2].shape == (2, 3, 5)
    wanted = 0.0
    for s in range(3):
        a, z, y = drawn[0][s], drawn[1][:, s], drawn[2][:, s]
        q_a = moments(model.auxiliary_encoder(xs))
        a = q_a[0] + q_a[1] * noise_of(q_a, a)
        log_q = model.classifier(xs, beside=a).log_softmax(-1)
        assert torch.equal(y[0], log_q.argmax(-1))
        fs, log_qs = [], []
        for c in range(2):
            q_z = moments(model.encoder(xs, y[c], beside=a))
            zs = q_z[0] + q_z[1] * noise_of(q_z, z[c])
            f = log_density(model, xs, y[c], a, zs) - oracle.normal_log_prob(zs, *q_z)
            log_qs.append(log_q[torch.arange(5), y[c]])
            fs.append(f - oracle.normal_log_prob(a, *q_a) - log_qs[c].detach())
        top = log_qs[0].detach().exp()
        # The choice of the second class has a score, with the first one's value as baseline.
        advantage = (fs[1] - fs[0]).detach() * (log_qs[1] - log_qs[1].detach())
        wanted = wanted - (top * fs[0] + (1 - top) * (fs[1] + advantage)).sum() / 3
    torch.testing.assert_close(loss, wanted)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


def test_draws_reduce_the_variance_and_leave_the_mean():
    model, xs = made(ADGM), rows()
    losses = {}
    for draws in (1, 8):
        elbo = StaticEnum_ELBO(num_particles=draws)
        with torch.no_grad():
            each = [elbo.differentiable_loss(model.model, model.guide, xs) for _ in range(120)]
        losses[draws] = torch.stack(each)
    means = [found.mean() for found in losses.values()]
    errors = [(found.var() / 120) ** 0.5 for found in losses.values()]
    assert abs(means[0] - means[1]) < 4 * math.hypot(*errors)
    # The variance falls to an eighth; of 120 draws it is known to within 13 %.
    assert losses[8].var() < 0.25 * losses[1].var()


@pytest.mark.parametrize("kind", KINDS)
def test_terms_are_means_over_draws_and_add_up(kind):
    model, xs = made(kind, num_samples=3), rows()
    batch = Batch(xs, torch.tensor([1, 3, -1, -1, -1]), 2)
    objective = Objective(model, 20, 30)
    with oracle.recorded_traces(objective.elbo) as recorded:
        loss, terms = objective(batch)
    bounds = {}
    for part in ("labelled", "unlabelled"):
        known = part == "labelled"
        whole = terms[f"{part}_log_prob_x"] - terms[f"{part}_kl_z"] - terms[f"{part}_kl_a"]
        whole += terms[f"{part}_log_prob_y"] if known else -terms[f"{part}_kl_y"]
        torch.testing.assert_close(terms[f"{part}_elbo"], whole)
        bounds[part] = whole
    wanted = -0.4 * bounds["labelled"] - 0.6 * bounds["unlabelled"]
    torch.testing.assert_close(loss, wanted + WEIGHT * terms["classification"])
    # The term is the mean over draws of a, not of the mean of q(y|a,x).
    a = recorded[0][1].nodes["labelled/a"]["value"]
    each = [F.cross_entropy(model.classifier(xs[:2], beside=a[s]), batch.ys[:2]) for s in range(3)]
    torch.testing.assert_close(terms["classification"], torch.stack(each).mean())


def quadrature(points=400, reach=9.0):
    """Points and log-weights of an integral over a standard normal distribution."""
    at = torch.linspace(-reach, reach, points).double()
    weights = oracle.normal_log_prob(at[:, None], 0.0, 1.0)
    return at[:, None], weights - weights.logsumexp(0)


def log_p_of_x(model, x):
    """log p(x) of one input `[P]` of a model of one latent dimension, by quadrature."""
    z, log_w = quadrature()
    found = []
    for k in range(model.num_classes):
        ys = torch.full((len(z),), k)
        if isinstance(model, ADGM):
            log_px = oracle.log_px(model, x.expand(len(z), -1), model.decoder(z, ys))
        else:
            loc, scale = moments(model.auxiliary_decoder(z, ys), 1e-2)
            each = []
            for point, weight in zip(*quadrature(60, 6.0), strict=True):
                outputs = model.decoder(z, ys, beside=loc + scale * point)
                each.append(weight + oracle.log_px(model, x.expand(len(z), -1), outputs))
            log_px = torch.stack(each).logsumexp(0)
        found.append(oracle.log_p_y(model)[k] + (log_w + log_px).logsumexp(0))
    return torch.stack(found)


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_are_in_their_order_and_reach_the_truth(kind):
    model = made(kind, latent_dim=1, auxiliary_dim=1).eval()
    (x,) = rows(1)
    with torch.no_grad():
        truth = log_p_of_x(model, x)
    copies = x.expand(4000, -1)
    torch.manual_seed(0)
    bounds = {k: importance_weighted_bound(model, copies, k) for k in (1, 5, 50)}
    means = {k: found.mean().item() for k, found in bounds.items()}
    errors = {k: (found.std() / 4000**0.5).item() for k, found in bounds.items()}
    for low, high in ((1, 5), (5, 50)):
        assert means[low] < means[high] + 4 * math.hypot(errors[low], errors[high])
    # Otherwise the guide is so good that this could not fail.
    assert means[1] < means[5] - 6 * errors[1]
    assert means[50] < truth.logsumexp(0) + 4 * errors[50]
    many = importance_weighted_bound(model, x.expand(8, -1), 20_000)
    torch.testing.assert_close(many.mean(), truth.logsumexp(0), atol=0.05, rtol=0)
    # The bound on log p(x, y) is below it, too, and that on log p(x) is the enumerated ELBO.
    for k in range(CLASSES):
        found = joint_bound(model, copies, torch.full((4000,), k))
        assert found.mean() < truth[k] + 4 * found.std() / 4000**0.5
    loss = StaticEnum_ELBO().loss(model.model, model.guide, copies) / 4000
    assert abs(loss + means[1]) < 6 * errors[1]


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_means_over_draws_of_a_that_do_not_change(kind):
    model, xs = made(kind, num_points=19, auxiliary_dim=3).train(), rows()
    loc, scale = moments(model.auxiliary_encoder(xs))
    each = [model.classifier(xs, beside=loc + scale * e).softmax(-1) for e in model.points]
    assert len(each) == 19
    wanted = torch.stack(each).mean(0).detach()
    for seed in (0, 1):
        torch.manual_seed(seed)
        found = model.predict_proba(xs)
        torch.testing.assert_close(found, wanted)
    assert (torch.stack(each).std(0) > 0.01).any()
    # One number more or less does not matter; a thousand draws say the same.
    again = made(kind, num_points=64)
    torch.manual_seed(0)
    a = loc + scale * torch.randn(20_000, 5, 3).double()
    drawn = again.classifier(xs, beside=a).softmax(-1).mean(0)
    torch.testing.assert_close(again.predict_proba(xs), drawn.detach(), atol=0.02, rtol=0)
    assert again.points.dtype == torch.float64
    assert "points" not in again.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_count_a_row_once_by_the_probability_of_its_classes(kind):
    model = made(kind, batch_norm="separate", hidden_dims=(7,), num_samples=2).train()
    xs, elbo = rows(6), model.make_elbo()
    inputs = []
    norm = model.encoder.norms[0]
    norm.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    with oracle.recorded_traces(elbo) as traces:
        elbo.differentiable_loss(model.model, model.guide, xs)
    q = traces[-1][1].nodes["y"]["fn"].probs
    a, z = (traces[-1][1].nodes[site] for site in "az")
    first, second = model.encoder.layers
    mean, square = 0.0, 0.0
    hidden = {}
    for k in range(CLASSES):
        for s in range(2):
            hs = first(xs, torch.full((6,), k)) + model.encoder.beside(a["value"][s])
            hidden[k, s] = hs
            mean = mean + (q[s, :, k : k + 1] * hs).sum(0) / 12
            square = square + (q[s, :, k : k + 1] * hs.square()).sum(0) / 12
    variance = square - mean.square()
    for (k, s), hs in hidden.items():
        own = norm.unlabelled
        scaled = own.weight * (hs - mean) / (variance + own.eps).sqrt() + own.bias
        loc, _ = moments(second(scaled.relu()))
        torch.testing.assert_close(z["fn"].base_dist.loc[k, s], loc)
    torch.testing.assert_close(norm.unlabelled.running_mean, 0.1 * mean.detach())
    unbiased = variance / (1 - (q / 12).square().sum())
    torch.testing.assert_close(norm.unlabelled.running_var, 0.9 + 0.1 * unbiased.detach())
    assert norm.unlabelled.num_batches_tracked == 1
    # Not what equal weights of all classes would give.
    assert (inputs[0].mean(0) - mean).abs().max() > 1e-2


@pytest.mark.parametrize(("kind", "network"), [(SDGM, "decoder"), (ADGM, "auxiliary_decoder")])
def test_classes_share_their_row_evenly_where_the_program_does_not_know_q(kind, network):
    model = made(kind, batch_norm="separate", hidden_dims=(7,), num_samples=2).train()
    norm, inputs = getattr(model, network).norms[0], []
    norm.register_forward_pre_hook(lambda module, args: inputs.append(args[0].detach()))
    oracle.run(model, model.make_elbo(), rows(6), torch.tensor([1, 2, -1, -1, -1, -1]))
    known, unknown = inputs
    # Two labelled rows with two draws; four others with two draws and all classes.
    assert (len(known), len(unknown)) == (4, 4 * 2 * CLASSES)
    of_classes = unknown.view(CLASSES, 8, 7).mean(1)
    torch.testing.assert_close(norm.unlabelled.running_mean, 0.1 * of_classes.mean(0))
    assert of_classes.std(0).max() > 1e-2


def test_a_class_that_is_impossible_does_not_count():
    model = made(SDGM, batch_norm="separate").train()
    xs, means = rows(6), []
    for weight in (0.0, 100.0):
        twin = copy.deepcopy(model)
        last = twin.classifier.layers[-1]
        last.bias.data[2] = -1e4
        # The embedding of that class moves its hidden units far away.
        twin.encoder.layers[0].embedding.weight.data[2] = weight
        torch.manual_seed(3)
        twin.make_elbo().differentiable_loss(twin.model, twin.guide, xs)
        means.append([norm.unlabelled.running_mean for norm in twin.encoder.norms])
    for one, other in zip(*means, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("summed", [None, 1])
def test_batch_norm_leaves_a_mixed_call_the_sum_of_its_parts(kind, summed, monkeypatch):
    # Without noise all is a function of the weights.
    monkeypatch.setattr(
        "torch.distributions.normal._standard_normal",
        lambda shape, dtype, device: torch.zeros(shape, dtype=dtype, device=device),
    )
    monkeypatch.setattr("torch.rand_like", lambda tensor: torch.full_like(tensor, 0.5))
    model = made(kind, batch_norm="separate", num_samples=2, num_summed=summed).train()
    xs, ys = rows(11), torch.tensor([2, 0, 1, 3, *[-1] * 7])
    gradients = []
    for calls in ([slice(None)], [slice(0, 4), slice(4, None)]):
        loss = sum(oracle.run(model, model.make_elbo(), xs[some], ys[some])[0] for some in calls)
        gradients.append(oracle.gradients(loss, model))
    oracle.assert_same(*gradients)
    twin = made(kind, batch_norm="separate", num_samples=2, num_summed=summed).train()
    oracle.run(twin, twin.make_elbo(), xs, ys)
    norms = [m for m in twin.modules() if isinstance(m, nn.BatchNorm1d)]
    # Five networks of two hidden layers: each saw the unlabelled rows once, and keeps no others.
    assert [int(norm.num_batches_tracked) for norm in norms] == [1] * 10
    hs = twin.auxiliary_encoder.layers[0](xs[4:])
    kept = twin.auxiliary_encoder.norms[0].unlabelled.running_mean
    torch.testing.assert_close(kept, 0.1 * hs.mean(0).detach())


def test_labelled_rows_alone_keep_their_own_statistics_and_sampled_labels_weigh_alike():
    model = made(SDGM, batch_norm="separate").train()
    xs, ys = rows(6), torch.arange(6) % CLASSES
    oracle.run(model, model.make_elbo(), xs, ys)
    hs = model.auxiliary_encoder.layers[0](xs)
    kept = model.auxiliary_encoder.norms[0].unlabelled.running_mean
    torch.testing.assert_close(kept, 0.1 * hs.mean(0).detach())
    model.guide(xs)
    assert model.encoder.norms[0].unlabelled.num_batches_tracked == 2


@pytest.mark.parametrize("kind", KINDS)
def test_images_labels_and_latents_are_decoded_as_the_program_says(kind):
    model, xs = made(kind, likelihood=Gaussian(0.7)), rows().mul(2.0)
    zs, ys = torch.randn(5, 2).double(), torch.tensor([0, 1, 3, 2, 2])
    if kind is ADGM:
        outputs = model.decoder(zs, ys)
    else:
        outputs = model.decoder(zs, ys, beside=moments(model.auxiliary_decoder(zs, ys))[0])
    torch.testing.assert_close(model.decode(zs, ys), outputs.detach())
    loc, scale = model.encode(xs, ys)
    mean = moments(model.auxiliary_encoder(xs))[0]
    wanted = moments(model.encoder(xs, ys, beside=mean))
    torch.testing.assert_close((loc, scale), tuple(t.detach() for t in wanted))
    likeliest = model.predict_proba(xs).argmax(-1)
    assert torch.equal(model.encode(xs)[0], model.encode(xs, likeliest)[0])
    torch.manual_seed(5)
    drawn = model.sample(ys)
    torch.manual_seed(5)
    torch.testing.assert_close(drawn, model.decode(torch.randn(5, 2).double(), ys))


@pytest.mark.parametrize(
    "options",
    [
        {"latent_dim": 0},
        {"auxiliary_dim": 0},
        {"hidden_dims": (3, 0)},
        {"alpha": -1.0},
        {"num_samples": 0},
        {"num_summed": 0},
        {"num_points": 0},
        {"input_dropout": 1.0},
        {"batch_norm": True},
        {"batch_norm": "both"},
        {"activation": "sine"},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_options_that_cannot_work_are_named(kind, options):
    with pytest.raises(ConfigError, match=rf"{next(iter(options))}(\[1\])? is "):
        kind(**SIZES | options)


def test_what_the_image_contributes_is_computed_once_a_row():
    model, xs = made(ADGM, num_samples=3), rows()
    shapes = {}
    for name in ("classifier", "encoder", "auxiliary_decoder"):
        first = getattr(model, name).layers[0]
        first = getattr(first, "linear", first)
        first.register_forward_hook(
            lambda module, args, output, name=name: shapes.update({name: output.shape})
        )
    oracle.run(model, model.make_elbo(), xs)
    assert set(shapes.values()) == {(5, 7)}

import copy
import math

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, TraceEnum_ELBO

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.infer import Objective, StaticEnum_ELBO
from pyro_ssl.likelihoods import Bernoulli, Laplace
from pyro_ssl.models import M2
from pyro_ssl.models.rows import Batch
from tests import oracle

WEIGHT = 3.5
PLAIN = oracle.PLAIN | {"alpha": WEIGHT}
# All unknown, all known, mixed in any order, the known ones in front.
YS_OF_EACH_KIND = [None, [0, 3, 1, 1, 2], [2, -1, 0, -1, -1], [1, 3, -1, -1, -1]]


@pytest.fixture
def model() -> M2:
    torch.manual_seed(1)
    model = M2(
        input_shape=(1, 2, 3),
        num_classes=4,
        latent_dim=2,
        hidden_dims=(7, 5),
        **PLAIN,
    )
    # Away from its initial values every density is far from flat.
    for parameter in model.parameters():
        parameter.data.mul_(2.0)
    return model.double()


@pytest.fixture
def xs() -> torch.Tensor:
    return torch.rand(5, 1, 2, 3).bernoulli().double()


@pytest.fixture(params=[TraceEnum_ELBO, StaticEnum_ELBO])
def elbo(request):
    """Pyro's own ELBO and ours, which every objective is checked under."""
    return request.param(max_plate_nesting=1)


def run(model, xs, ys=None, elbo=None, num_labelled=None):
    """Return Pyro's loss and the model trace it came from."""
    elbo = elbo or model.make_elbo()
    with oracle.recorded_traces(elbo) as traces:
        loss = elbo.differentiable_loss(model.model, model.guide, Batch(xs, ys, num_labelled))
    return loss, traces[-1][0]


def class_noise(model, xs, zs):
    """Noise `[K, B, D]` behind enumerated latents."""
    ks = torch.arange(model.num_classes)
    return torch.stack([oracle.noise(model, xs, k.expand(len(xs)), zs[k]) for k in ks])


def test_unlabelled_elbo_and_gradients_equal_a_loop_over_classes(model, xs, elbo):
    loss, trace = run(model, xs, elbo=elbo)
    eps = class_noise(model, xs, trace.nodes["z"]["value"])
    by_hand = -oracle.unlabelled_bound(model, xs, eps).sum()
    torch.testing.assert_close(loss, by_hand, atol=1e-6, rtol=1e-6)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(by_hand, model))


@pytest.mark.parametrize("chunk", [1, 3])
def test_class_chunks_change_no_number(model, xs, elbo, chunk):
    ys = torch.tensor([2, 0, -1, -1, -1])
    both = []
    for model.class_chunk in (None, chunk):
        torch.manual_seed(4)
        loss, _ = run(model, xs, ys, elbo, num_labelled=2)
        both.append((loss, oracle.gradients(loss, model)))
    torch.testing.assert_close(*both, atol=1e-12, rtol=1e-12)


def test_class_chunks_are_autocast_like_the_whole(model, xs):
    dtypes = []
    model.class_chunk = 3
    hook = lambda module, inputs, output: dtypes.append(output.dtype)  # noqa: E731
    model.float().decoder.layers[0].linear.register_forward_hook(hook)
    loss, _ = Objective(model, 0, 9, torch.bfloat16)(Batch(xs.float(), None, 0))
    loss.backward()
    assert loss.dtype == torch.float32
    # Two chunks, each a second time for its gradient.
    assert dtypes == [torch.bfloat16] * 4


def test_memory_grows_with_the_chunk_and_not_with_the_classes():
    def saved(classes, chunk):
        model = M2((1, 2, 3), classes, latent_dim=2, hidden_dims=(200,), class_chunk=chunk)
        sizes = {}
        keep = lambda t: sizes.setdefault(id(t), t.numel()) and t  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            run(model, torch.rand(5, 1, 2, 3))
        return sum(sizes.values())

    # 2 hidden activations of 200 units for 5 rows and each class, kept or not.
    assert saved(100, None) - saved(20, None) > 80 * 5 * 200 * 2
    assert saved(100, 10) - saved(20, 10) < 80 * 5 * 200 * 0.5


def test_labelled_elbo_and_gradients_equal_the_formula(model, xs, elbo):
    ys = torch.tensor([0, 3, 1, 1, 2])
    loss, trace = run(model, xs, ys, elbo)
    eps = oracle.noise(model, xs, ys, trace.nodes["z"]["value"])
    by_hand = -(
        oracle.labelled_bound(model, xs, ys, eps) - WEIGHT * oracle.classification(model, xs, ys)
    ).sum()
    torch.testing.assert_close(loss, by_hand, atol=1e-6, rtol=1e-6)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(by_hand, model))


@pytest.mark.parametrize("ys", [[2, -1, 0, -1, -1], [1, 3, -1, -1, -1]])
def test_mixed_call_is_the_sum_of_its_parts_gradients_included(model, xs, ys, elbo):
    ys = torch.tensor(ys)
    known = ys >= 0
    in_front = known.tolist() == sorted(known.tolist(), reverse=True)
    loss, trace = run(model, xs, ys, elbo, num_labelled=int(known.sum()) if in_front else None)
    eps_l = oracle.noise(model, xs[known], ys[known], trace.nodes["labelled/z"]["value"])
    eps_u = class_noise(model, xs[~known], trace.nodes["unlabelled/z"]["value"])
    labelled = oracle.labelled_bound(model, xs[known], ys[known], eps_l)
    labelled = labelled - WEIGHT * oracle.classification(model, xs[known], ys[known])
    by_hand = -labelled.sum() - oracle.unlabelled_bound(model, xs[~known], eps_u).sum()
    torch.testing.assert_close(loss, by_hand, atol=1e-6, rtol=1e-6)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(by_hand, model))


@pytest.mark.parametrize(
    "options",
    [
        {"likelihood": Laplace(0.3)},
        {"channels": 4, "input_shape": (2, 4, 4)},
        {"channels": 4, "input_shape": (2, 4, 4), "class_chunk": 3, "batch_norm": "separate"},
    ],
    ids=str,
)
def test_convolutions_and_laplace_pixels_enter_the_same_objective(options, elbo):
    torch.manual_seed(1)
    sizes = {"input_shape": (1, 2, 3), "num_classes": 4, "latent_dim": 2, "hidden_dims": (5,)}
    model = M2(**sizes | PLAIN | {"activation": "tanh"} | options)
    model = model.double().eval()
    xs = torch.rand(5, *model.input_shape).double()
    ys = torch.tensor([2, -1, 0, -1, -1])
    known = ys >= 0
    loss, trace = run(model, xs, ys, elbo)
    eps_l = oracle.noise(model, xs[known], ys[known], trace.nodes["labelled/z"]["value"])
    eps_u = class_noise(model, xs[~known], trace.nodes["unlabelled/z"]["value"])
    labelled = oracle.labelled_bound(model, xs[known], ys[known], eps_l)
    labelled = labelled - WEIGHT * oracle.classification(model, xs[known], ys[known])
    by_hand = -labelled.sum() - oracle.unlabelled_bound(model, xs[~known], eps_u).sum()
    torch.testing.assert_close(loss, by_hand, atol=1e-6, rtol=1e-6)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(by_hand, model))
    assert model.takes_pixels == (model.likelihood == Bernoulli())
    zs, ys = torch.randn(3, 2).double(), torch.tensor([0, 1, 3])
    means = model.image_decoder(model.decoder(zs, ys)).sigmoid()
    torch.testing.assert_close(model.decode(zs, ys), means)
    assert model.predict_proba(xs).sum(-1).tolist() == pytest.approx([1.0] * 5)


@pytest.mark.parametrize("ys", [[1, 0, 3, 2, 2], [-1, -1, -1, -1, -1]])
def test_all_known_and_all_unknown_are_the_plain_programs(model, xs, ys):
    _, trace = run(model, xs, torch.tensor(ys))
    assert {"y", "z", "x"} <= trace.nodes.keys()


def test_classification_gradient_is_plain_autograds(model, xs, elbo):
    ys = torch.tensor([0, 3, 1, 1, 2])
    plain = oracle.gradients(oracle.classification(model, xs, ys).sum(), model)
    loss, _ = run(model, xs, ys, elbo)
    ours = oracle.gradients(loss, model)
    for name, gradient in plain.items():
        if name.startswith("classifier"):
            # Nothing else in the labelled objective reaches the classifier.
            torch.testing.assert_close(ours[name], WEIGHT * gradient, atol=1e-9, rtol=1e-9)
            assert gradient.abs().max() > 1e-3 or "bias" in name


def test_without_alpha_labels_leave_the_classifier_alone(model, xs):
    model.alpha = 0.0
    ys = torch.tensor([0, 3, 1, 1, 2])
    gradients = oracle.gradients(run(model, xs, ys)[0], model)
    for name, gradient in gradients.items():
        assert bool((gradient == 0).all()) == name.startswith("classifier")


@pytest.mark.parametrize(
    "options",
    [
        {"latent_dim": 0},
        {"hidden_dims": (3, 0)},
        {"alpha": -1.0},
        {"alpha": math.nan},
        {"input_dropout": 1.0},
        {"activation": "sine"},
        {"class_chunk": 0},
        {"latent_noise": -0.1},
        {"latent_noise": math.inf},
        {"batch_norm": "both"},
    ],
)
def test_options_that_cannot_work_are_named(options):
    with pytest.raises(ConfigError, match=rf"{next(iter(options))}(\[1\])? is "):
        M2((1, 2, 3), 4, **options)


def test_label_reaches_encoder_and_decoder(model, xs):
    zs = torch.randn(5, 2).double()
    first, second = torch.zeros(5, dtype=torch.int64), torch.ones(5, dtype=torch.int64)
    assert (model.encode(xs, first)[0] - model.encode(xs, second)[0]).abs().max() > 1e-3
    assert (model.decode(zs, first) - model.decode(zs, second)).abs().max() > 1e-3


def test_predict_proba_is_the_guides_q_and_leaves_the_mode_alone(xs):
    model = M2((1, 2, 3), 4, batch_norm=True, input_dropout=0.5, hidden_dims=(6,)).double()
    model.train()
    proba = model.predict_proba(xs)
    assert model.training
    assert model.classifier.norms[0].training
    assert torch.equal(model.classifier.norms[0].num_batches_tracked, torch.tensor(0))
    model.eval()
    trace = poutine.trace(model.guide).get_trace(xs)
    torch.testing.assert_close(proba, trace.nodes["y"]["fn"].probs)
    torch.testing.assert_close(proba.sum(-1), torch.ones(5).double())


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (torch.zeros(2, 6), "shape"),
        (torch.zeros(2, 1, 2, 3, dtype=torch.int64), "dtype"),
        (torch.full((2, 1, 2, 3), 255.0), "ranges from 255"),
        (torch.full((2, 1, 2, 3), math.nan), "NaN"),
        (torch.full((2, 1, 2, 3), math.inf), "infinite"),
    ],
)
def test_predict_proba_refuses_what_it_cannot_use(model, bad, says):
    with pytest.raises(DataError, match=says):
        model.float().predict_proba(bad)


def test_sample_and_decode_give_pixel_means(model):
    ys = torch.tensor([0, 1, 2])
    images = model.sample(ys)
    assert images.shape == (3, 1, 2, 3)
    assert images.min() > 0
    assert images.max() < 1
    zs = torch.randn(3, 2).double()
    by_hand = model.decoder(zs, ys).sigmoid().view(3, 1, 2, 3)
    torch.testing.assert_close(model.decode(zs, ys), by_hand)
    torch.manual_seed(5)
    drawn = model.sample(ys)
    torch.manual_seed(5)
    torch.testing.assert_close(drawn, model.decode(torch.randn(3, 2).double(), ys))


def test_encode_gives_location_and_scale_of_the_posterior(model, xs):
    ys = torch.tensor([0, 3, 1, 1, 2])
    for ours, by_hand in zip(model.encode(xs, ys), oracle.posterior(model, xs, ys), strict=True):
        torch.testing.assert_close(ours, by_hand)
    likeliest = model.predict_proba(xs).argmax(-1)
    assert len(likeliest.unique()) > 1
    assert torch.equal(model.encode(xs)[0], model.encode(xs, likeliest)[0])


def test_image_half_of_the_encoder_is_computed_once_per_row(model, xs):
    rows = []
    model.encoder.layers[0].linear.register_forward_hook(
        lambda module, inputs, output: rows.append(output.shape)
    )
    run(model, xs)
    assert rows == [(5, 7)]


@pytest.mark.parametrize("separate", [True, False])
def test_separate_batch_norm_leaves_a_mixed_call_the_sum_of_its_parts(separate, monkeypatch):
    # Without noise in z all is a function of the weights.
    monkeypatch.setattr(
        "torch.distributions.normal._standard_normal",
        lambda shape, dtype, device: torch.zeros(shape, dtype=dtype, device=device),
    )
    options = PLAIN | {"batch_norm": "separate" if separate else True}
    model = M2((1, 2, 3), 4, 2, (7,), **options).double().train()
    xs, ys = torch.rand(11, 1, 2, 3).double(), torch.tensor([2, 0, 1, 3, *[-1] * 7])
    losses, means = [], []
    for some in (slice(None), slice(0, 4), slice(4, None)):
        loss, _ = run(copy.deepcopy(model), xs[some], ys[some])
        losses.append(loss.detach())
    exact = torch.allclose(losses[0], losses[1] + losses[2], atol=1e-10, rtol=1e-10)
    assert exact == separate
    if separate:
        gradients = []
        for calls in ([slice(None)], [slice(0, 4), slice(4, None)]):
            loss = sum(run(model, xs[some], ys[some])[0] for some in calls)
            gradients.append(oracle.gradients(loss, model))
            means.append(model.classifier.norms[0].unlabelled.running_mean.clone())
        oracle.assert_same(*gradients)
        # Both ways saw the unlabelled rows once more; the second also labelled rows alone, whose
        # statistics are then the ones to keep.
        known, hs = (
            model.classifier.layers[0](rows.flatten(1)).mean(0).detach()
            for rows in (xs[:4], xs[4:])
        )
        torch.testing.assert_close(means[0], 0.1 * hs)
        torch.testing.assert_close(means[1], 0.9 * (0.9 * means[0] + 0.1 * known) + 0.1 * hs)


def test_separate_batch_norm_normalises_each_kind_by_its_own_statistics():
    model = M2((1, 2, 3), 4, 2, (7,), **PLAIN | {"batch_norm": "separate"})
    model.double().train()
    xs, ys = torch.rand(11, 1, 2, 3).double(), torch.tensor([2, 0, 1, 3, *[-1] * 7])
    elbo = model.make_elbo()
    with oracle.recorded_traces(elbo) as traces:
        elbo.differentiable_loss(model.model, model.guide, xs, ys)
    nodes = traces[-1][1].nodes
    first, last = model.classifier.layers
    norm = model.classifier.norms[0].unlabelled
    for rows, labelled in ((xs[:4], True), (xs[4:], False)):
        hs = first(rows.flatten(1))
        hs = (hs - hs.mean(0)) / (hs.var(0, correction=0) + norm.eps).sqrt()
        log_q = last((norm.weight * hs + norm.bias).relu()).log_softmax(-1)
        if labelled:
            found = -nodes["labelled/classification"]["unscaled_log_prob"]
            torch.testing.assert_close(found, log_q[torch.arange(4), ys[:4]])
        else:
            torch.testing.assert_close(nodes["unlabelled/y"]["fn"].logits, log_q)


def test_labelled_rows_alone_are_normalised_and_classified_by_their_own_statistics():
    model = M2((1, 2, 3), 4, 2, (7,), **PLAIN | {"batch_norm": "separate"}).double().train()
    xs, ys = torch.rand(9, 1, 2, 3).double(), torch.arange(9) % 4
    elbo = model.make_elbo()
    with oracle.recorded_traces(elbo) as traces:
        for _ in range(200):
            elbo.differentiable_loss(model.model, model.guide, xs, ys)
    first, last = model.classifier.layers
    norm = model.classifier.norms[0].unlabelled
    hs = first(xs.flatten(1))
    mean, variance = hs.mean(0), hs.var(0, correction=0)
    hidden = norm.weight * (hs - mean) / (variance + norm.eps).sqrt() + norm.bias
    log_q = last(hidden.relu()).log_softmax(-1)
    found = -traces[-1][1].nodes["classification"]["unscaled_log_prob"]
    torch.testing.assert_close(found, log_q[torch.arange(9), ys])
    # Of the running averages 0.9^200 is left of where they started.
    torch.testing.assert_close(norm.running_mean, mean.detach(), atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(norm.running_var, hs.var(0).detach(), atol=1e-7, rtol=1e-7)
    new = torch.rand(3, 1, 2, 3).double()
    hs = (first(new.flatten(1)) - mean) / (norm.running_var + norm.eps).sqrt()
    by_hand = last((norm.weight * hs + norm.bias).relu()).softmax(-1)
    torch.testing.assert_close(model.predict_proba(new), by_hand, atol=1e-7, rtol=1e-7)


def test_latent_noise_reaches_the_decoder_in_training_only(xs):
    model, seen = M2((1, 2, 3), 4, 2, (7,), latent_noise=0.3).double(), []
    model.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    xs = xs.repeat(400, 1, 1, 1)
    _, trace = run(model.train(), xs)
    noise = (seen[-1] - trace.nodes["z"]["value"]).detach()
    count = noise.numel()
    assert count == 4 * 2000 * 2
    assert noise.mean().abs() < 4 * 0.3 / count**0.5
    assert abs(noise.var() / 0.09 - 1) < 4 * (2 / count) ** 0.5
    assert (
        torch.corrcoef(torch.stack([noise.flatten(), trace.nodes["z"]["value"].flatten()]))[
            0, 1
        ].abs()
        < 4 / count**0.5
    )
    # The bound's other terms are those of the latent as drawn.
    log_pz = oracle.normal_log_prob(trace.nodes["z"]["value"], 0.0, 1.0)
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], log_pz)
    logits = model.decoder(seen[-1], torch.arange(4)[:, None])
    pixels = xs.flatten(1)
    log_px = pixels * logits.sigmoid().log() + (1 - pixels) * (-logits).sigmoid().log()
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], log_px.sum(-1))
    _, trace = run(model.eval(), xs)
    assert torch.equal(seen[-1], trace.nodes["z"]["value"])


def test_predictive_draws_labels_from_the_guide(model, xs):
    # Twenty copies of each row draw twenty times as much at once.
    copies = xs.repeat(20, 1, 1, 1)
    draws = Predictive(model.model, guide=model.guide, num_samples=100)(copies)["y"]
    frequency = torch.nn.functional.one_hot(draws.view(2000, 5), 4).double().mean(0)
    # Five standard errors of a frequency over 2000 draws are at most 0.056.
    torch.testing.assert_close(frequency, model.predict_proba(xs), atol=0.056, rtol=0)


def test_svi_with_pyros_own_elbo_lowers_the_loss(xs):
    model = M2((1, 2, 3), 4, hidden_dims=(16,))
    xs = xs.float()
    svi = SVI(model.model, model.guide, pyro.optim.Adam({"lr": 0.02}), TraceEnum_ELBO(1))
    losses = [svi.step(xs) for _ in range(150)]
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_a_decoder_of_its_own_widths():
    torch.manual_seed(0)
    sizes = {"input_shape": (6,), "num_classes": 3, "latent_dim": 2, "hidden_dims": (5, 4)}
    linear = M2(decoder_dims=[], **sizes)
    assert len(linear.decoder.layers) == 1
    zs, ys = torch.randn(4, 2), torch.tensor([0, 2, 1, 2])
    first = linear.decoder.layers[0]
    wanted = zs @ first.linear.weight.T + first.linear.bias + first.embedding.weight[ys]
    torch.testing.assert_close(linear.decoder(zs, ys), wanted)
    assert [layer.out_features for layer in linear.encoder.layers[1:]] == [4, 4]
    wide = M2(decoder_dims=(7,), **sizes)
    assert wide.decoder.layers[1].in_features == 7
    assert wide.options["decoder_dims"] == (7,)
    # What it is without.
    assert M2(**sizes).decoder.layers[2].in_features == 5
    with pytest.raises(
        ConfigError, match=r"decoder_dims\[0\] is 0, expected a whole number, at least 1"
    ):
        M2(decoder_dims=(0,), **sizes)

import copy
import pickle
from dataclasses import replace

import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from torch.nn import functional as F

from pyro_ssl.data import SSLData
from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.infer import FitConfig, Objective, RaoBlackwell_ELBO, StaticEnum_ELBO, fit, load_model
from pyro_ssl.models import M1M2, VAE, LatentM2, active_latents, posteriors
from pyro_ssl.models.rows import Batch
from tests import oracle
from tests.infer.problems import STEADY, blobs

WEIGHT = 3.5
M1 = {"input_shape": (1, 2, 3), "latent_dim": 3, "hidden_dims": (5,)}
M2_OPTIONS = oracle.PLAIN | {
    "num_classes": 4,
    "latent_dim": 2,
    "hidden_dims": (5,),
    "alpha": WEIGHT,
}
YS = [None, [0, 3, 1, 1, 2], [2, -1, 0, -1, -1], [1, 3, -1, -1, -1]]


def far_from_flat(model):
    # Away from its initial values every density is far from flat.
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    return model.double()


def make(active=(0, 2), m1=None, **options) -> M1M2:
    torch.manual_seed(1)
    return far_from_flat(M1M2(m1=M1 | (m1 or {}), active=active, **M2_OPTIONS | options))


def make_latent(**options) -> LatentM2:
    torch.manual_seed(1)
    return far_from_flat(LatentM2(3, **M2_OPTIONS | options))


@pytest.fixture
def xs() -> torch.Tensor:
    return torch.rand(5, 1, 2, 3).bernoulli().double()


@pytest.fixture
def latents() -> torch.Tensor:
    """Posteriors of three latents, as `LatentM2` takes them."""
    return torch.stack([2 * torch.randn(5, 3), 0.2 + torch.rand(5, 3)], 1).double()


@pytest.fixture(params=[TraceEnum_ELBO, StaticEnum_ELBO])
def elbo(request):
    return request.param(max_plate_nesting=1)


def below(model, xs, z1):
    """What M1 and the latents that M2 does not see contribute, `[B]`; z1 a draw of the run."""
    if isinstance(model, M1M2):
        loc, scale = oracle.vae_posterior(model.vae, xs)
    else:
        loc, scale = xs[:, 0], xs[:, 1]
    z1 = loc + scale * ((z1 - loc) / scale).detach()
    found = -oracle.normal_log_prob(z1, loc, scale)
    if isinstance(model, M1M2):
        found = found + oracle.vae_log_px(model.vae, xs, z1)
        inactive = [d for d in range(z1.shape[1]) if d not in model.active]
        found = found + oracle.normal_log_prob(z1[:, inactive], 0.0, 1.0)
        z1 = z1[:, list(model.active)]
    return found, z1


def parts(xs, ys):
    """Yield each kind of rows that a call has, and where they are."""
    ys = torch.full((len(xs),), -1) if ys is None else ys
    for part, mask in (("labelled", ys >= 0), ("unlabelled", ys < 0)):
        if mask.any():
            yield part, mask


def by_hand(model, xs, ys, trace, lower=True):
    """The loss and the latents it was evaluated at, each part spelled out."""
    total = 0.0
    for part, mask in parts(xs, ys):
        prefix = f"{part}/" if f"{part}/z1" in trace.nodes else ""
        z1, z2 = (trace.nodes[prefix + name]["value"] for name in ("z1", "z2"))
        rest, kept = below(model, xs[mask], z1)
        if not lower:
            rest, kept = 0.0, kept.detach()
        known = ys[mask] if part == "labelled" else None
        upper = oracle.latent_part(model, kept, known, z2, model.alpha)
        total = total - (rest + upper).sum()
    return total


def call(xs, ys):
    """A call's batch; rows that have the labels in front are promised to."""
    if ys is None:
        return Batch(xs)
    return Batch(xs, torch.tensor(ys), 2 if ys[2:] == [-1] * 3 else None)


@pytest.mark.parametrize("ys", YS)
@pytest.mark.parametrize(
    ("active", "likelihood"),
    [((0, 2), "bernoulli"), ((2, 0), "gaussian"), (None, "bernoulli"), ((2, 0, 1), "bernoulli")],
)
def test_elbo_and_gradients_of_both_layers_equal_a_loop_over_classes(
    xs, elbo, active, likelihood, ys
):
    model = make(active, m1={"likelihood": likelihood}, train_m1=True)
    batch = call(xs, ys)
    loss, trace = oracle.run(model, elbo, batch)
    wanted = by_hand(model, xs, batch.ys, trace)
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    gradients = oracle.gradients(loss, model)
    oracle.assert_same(gradients, oracle.gradients(wanted, model))
    assert {n.partition(".")[0] for n, g in gradients.items() if (g != 0).any()} == {
        "vae", "encoder", "decoder", "classifier"
    }  # fmt: skip


@pytest.mark.parametrize("ys", YS)
def test_elbo_and_gradients_on_posteriors_equal_a_loop_over_classes(latents, elbo, ys):
    model, batch = make_latent(), call(latents, ys)
    loss, trace = oracle.run(model, elbo, batch)
    wanted = by_hand(model, latents, batch.ys, trace)
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


@pytest.mark.parametrize("ys", YS)
def test_a_frozen_m1_leaves_the_gradients_of_an_m2_on_draws(xs, ys):
    model = make(m1={"batch_norm": True}).train()
    before = {k: v.clone() for k, v in model.vae.state_dict().items()}
    batch = call(xs, ys)
    loss, trace = oracle.run(model, model.make_elbo(), batch)
    wanted = by_hand(model, xs, batch.ys, trace, lower=False)
    gradients = oracle.gradients(loss, model)
    assert {n.partition(".")[0] for n in gradients} == {"encoder", "decoder", "classifier"}
    oracle.assert_same(gradients, oracle.gradients(wanted, model))
    model.make_elbo().loss_and_grads(model.model, model.guide, batch)
    assert all(p.grad is None for p in model.vae.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.vae.state_dict().items())


@pytest.mark.parametrize("ys", YS)
def test_both_ways_of_stacked_training_make_the_same_steps(xs, ys):
    upper, vae = make_latent(), far_from_flat(VAE(**M1))
    whole, batch = M1M2.on(vae, upper), call(xs, ys)
    torch.manual_seed(7)
    loss, trace = oracle.run(whole, whole.make_elbo(), batch)
    torch.manual_seed(7)
    inputs = posteriors(vae, xs, whole.active)
    alone, _ = oracle.run(upper, upper.make_elbo(), replace(batch, xs=inputs))
    for part, mask in parts(xs, batch.ys):
        name = f"{part}/z1" if f"{part}/z1" in trace.nodes else "z1"
        alone = alone - oracle.vae_log_px(vae, xs[mask], trace.nodes[name]["value"]).sum()
    torch.testing.assert_close(loss, alone, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, whole), oracle.gradients(alone, upper))


def test_classification_gradient_is_plain_autograds_down_to_m1(xs, elbo):
    model, ys = make(train_m1=True), torch.tensor([0, 3, 1, 1, 2])
    found = []
    for model.alpha in (0.0, WEIGHT):
        torch.manual_seed(4)
        loss, trace = oracle.run(model, elbo, xs, ys)
        found.append(oracle.gradients(loss, model))
    loc, scale = oracle.vae_posterior(model.vae, xs)
    z1 = loc + scale * oracle.vae_noise(model.vae, xs, trace.nodes["z1"]["value"])
    cross_entropy = F.cross_entropy(model.classifier(z1[:, [0, 2]]), ys, reduction="sum")
    plain = oracle.gradients(WEIGHT * cross_entropy, model)
    oracle.assert_same({n: found[1][n] - g for n, g in found[0].items()}, plain)
    for part in ("classifier", "vae.encoder"):
        assert any((g.abs() > 1e-2).any() for n, g in plain.items() if n.startswith(part))
    # Nothing else in the objective of labelled rows reaches the classifier.
    assert all((g == 0).all() for n, g in found[0].items() if n.startswith("classifier"))


@pytest.mark.parametrize("called", ["just made", "train()", "a copy"])
@pytest.mark.parametrize("train_m1", [False, True])
def test_statistics_of_m1_move_only_if_it_is_trained(xs, train_m1, called):
    model = make(m1={"batch_norm": True}, train_m1=train_m1)
    if called == "train()":
        model.train()
    elif called == "a copy":
        model = copy.deepcopy(M1M2.on(model.vae, make_latent(), train_m1=train_m1))
    assert model.training
    before = {k: v.clone() for k, v in model.vae.named_buffers()}
    oracle.run(model, model.make_elbo(), xs)
    assert len(before) == 6
    for name, buffer in model.vae.named_buffers():
        assert torch.equal(before[name], buffer) != train_m1
    assert model.vae.training == train_m1


def test_copies_keep_m1_frozen():
    model = make()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert {n for n, p in twin.named_parameters() if not p.requires_grad} == {
            f"vae.{n}" for n, _ in model.vae.named_parameters()
        }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layers_trained_apart_are_put_together_as_copies(dtype):
    torch.manual_seed(3)
    vae = VAE(**M1, batch_norm=True, likelihood="gaussian").to(dtype)
    upper = LatentM2(2, **M2_OPTIONS | {"batch_norm": True}, num_summed=2).to(dtype)
    with torch.no_grad():
        # Thirds are exact in no precision.
        for tensor in (*vae.state_dict().values(), *upper.state_dict().values()):
            if tensor.is_floating_point():
                tensor.add_(1 / 3)
    model = M1M2.on(vae, upper, active=(2, 0))
    layers = {f"vae.{k}": v for k, v in vae.state_dict().items()} | upper.state_dict()
    before = {k: v.clone() for k, v in layers.items()}
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert model.options == M2_OPTIONS | {
        "m1": vae.options,
        "active": (2, 0),
        "train_m1": False,
        "activation": "relu",
        "batch_norm": True,
        "input_dropout": 0.0,
        "num_summed": 2,
        "label_prior": "uniform",
    }
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[k], v) for k, v in layers.items())
    assert all(p.requires_grad for p in vae.parameters())


def test_predictions_are_made_at_the_mean_of_z1_by_running_statistics(xs):
    model = make(m1={"batch_norm": True}, batch_norm=True, input_dropout=0.5, train_m1=True)
    for norm in (model.vae.encoder.norms[0], model.classifier.norms[0]):
        norm.running_mean.normal_()
    model.train()
    proba = model.predict_proba(xs)
    assert all(m.training for m in model.modules())
    assert all(int(b) == 0 for n, b in model.named_buffers() if n.endswith("tracked"))
    model.eval()
    loc, _ = oracle.vae_posterior(model.vae, xs)
    torch.testing.assert_close(proba, model.classifier(loc[:, [0, 2]]).softmax(-1))
    posterior = posteriors(model.vae, xs, (0, 2))
    upper = LatentM2(2, **M2_OPTIONS | {"batch_norm": True}).double().eval()
    upper.load_state_dict({k: v for k, v in model.state_dict().items() if "vae" not in k})
    torch.testing.assert_close(upper.predict_proba(posterior), proba)


def test_predictions_take_any_real_numbers_where_m1_does(xs):
    model = make(m1={"likelihood": "gaussian"})
    proba = model.predict_proba(5 * (xs - 0.5))
    loc, _ = oracle.vae_posterior(model.vae, 5 * (xs - 0.5))
    torch.testing.assert_close(proba, model.classifier(loc[:, [0, 2]]).softmax(-1))


@pytest.mark.parametrize("active", [(0, 2), (2, 0), (2, 0, 1)])
def test_encode_decode_and_sample_go_through_both_layers(xs, active):
    model, ys = make(active), torch.tensor([0, 3, 1, 1, 2])
    kept = oracle.vae_posterior(model.vae, xs)[0][:, list(active)]
    torch.testing.assert_close(model.encode(xs, ys), oracle.latent_posterior(model, kept, ys))
    likeliest = model.predict_proba(xs).argmax(-1)
    torch.testing.assert_close(model.encode(xs), model.encode(xs, likeliest))
    zs = torch.randn(5, 2).double()
    means = torch.zeros(5, 3).double()
    for place, number in enumerate(active):
        means[:, number] = model.decoder(zs, ys)[:, place]
    by_hand = model.vae.decoder(means).sigmoid().view(5, 1, 2, 3)
    torch.testing.assert_close(model.decode(zs, ys), by_hand)
    torch.manual_seed(5)
    drawn = model.sample(ys)
    torch.manual_seed(5)
    torch.testing.assert_close(drawn, model.decode(torch.randn(5, 2, dtype=torch.float64), ys))


def test_active_latents_are_those_whose_means_vary():
    vae = VAE((4,), latent_dim=4, hidden_dims=(), likelihood="gaussian")
    weight = torch.zeros(8, 4)
    # Means of standard deviation 1, 0, 0.05 and 0.2; the second is constant, but not 0, and
    # the scales, the last four outputs, vary far more than any mean.
    weight[0, 0], weight[2, 1], weight[3, 2], weight[4:] = 1.0, 0.05, 0.2, 3.0
    vae.encoder.layers[0].weight.data = weight
    vae.encoder.layers[0].bias.data = torch.tensor([0.0, 9.0, 0.0, 0.0] + 4 * [0.0])
    # All of the first ten thousand rows are alike, and so are the others: what varies is
    # between the chunks in which rows are encoded.
    xs = torch.ones(20_000, 4)
    xs[10_000:] = -1.0
    spread = torch.tensor([1.0, 0.0, 0.05, 0.2])
    torch.testing.assert_close(vae.encode(xs)[0].std(0), spread, atol=1e-4, rtol=0)
    assert active_latents(vae, xs) == (0, 3)
    assert active_latents(vae, xs, threshold=0.01) == (0, 2, 3)
    assert active_latents(vae, xs, threshold=0.3) == (0,)
    found = posteriors(vae, xs, (3, 0))
    torch.testing.assert_close(found, torch.stack(vae.encode(xs), 1)[..., [3, 0]])
    assert posteriors(vae, xs[:0], (3, 0)).shape == (0, 2, 2)


@pytest.mark.parametrize("active", [(), (0, 0), (0, 3), (-1,)])
def test_latents_that_cannot_be_kept_are_named(active):
    with pytest.raises(ConfigError, match=r"active is .*, expected different numbers in 0\.\.2"):
        M1M2(m1=M1, active=active)


@pytest.mark.parametrize(
    "options",
    [
        {"latent_dim": 0},
        {"hidden_dims": (3, 0)},
        {"alpha": -1.0},
        {"alpha": float("nan")},
        {"num_summed": 0},
        {"input_dropout": 1.0},
        {"activation": "sine"},
    ],
)
def test_options_that_cannot_work_are_named(options):
    for build in (lambda: M1M2(m1=M1, **options), lambda: LatentM2(3, **options)):
        with pytest.raises(ConfigError, match=rf"{next(iter(options))}(\[1\])? is "):
            build()
    with pytest.raises(ConfigError, match="likelihood is "):
        M1M2(m1=M1 | {"likelihood": "gauss"})


def test_orders_that_rule_out_a_closed_form_are_named(xs):
    model, elbo = make(), StaticEnum_ELBO(closed_form_kl=True)
    for ys, says in ((None, "z1, y, z2, the model in the order y, z2, z1"), ([0] * 5, "z1, z2, ")):
        with pytest.raises(ConfigError, match=f"order {says}"):
            oracle.run(model, elbo, xs, ys if ys is None else torch.tensor(ys))


def test_num_summed_gives_an_elbo_that_is_unbiased_for_the_sum(xs, monkeypatch):
    assert type(make().make_elbo()) is StaticEnum_ELBO
    model, xs = make(num_summed=1, train_m1=True), xs[:2]
    elbo = model.make_elbo()
    assert isinstance(elbo, RaoBlackwell_ELBO)
    assert elbo.num_summed == 1
    # Without the latents' noise the sum is exact, and all of the spread the label's.
    monkeypatch.setattr(
        "torch.distributions.normal._standard_normal",
        lambda shape, dtype, device: torch.zeros(shape, dtype=dtype, device=device),
    )

    def one(elbo):
        loss, _ = oracle.run(model, elbo, xs)
        gradients = oracle.gradients(loss, model).values()
        return torch.cat([loss.detach()[None], *(g.flatten() for g in gradients)])

    exact = one(StaticEnum_ELBO())
    drawn = torch.stack([one(elbo) for _ in range(800)])
    error = drawn.std(0) / 800**0.5
    moving = error > 1e-9
    assert moving.sum() > 100
    torch.testing.assert_close(drawn.mean(0)[~moving], exact[~moving])
    z = ((drawn.mean(0) - exact) / error)[moving].abs()
    # Three standard errors; of some hundred correlated figures chance puts a few beyond.
    assert z[0] < 3
    assert (z < 3).double().mean() > 0.98
    assert z.max() < 4


UPPER = oracle.UNREGULARISED | {
    "num_classes": 3,
    "latent_dim": 2,
    "hidden_dims": (16,),
    "alpha": 0.5,
}
CONFIG = FitConfig(epochs=20, batch_size=36, learning_rate=0.01, compile="never", **STEADY)


def fitted_m1(data, epochs=40) -> VAE:
    torch.manual_seed(0)
    vae = VAE((1, 4, 4), latent_dim=4, hidden_dims=(16,), batch_norm=True)
    rows = SSLData.unlabelled(torch.cat([data.labelled_xs, data.unlabelled_xs]))
    fit(vae, rows, replace(CONFIG, epochs=epochs))
    return vae


def on_posteriors(vae: VAE, data: SSLData, active) -> SSLData:
    found = {
        f"{part}_xs": posteriors(vae, getattr(data, f"{part}_xs"), active)
        for part in ("labelled", "unlabelled", "validation")
    }
    return replace(data, **found, real_valued=True)


def test_layers_train_one_after_the_other_and_are_saved_as_one(tmp_path):
    data = blobs()
    vae = fitted_m1(data)
    active = active_latents(vae, data.unlabelled_xs)
    assert active
    torch.manual_seed(1)
    upper = LatentM2(len(active), **UPPER)
    history = fit(upper, on_posteriors(vae, data, active), replace(CONFIG, binarise=False))
    frame = history.to_frame()
    assert frame["validation_accuracy"].max() > 0.9
    assert frame["unlabelled_elbo"].iloc[-3:].mean() > frame["unlabelled_elbo"].iloc[:3].mean()

    stacked = M1M2.on(vae, upper, active)
    best = stacked.predict_proba(data.validation_xs).argmax(-1) == data.validation_ys
    assert best.float().mean().item() == pytest.approx(frame["validation_accuracy"].max())
    path = tmp_path / "run.pt"
    before = {k: v.clone() for k, v in stacked.vae.state_dict().items()}
    fit(stacked, data, CONFIG, checkpoint=path)
    assert all(torch.equal(before[k], v) for k, v in stacked.vae.state_dict().items())
    loaded = load_model(path)
    assert loaded.options == stacked.options
    assert loaded.m1["batch_norm"]
    assert not any(p.requires_grad for p in loaded.vae.parameters())
    xs = data.validation_xs
    assert torch.equal(loaded.predict_proba(xs), stacked.predict_proba(xs))
    assert torch.equal(loaded.vae.encode(xs)[1], stacked.vae.encode(xs)[1])


def test_both_layers_train_at_once_from_scratch_and_resume_bit_for_bit(tmp_path):
    def fresh(**options):
        torch.manual_seed(0)
        m1 = {"input_shape": (1, 4, 4), "latent_dim": 4, "hidden_dims": (16,), "batch_norm": True}
        return M1M2(m1=m1, train_m1=True, **UPPER | options)

    config, path = replace(CONFIG, epochs=40, keep_best=False), tmp_path / "run.pt"
    never_stopped = fresh()
    frame = fit(never_stopped, blobs(), config).to_frame()
    assert frame["validation_accuracy"].iloc[-1] > 0.9
    assert frame["unlabelled_elbo"].iloc[-3:].mean() > frame["unlabelled_elbo"].iloc[:3].mean() + 1
    fit(fresh(), blobs(), replace(config, epochs=3), checkpoint=path)
    resumed = fresh()
    fit(resumed, blobs(), config, checkpoint=path, resume=True)
    pairs = zip(resumed.state_dict().values(), never_stopped.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    with pytest.raises(CheckpointError, match=r"active \(\(0, 1, 2, 3\) then, \(3, 0\) now\)"):
        fit(fresh(active=(3, 0)), blobs(), config, checkpoint=path, resume=True)


def test_terms_of_both_layers_add_up_to_the_bound(xs):
    model = make()
    objective = Objective(model, 20, 300)
    torch.manual_seed(4)
    loss, terms = objective(Batch(xs, torch.tensor([1, 3, -1, -1, -1]), 2))
    for part, known in (("labelled", True), ("unlabelled", False)):
        whole = terms[f"{part}_log_prob_x"] - terms[f"{part}_kl_z1"] - terms[f"{part}_kl_z2"]
        whole += terms[f"{part}_log_prob_y"] if known else -terms[f"{part}_kl_y"]
        torch.testing.assert_close(terms[f"{part}_elbo"], whole)
    weighted = -(20 * terms["labelled_elbo"] + 300 * terms["unlabelled_elbo"]) / 320
    weighted += WEIGHT * terms["classification"]
    torch.testing.assert_close(loss.detach(), weighted)

"""Models of rows that end in covariates: p(x|y,z,c), q(y|x,c), q(z|x,y,c)."""

import math

import numpy as np
import pytest
import torch
from pyro.infer import Predictive, TraceEnum_ELBO
from torch.nn import functional as F

from pyro_ssl.data import SSLData, draw_cells
from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import FitConfig, fit, load_model, save_model
from pyro_ssl.likelihoods import (
    Categorical,
    Conditional,
    Gaussian,
    GeneCounts,
    Mixed,
)
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import M1M2, M2, VAE, GeneratorVAE, SSLModel
from tests import oracle
from tests.likelihoods.table import codes, counts, normal
from tests.models.test_any_likelihood import CCVAE_SIZES, M2_SIZES, MODELS, UPPER, YS, labels
from tests.models.test_m2 import class_noise

BATCHES, CLASSES = 2, 3
# Rows of three values and the code of a batch: four columns, as the models' table has them.
REAL = Conditional(Gaussian(per="dimension"), (Categorical(BATCHES),))
GENES = Conditional(GeneCounts(target=20.0), (Categorical(BATCHES),))
TABLE = Conditional(Mixed((Gaussian(per="dimension"), Categorical(3))), (Categorical(BATCHES),))
SIZES = M2_SIZES | {"alpha": 2.0}


def batches(number):
    return codes(BATCHES)((number, 1))


def real_rows(number):
    return torch.cat([normal((number, 3)), batches(number)], -1)


def gene_rows(number):
    sizes = 10 * torch.rand(number, 1, dtype=torch.float64) + 5
    return torch.cat([counts((number, 2)), sizes, batches(number)], -1)


def far_from_flat(model):
    for parameter in model.parameters():
        parameter.data.mul_(1.5).add_(0.2 * torch.randn_like(parameter))
    return model.double()


def indicator(xs):
    return F.one_hot(xs[:, 3].long(), BATCHES).double()


def log_px_by_hand(model, xs, outputs):
    """log p(x|.) of the values alone, by torch's own densities."""
    raw = model.likelihood_parameters
    if model.likelihood == REAL:
        scale = model.likelihood.likelihood.min_scale + F.softplus(raw)
        return torch.distributions.Normal(outputs, scale).log_prob(xs[:, :3]).sum(-1)
    shares = outputs.exp() / outputs.exp().sum(-1, keepdim=True)
    r = 1e-3 + F.softplus(raw)
    logits = (xs[:, 2:3] * shares / r).log()
    return torch.distributions.NegativeBinomial(r, logits=logits).log_prob(xs[:, :2]).sum(-1)


def labelled_bound_by_hand(model, xs, ys, eps):
    """-L(x, y) given c: encoder and decoder see the batch as an indicator."""
    if model.likelihood == REAL:
        features = torch.cat([xs[:, :3], indicator(xs)], -1)
    else:
        features = torch.cat([(20 * xs[:, :2] / xs[:, 2:3]).log1p(), indicator(xs)], -1)
    loc, raw = model.encoder(features, ys).chunk(2, -1)
    scale = F.softplus(raw) + 1e-4
    zs = loc + scale * eps
    outputs = model.decoder(torch.cat([zs, indicator(xs)], -1), ys)
    kl = oracle.normal_log_prob(zs, loc, scale) - oracle.normal_log_prob(zs, 0.0, 1.0)
    return log_px_by_hand(model, xs, outputs) - math.log(CLASSES) - kl


@pytest.mark.parametrize(("likelihood", "draw"), [(REAL, real_rows), (GENES, gene_rows)])
@pytest.mark.parametrize("elbo", [TraceEnum_ELBO, StaticEnum_ELBO])
@pytest.mark.parametrize("chunk", [None, 2])
def test_m2s_objective_and_gradients_equal_the_sum_by_hand(likelihood, draw, elbo, chunk):
    torch.manual_seed(0)
    model = far_from_flat(M2(likelihood=likelihood, class_chunk=chunk, **SIZES))
    xs = draw(6)
    loss, trace = oracle.run(model, elbo(max_plate_nesting=1), xs, YS)
    wanted = 0.0
    for prefix, mask in oracle.parts(xs, YS):
        zs, rows, ys = trace.nodes[prefix + "z"]["value"], xs[mask], YS[mask]
        if ys[0] >= 0:
            eps = oracle.noise(model, rows, ys, zs)
            bound = labelled_bound_by_hand(model, rows, ys, eps)
            wanted = wanted - (bound - 2.0 * oracle.classification(model, rows, ys)).sum()
            continue
        eps = class_noise(model, rows, zs)
        log_q = model.classifier(oracle.seen(model, rows)).log_softmax(-1)
        for k in range(CLASSES):
            bound = labelled_bound_by_hand(model, rows, torch.full((len(rows),), k), eps[k])
            wanted = wanted - (log_q[:, k].exp() * (bound - log_q[:, k])).sum()
    torch.testing.assert_close(loss, wanted, atol=1e-8, rtol=1e-8)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


def test_vaes_objective_equals_the_formula():
    torch.manual_seed(0)
    model = far_from_flat(VAE((4,), latent_dim=2, hidden_dims=(5,), likelihood=REAL))
    xs = real_rows(6)
    loss, trace = oracle.run(model, model.make_elbo(), xs)
    zs = trace.nodes["z"]["value"]
    loc, raw = model.encoder(torch.cat([xs[:, :3], indicator(xs)], -1)).chunk(2, -1)
    scale = F.softplus(raw) + 1e-4
    zs = loc + scale * ((zs - loc) / scale).detach()
    outputs = model.decoder(torch.cat([zs, indicator(xs)], -1))
    wanted = oracle.normal_kl(loc, scale) - log_px_by_hand(model, xs, outputs)
    torch.testing.assert_close(loss, wanted.sum(), atol=1e-8, rtol=1e-8)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted.sum(), model))


def fold_in(network, inputs, conditions):
    """Let a first layer without covariates do what one with constant covariates does."""
    first = network.layers[0]
    linear = getattr(first, "linear", first)
    weight, bias = linear.weight.data, linear.bias.data
    return weight[:, :inputs], bias + weight[:, inputs:] @ conditions


@pytest.mark.parametrize("name", ["M2", "VAE", "CCVAE", "M1M2"])
def test_with_a_constant_covariate_the_objective_is_that_without(name):
    torch.manual_seed(0)
    with_batch, without = far_from_flat(MODELS[name](REAL)), None
    plain = {"likelihood": REAL.likelihood, "input_shape": (3,)}
    if name == "M2":
        without = M2(**M2_SIZES | plain)
    elif name == "VAE":
        without = VAE(latent_dim=2, hidden_dims=(5,), **plain)
    elif name == "CCVAE":
        without = type(with_batch)(num_samples=5, **CCVAE_SIZES | plain)
    else:
        lower = {"latent_dim": 2, "hidden_dims": (5,)} | plain
        without = M1M2(lower, train_m1=True, **UPPER)
    without = without.double()
    state = {k: v.clone() for k, v in with_batch.state_dict().items()}
    lower = with_batch.vae if name == "M1M2" else with_batch
    head = "vae." if name == "M1M2" else ""
    seen = torch.tensor([0.0, 1.0]).double()
    for part, inputs in (("encoder", 3), ("classifier", 3), ("decoder", None)):
        network = getattr(lower, part, None)
        if network is None:
            continue
        first = getattr(network.layers[0], "linear", network.layers[0])
        inputs = first.in_features - BATCHES if inputs is None else inputs
        at = f"{head}{part}.layers.0." + ("linear." if first is not network.layers[0] else "")
        state[at + "weight"], state[at + "bias"] = fold_in(network, inputs, seen)
    without.load_state_dict(state)
    xs = torch.cat([normal((6, 3)), torch.ones(6, 1).double()], -1)
    args = () if name == "VAE" else (YS,)
    losses = []
    for model, rows in ((with_batch, xs), (without, xs[:, :3])):
        torch.manual_seed(3)
        losses.append(oracle.run(model, model.make_elbo(), rows, *args)[0])
    torch.testing.assert_close(losses[0], losses[1], atol=1e-9, rtol=1e-9)


def test_decoding_for_another_batch_changes_the_values_only_through_the_batch():
    torch.manual_seed(0)
    model = far_from_flat(M2(likelihood=GENES, **SIZES))
    zs, ys = normal((5, 2)), torch.arange(5) % CLASSES
    given = torch.tensor([[7.0, 0.0]]).double().expand(5, 2)
    other, larger = given.clone(), given.clone()
    other[:, 1], larger[:, 0] = 1.0, 14.0
    first, second, third = (model.decode(zs, ys, c) for c in (given, other, larger))
    assert (first[:, :2] - second[:, :2]).abs().max() > 1e-3
    torch.testing.assert_close(second[:, 2:], other)
    # A cell of twice as many counts has twice the means, of the same batch and latents.
    torch.testing.assert_close(third[:, :2], 2 * first[:, :2])
    outputs = model.decoder(torch.cat([zs, indicator(second.new_ones(5, 4))], -1), ys)
    torch.testing.assert_close(second[:, :2], 7 * outputs.softmax(-1).detach())
    # Without the weights of the batch in the decoder, the batch makes no difference.
    model.decoder.layers[0].linear.weight.data[:, 2:] = 0
    torch.testing.assert_close(
        model.decode(zs, ys, given)[:, :2], model.decode(zs, ys, other)[:, :2]
    )


def test_the_effect_of_a_batch_is_found():
    """Of cells drawn with a factor for each gene and batch: these factors, in every type."""
    drawn = draw_cells(600, 40, types=3, seed=0)
    columns = drawn.counts, drawn.counts.sum(1), drawn.batches
    xs = torch.from_numpy(np.column_stack(columns)).float()
    ys = torch.from_numpy(drawn.types).clone()
    ys[60:] = -1
    likelihood = Conditional(GeneCounts(target=400.0), (Categorical(2),))
    sizes = {"latent_dim": 4, "hidden_dims": (32,), "decoder_dims": (), "likelihood": likelihood}
    torch.manual_seed(0)
    model = M2((42,), 3, **oracle.PLAIN | sizes)
    config = FitConfig(
        epochs=25, batch_size=60, learning_rate=0.02, binarise=False, compile="never"
    )
    fit(model, SSLData.from_arrays(xs, ys, 3, real_valued=True), config)
    zs, labels = torch.zeros(3, 4), torch.arange(3)
    given = (torch.tensor([[1.0, batch]]).expand(3, 2) for batch in (0.0, 1.0))
    first, second = (model.decode(zs, labels, c)[:, :40].log() for c in given)
    found, truth = (second - first).numpy(), np.log(drawn.shares[:, 1] / drawn.shares[:, 0])
    # Factors are known up to one that all genes have in common.
    found -= found.mean(1, keepdims=True)
    truth -= truth.mean(1, keepdims=True)
    assert truth.std() > 0.6
    assert np.abs(found - truth).mean() < 0.12


def test_the_classifier_sees_the_batch():
    torch.manual_seed(0)
    model = far_from_flat(M2(likelihood=REAL, **SIZES))
    xs = real_rows(6)
    other = torch.cat([xs[:, :3], 1 - xs[:, 3:]], -1)
    assert (model.predict_proba(xs) - model.predict_proba(other)).abs().max() > 1e-3


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("likelihood", "draw"), [(REAL, real_rows), (GENES, gene_rows)])
def test_every_model_trains_samples_and_bounds_with_covariates(name, likelihood, draw):
    torch.manual_seed(1)
    model = MODELS[name](likelihood)
    xs, ys = draw(12).float(), torch.arange(12) % CLASSES
    ys[6:] = -1
    real = getattr(model, "real_labels", False)
    data = SSLData.from_arrays(xs, labels(model, ys), CLASSES, real_valued=True, real_labels=real)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    history = fit(model, data, FitConfig(epochs=2, batch_size=6, binarise=False, compile="never"))
    assert all(math.isfinite(v) for row in history.rows for v in row.values())
    first = next(n for n in before if "decoder.layers.0" in n and n.endswith("weight")
                 and (not isinstance(model, M1M2) or n.startswith("vae")))  # fmt: skip
    # The columns of the batch, which are the last.
    moved = (dict(model.named_parameters())[first] - before[first])[:, -BATCHES:]
    assert (moved.abs() > 0).any()
    width = likelihood.num_covariates
    given = xs[:4, -width:]
    if isinstance(model, SSLModel) or real:
        drawn = model.sample(labels(model, YS[:4]).abs(), given)
    else:
        drawn = model.sample(4, given)
    torch.testing.assert_close(drawn[:, -width:], given)
    assert torch.isfinite(drawn).all()
    if name not in ("Autoencoder",):
        assert torch.isfinite(importance_weighted_bound(model, xs, 3)).all()
    if name == "M2":
        found = Predictive(model.model, guide=model.guide, num_samples=2)(xs)
        assert found["z"].shape[-1] == 2
    with pytest.raises(ConfigError, match=r"covariates is None, but Conditional conditions on"):
        model.decode(*_latents(model))


def _latents(model):
    if isinstance(model, VAE):
        return (torch.zeros(2, model.latent_dim),)
    if hasattr(model, "style_dim"):
        return (torch.zeros(2, CLASSES + model.style_dim),)
    ys = torch.zeros(2, dtype=torch.long)
    plain = not getattr(model, "multi_label", False) and not getattr(model, "real_labels", False)
    return torch.zeros(2, model.latent_dim), ys if plain else labels(model, ys).float()


def test_covariates_where_there_are_none_and_models_that_take_none_are_refused():
    model = M2(**M2_SIZES)
    with pytest.raises(ConfigError, match=r"covariates were given, but Bernoulli\(\) has none"):
        model.decode(torch.zeros(2, 2), torch.tensor([0, 1]), torch.zeros(2, 1))

    class Own(SSLModel):
        def __init__(self):
            super().__init__((4,), 3)
            self._set_likelihood(REAL)

    with pytest.raises(ConfigError, match="but Own's decoder sees no covariates"):
        Own()
    assert not GeneratorVAE.takes_covariates


def test_checkpoints_bring_a_conditional_model_back(tmp_path):
    torch.manual_seed(0)
    model = M2(likelihood=GENES, **SIZES)
    save_model(model, tmp_path / "model.pt")
    again = load_model(tmp_path / "model.pt")
    assert again.likelihood == GENES
    xs = gene_rows(6).float()
    torch.testing.assert_close(again.predict_proba(xs), model.predict_proba(xs))

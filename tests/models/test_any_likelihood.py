"""Every model with a p(x|.), with every likelihood."""

import math
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO, TraceEnum_ELBO
from torch.nn import functional as F

from pyro_ssl.data import SSLData
from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.errors import CheckpointError, ConfigError, DataError
from pyro_ssl.infer import FitConfig, fit, load_model, save_model
from pyro_ssl.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    Laplace,
    Likelihood,
    LogNormal,
    Mixed,
    Multinomial,
    NegativeBinomial,
    Ordinal,
    Poisson,
    StudentT,
)
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import (
    ADGM,
    CCVAE,
    M1M2,
    M2,
    SDGM,
    VAE,
    ApproxM2,
    Autoencoder,
    GumbelSoftmaxM2,
    LeaveOneOutM2,
    LogGamma,
    LogisticNormal,
    LogisticNormalM2,
    MultiLabelCCVAE,
    MultiLabelM2,
    RaoBlackwellM2,
    RegressionM2,
)
from tests import oracle
from tests.infer.problems import STEADY
from tests.likelihoods.table import binary, codes, counts, fractions, normal, positive
from tests.models.test_m2 import class_noise

# Rows of four values; of a table's columns no two of a family are side by side.
SHAPE, CLASSES = (4,), 3
MIXED = Mixed((Gaussian(per="dimension"), Categorical(3), LogNormal(), NegativeBinomial()))


def table(shape):
    draws = (normal, codes(3), positive, counts)
    xs = torch.cat([draw((*shape[:-1], 1)) for draw in draws], -1)
    gaps = torch.rand(xs.shape) < 0.3
    gaps[0] = True
    return torch.where(gaps, math.nan, xs)


LIKELIHOODS = {
    "bernoulli": (Bernoulli(), binary),
    "laplace": (Laplace(0.3), fractions),
    "gaussian": (Gaussian(min_scale=0.1), normal),
    "gaussian_fixed": (Gaussian(0.7), normal),
    "gaussian_dimension": (Gaussian(per="dimension"), normal),
    "gaussian_all": (Gaussian(per="all"), normal),
    "student_t": (StudentT(df=3), normal),
    "student_t_learned": (StudentT(df=None, per="all"), normal),
    "log_normal": (LogNormal(), positive),
    "poisson": (Poisson(), counts),
    "negative_binomial": (NegativeBinomial(), counts),
    "multinomial": (Multinomial(), counts),
    "categorical": (Categorical(3), codes(3)),
    "ordinal": (Ordinal(4), codes(4)),
    "mixed": (MIXED, table),
}
M2_SIZES = oracle.PLAIN | {
    "input_shape": SHAPE,
    "num_classes": CLASSES,
    "latent_dim": 2,
    "hidden_dims": (5,),
}
VAE_SIZES = {"input_shape": SHAPE, "latent_dim": 2, "hidden_dims": (5,)}
CCVAE_SIZES = {"input_shape": SHAPE, "num_classes": CLASSES, "style_dim": 2, "hidden_dims": (5,)}
AUXILIARY = VAE_SIZES | {"num_classes": CLASSES, "auxiliary_dim": 3, "num_samples": 2}
UPPER = oracle.PLAIN | {"num_classes": CLASSES, "latent_dim": 2, "hidden_dims": (5,)}
MODELS = {
    "M2": lambda p_x: M2(likelihood=p_x, **M2_SIZES),
    "M2 in chunks": lambda p_x: M2(likelihood=p_x, class_chunk=2, **M2_SIZES),
    "RaoBlackwellM2": lambda p_x: RaoBlackwellM2(likelihood=p_x, **M2_SIZES),
    "LeaveOneOutM2": lambda p_x: LeaveOneOutM2(likelihood=p_x, **M2_SIZES),
    "ApproxM2": lambda p_x: ApproxM2(baseline_dims=(5,), likelihood=p_x, **M2_SIZES),
    "GumbelSoftmaxM2": lambda p_x: GumbelSoftmaxM2(likelihood=p_x, **M2_SIZES),
    "LogisticNormalM2": lambda p_x: LogisticNormalM2(likelihood=p_x, **M2_SIZES),
    "LogisticNormal": lambda p_x: LogisticNormal(likelihood=p_x, **M2_SIZES),
    "LogGamma": lambda p_x: LogGamma(likelihood=p_x, **M2_SIZES),
    "MultiLabelM2": lambda p_x: MultiLabelM2(likelihood=p_x, **M2_SIZES),
    "CCVAE": lambda p_x: CCVAE(num_samples=5, likelihood=p_x, **CCVAE_SIZES),
    "MultiLabelCCVAE": lambda p_x: MultiLabelCCVAE(num_samples=5, likelihood=p_x, **CCVAE_SIZES),
    "M1M2": lambda p_x: M1M2(VAE_SIZES | {"likelihood": p_x}, train_m1=True, **UPPER),
    "ADGM": lambda p_x: ADGM(likelihood=p_x, **AUXILIARY),
    "SDGM": lambda p_x: SDGM(likelihood=p_x, num_summed=1, **AUXILIARY),
    "RegressionM2": lambda p_x: RegressionM2(likelihood=p_x, **VAE_SIZES),
    "VAE": lambda p_x: VAE(likelihood=p_x, **VAE_SIZES),
    "Autoencoder": lambda p_x: Autoencoder(likelihood=p_x, **VAE_SIZES),
}
YS = torch.tensor([2, 0, -1, -1, -1, -1])


@pytest.fixture(params=LIKELIHOODS)
def case(request):
    return LIKELIHOODS[request.param]


@pytest.fixture(params=MODELS)
def make(request):
    return MODELS[request.param]


def labels(model, ys):
    if getattr(model, "real_labels", False):
        return torch.where(ys < 0, torch.nan, ys - 0.5)
    if getattr(model, "multi_label", False):
        return torch.where(ys[:, None] < 0, -1, (ys[:, None] >> torch.arange(CLASSES)) & 1)
    return ys


def data_of(model, likelihood, draw, number=12):
    xs, ys = draw((number, *SHAPE)).float(), torch.arange(number) % CLASSES
    ys[number // 2 :] = -1
    kinds = {"real_valued": likelihood.takes_real_values, "missing": likelihood.takes_missing}
    kinds["real_labels"] = getattr(model, "real_labels", False)
    return SSLData.from_arrays(xs, labels(model, ys), CLASSES, **kinds)


def far_from_flat(model):
    for parameter in model.parameters():
        parameter.data.mul_(1.5).add_(0.2 * torch.randn_like(parameter))
    return model.double()


@pytest.mark.parametrize("elbo", [TraceEnum_ELBO, StaticEnum_ELBO])
@pytest.mark.parametrize("chunk", [None, 2])
def test_m2s_objective_and_gradients_equal_a_loop_over_classes(case, elbo, chunk):
    likelihood, draw = case
    model = far_from_flat(M2(likelihood=likelihood, class_chunk=chunk, **M2_SIZES | {"alpha": 2.0}))
    xs = draw((6, *SHAPE))
    loss, trace = oracle.run(model, elbo(max_plate_nesting=1), xs, YS)
    wanted = 0.0
    for prefix, mask in oracle.parts(xs, YS):
        zs, rows, ys = trace.nodes[prefix + "z"]["value"], xs[mask], YS[mask]
        if ys[0] < 0:
            eps = class_noise(model, rows, zs)
            wanted = wanted - oracle.unlabelled_bound(model, rows, eps).sum()
        else:
            eps = oracle.noise(model, rows, ys, zs)
            bound = oracle.labelled_bound(model, rows, ys, eps)
            wanted = wanted - (bound - 2.0 * oracle.classification(model, rows, ys)).sum()
    torch.testing.assert_close(loss, wanted, atol=1e-8, rtol=1e-8)
    gradients = oracle.gradients(loss, model)
    oracle.assert_same(gradients, oracle.gradients(wanted, model))
    if likelihood.num_shared(SHAPE):
        assert (gradients["likelihood_parameters"] != 0).all()


@pytest.mark.parametrize("cls", [VAE, Autoencoder])
def test_vaes_objective_and_gradients_equal_the_formula(case, cls):
    likelihood, draw = case
    model = far_from_flat(cls(likelihood=likelihood, **VAE_SIZES))
    xs = draw((6, *SHAPE))
    loss, trace = oracle.run(model, model.make_elbo(), xs)
    if cls is VAE:
        eps = oracle.vae_noise(model, xs, trace.nodes["z"]["value"])
        wanted = -oracle.vae_bound(model, xs, eps).sum()
    else:
        wanted = -oracle.vae_log_px(model, xs, oracle.vae_posterior(model, xs)[0]).sum()
    torch.testing.assert_close(loss, wanted, atol=1e-8, rtol=1e-8)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


def test_every_model_trains_with_every_likelihood(make, case):
    likelihood, draw = case
    torch.manual_seed(1)
    model = make(likelihood)
    data = data_of(model, likelihood, draw)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    history = fit(model, data, FitConfig(epochs=1, batch_size=6, binarise=False, compile="never"))
    assert all(math.isfinite(v) for row in history.rows for v in row.values())
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert [n for n in moved if "decoder" in n]
    assert all(torch.isfinite(p).all() for p in model.parameters())
    if likelihood.num_shared(SHAPE):
        assert {n for n in before if "likelihood_parameters" in n} <= moved
    xs = data.unlabelled_xs
    encoded = model.encode(xs)[0]
    assert torch.isfinite(encoded).all()
    generated = model.sample(4) if isinstance(model, VAE) else model.sample(labels(model, YS).abs())
    assert torch.isfinite(generated).all()
    # The mean of counts is no count.
    if draw is table:
        generated[:, 3] = generated[:, 3].round()
    likelihood.check(generated.round() if draw is counts else generated)


def test_decode_gives_the_likelihoods_mean(case):
    likelihood, _ = case
    model = far_from_flat(M2(likelihood=likelihood, **M2_SIZES))
    zs, ys = torch.randn(3, 2).double(), torch.tensor([0, 2, 1])
    outputs = model.decoder(zs, ys).detach()
    wanted = likelihood.mean(outputs, SHAPE, model.likelihood_parameters)
    torch.testing.assert_close(model.decode(zs, ys), wanted.detach())


def test_bounds_and_predictive_work(case):
    likelihood, draw = case
    torch.manual_seed(0)
    model = M2(likelihood=likelihood, **M2_SIZES)
    xs = draw((5, *SHAPE)).float()
    bounds = importance_weighted_bound(model, xs, 7)
    assert torch.isfinite(bounds).all()
    drawn = Predictive(model.model, guide=model.guide, num_samples=2)(xs)
    assert drawn["z"].shape[-1] == 2


@pytest.mark.parametrize(
    ("name", "family"),
    [("M2", family) for family in LIKELIHOODS]
    + [(n, f) for n in ("VAE", "CCVAE", "M1M2", "SDGM") for f in ("mixed", "student_t_learned")],
)
def test_checkpoints_bring_the_model_back_and_go_on(name, family, tmp_path):
    likelihood, draw = LIKELIHOODS[family]
    run, kept = tmp_path / "run.pt", tmp_path / "model.pt"
    config = STEADY | {"batch_size": 6, "binarise": False, "compile": "never"}

    def start():
        torch.manual_seed(1)
        return MODELS[name](likelihood)

    whole, first = start(), start()
    data = data_of(whole, likelihood, draw)
    fit(whole, data, FitConfig(epochs=2, **config))
    fit(first, data, FitConfig(epochs=1, **config), checkpoint=run)
    resumed = start()
    fit(resumed, data, FitConfig(epochs=2, **config), checkpoint=run, resume=True)
    save_model(resumed, kept)
    for again in (resumed, load_model(run), load_model(kept)):
        assert again.likelihood == likelihood
        assert again.options == whole.options
        same = again.state_dict()
        assert all(torch.equal(v, same[k]) for k, v in whole.state_dict().items())


def test_another_likelihood_is_another_run(tmp_path):
    path, config = tmp_path / "run.pt", FitConfig(epochs=1, batch_size=6, binarise=False)
    data = data_of(None, Gaussian(), normal)
    fit(M2(likelihood=Gaussian(0.7), **M2_SIZES), data, config, checkpoint=path)
    with pytest.raises(Exception, match="another likelihood") as error:
        fit(M2(likelihood=Gaussian(0.6), **M2_SIZES), data, config, checkpoint=path, resume=True)
    assert "0.7" in str(error.value)
    assert "0.6" in str(error.value)


@pytest.mark.parametrize("name", ["M2", "VAE", "CCVAE", "M1M2"])
def test_pyros_own_loop_names_inputs_outside_the_support(name, case):
    likelihood, draw = case
    model = MODELS[name](likelihood)
    xs, ys = draw((6, *SHAPE)).float(), labels(model, YS)
    optimiser = pyro.optim.Adam({"lr": 1e-3})
    svi = SVI(model.model, model.guide, optimiser, model.make_elbo())
    assert math.isfinite(svi.step(xs, ys))
    if draw is normal:
        xs[4, 1] = math.inf
    elif draw is table:
        xs[4, 3] = -3.0
    else:
        xs[4, 1] = -3.0
    with pytest.raises(DataError, match=r"xs has the value .*, but "):
        svi.step(xs, ys)
    if not isinstance(likelihood, (Categorical, Ordinal)):
        with pyro.validation_enabled(False):
            svi.step(xs, ys)


def test_standardised_inputs_in_pyros_loop_are_an_error_by_name():
    xs = torch.randn(40, 4)
    model = M2(**M2_SIZES)
    svi = SVI(model.model, model.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    with pytest.raises(DataError, match=r"but the likelihood Bernoulli takes numbers in \[0, 1\]"):
        svi.step(xs, torch.randint(0, 3, (40,)))


def test_what_a_model_takes_follows_from_its_likelihood(make, case):
    likelihood, _ = case
    model = make(likelihood)
    assert model.takes_real_values == likelihood.takes_real_values
    assert model.takes_pixels == likelihood.takes_pixels
    assert model.takes_missing == likelihood.takes_missing
    with pytest.raises(AttributeError):
        model.takes_pixels = True


def test_fit_refuses_data_that_the_likelihood_does_not_take():
    config = FitConfig(epochs=1, batch_size=6, binarise=False)
    gaps = SSLData.unlabelled(table((12, 4)), real_valued=True, missing=True)
    with pytest.raises(DataError, match=r"missing values, but the likelihood of VAE.*Mixed\("):
        fit(VAE(likelihood="gaussian", **VAE_SIZES).double(), gaps, config)
    rows = torch.zeros(5000, 4)
    rows[4500, 2] = -1.0
    with pytest.raises(DataError, match="unlabelled_xs has the value -1 in row 4500, but the lik"):
        fit(
            VAE(likelihood="poisson", **VAE_SIZES),
            SSLData.unlabelled(rows, real_valued=True),
            config,
        )
    bytes_ = torch.randint(0, 256, (12, 4), dtype=torch.uint8)
    data = SSLData(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), bytes_, 1,
                   torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))  # fmt: skip
    with pytest.raises(DataError, match=r"unlabelled_xs / 255 has the value .*Poisson"):
        fit(VAE(likelihood="poisson", **VAE_SIZES), data, config)


def test_predict_proba_checks_the_support_too():
    model = M2(likelihood=MIXED, **M2_SIZES)
    xs = table((6, 4)).float()
    assert torch.isfinite(model.predict_proba(xs)).all()
    xs[2, 1] = 7.0
    with pytest.raises(DataError, match="value 7 in row 2, but column 1, Categorical, takes"):
        model.predict_proba(xs)


@pytest.mark.parametrize("cls", [M2, CCVAE])
@pytest.mark.parametrize("likelihood", [Gaussian(), Categorical(3), StudentT(per="dimension")])
def test_images_and_convolutions_take_likelihoods_of_several_outputs(cls, likelihood):
    sizes = M2_SIZES if cls is M2 else CCVAE_SIZES
    sizes = sizes | {"input_shape": (2, 8, 8), "channels": 3}
    model = far_from_flat(cls(likelihood=likelihood, **sizes))
    draw = codes(3) if isinstance(likelihood, Categorical) else normal
    xs = draw((6, 2, 8, 8))
    loss, _ = oracle.run(model, model.make_elbo(), xs)
    assert torch.isfinite(loss)
    if isinstance(likelihood, Gaussian) and cls is M2:
        zs, ys = torch.randn(3, 2).double(), torch.tensor([0, 1, 2])
        outputs = model.image_decoder(model.decoder(zs, ys))
        torch.testing.assert_close(model.decode(zs, ys), outputs[:, :2].detach())
        p_x = model._p_x(zs, ys).base_dist
        torch.testing.assert_close(p_x.scale, 0.01 + F.softplus(outputs[:, 2:]))


def test_shapes_that_a_likelihood_cannot_have_are_named():
    with pytest.raises(ConfigError, match="Multinomial takes"):
        M2((1, 2, 3), 4, likelihood="multinomial")
    with pytest.raises(ConfigError, match="Mixed has 4 columns"):
        VAE((5,), likelihood=MIXED)
    with pytest.raises(ConfigError, match="likelihood is 'categorical', which needs options"):
        CCVAE((5,), likelihood="categorical")


class Exponential(Likelihood):
    support = "times of at least 0"

    def values(self, outputs, input_shape, shared=None):
        return dist.Exponential(outputs.exp(), validate_args=False)

    def inside(self, xs):
        return xs >= 0


def test_a_users_likelihood_is_saved_by_name_and_given_again_at_load(tmp_path):
    data = data_of(None, Exponential(), positive)
    model = M2(likelihood=Exponential(), **M2_SIZES)
    config = FitConfig(epochs=1, batch_size=6, binarise=False, compile="never", **STEADY)
    fit(model, data, config, checkpoint=tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match="likelihood cannot be read: family is 'Exponential'"):
        load_model(tmp_path / "run.pt")
    again = load_model(tmp_path / "run.pt", likelihood=Exponential())
    assert again.likelihood == Exponential()
    assert torch.equal(again.predict_proba(data.labelled_xs), model.predict_proba(data.labelled_xs))
    resumed = M2(likelihood=Exponential(), **M2_SIZES)
    more = replace(config, epochs=2)
    assert len(fit(resumed, data, more, checkpoint=tmp_path / "run.pt", resume=True).rows) == 2

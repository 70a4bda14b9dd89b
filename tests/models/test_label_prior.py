import copy
import math

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO
from torch.nn import functional as F

from pyro_ssl.data import SSLData
from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import FitConfig, fit, load_model
from pyro_ssl.models import (
    CCVAE,
    M1M2,
    M2,
    ApproxM2,
    GumbelSoftmaxM2,
    LatentM2,
    LeaveOneOutM2,
    LogGamma,
    LogisticNormal,
    LogisticNormalM2,
    MultiLabelCCVAE,
    MultiLabelM2,
    RaoBlackwellM2,
)
from pyro_ssl.models.label_prior import LabelPrior
from tests import oracle
from tests.elbos.test_sampled import make, pixels
from tests.models import test_m1m2
from tests.models.test_m2 import class_noise
from tests.models.test_relaxed_m2 import by_hand as relaxed_by_hand
from tests.models.test_relaxed_m2 import relaxed

GIVEN = (0.1, 0.2, 0.3, 0.4)
YS = torch.tensor([2, 0, -1, -1, -1])


def made(cls, label_prior, **options):
    model = make(cls, label_prior=label_prior, **options)
    if label_prior == "learned":
        model.p_y.logits.data.copy_(torch.tensor([0.5, -1.0, 0.2, 1.0]))
    return model


@pytest.fixture(params=["uniform", GIVEN, "learned"], ids=str)
def label_prior(request):
    return request.param


def m2_by_hand(model, xs, ys, trace):
    total = 0.0
    for prefix, mask in oracle.parts(xs, ys):
        zs, rows = trace.nodes[prefix + "z"]["value"], xs[mask]
        if ys[mask][0] < 0:
            eps = class_noise(model, rows, zs)
            total = total - oracle.unlabelled_bound(model, rows, eps).sum()
        else:
            bound = oracle.labelled_bound(
                model, rows, ys[mask], oracle.noise(model, rows, ys[mask], zs)
            )
            total = (
                total - (bound - model.alpha * oracle.classification(model, rows, ys[mask])).sum()
            )
    return total


@pytest.mark.parametrize("elbo", [TraceEnum_ELBO, StaticEnum_ELBO])
@pytest.mark.parametrize("cls", [M2, RaoBlackwellM2, LeaveOneOutM2])
def test_objective_and_gradients_equal_a_loop_over_classes(cls, elbo, label_prior):
    model, xs = made(cls, label_prior), pixels(5)
    loss, trace = oracle.run(model, elbo(max_plate_nesting=1), xs, YS)
    wanted = m2_by_hand(model, xs, YS, trace)
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    gradients = oracle.gradients(loss, model)
    oracle.assert_same(gradients, oracle.gradients(wanted, model))
    if label_prior == "learned":
        assert gradients["p_y.logits"].abs().min() > 1e-3
    # Another prior is another loss.
    other = copy.deepcopy(model)
    other.label_prior = "uniform" if label_prior != "uniform" else GIVEN
    assert abs(loss - m2_by_hand(other, xs, YS, trace)) > 0.05


@pytest.mark.parametrize("cls", [RaoBlackwellM2, LeaveOneOutM2, ApproxM2])
def test_estimates_of_the_sum_are_of_the_same_loss(cls):
    torch.manual_seed(3)
    xs, draws = pixels(1).expand(4000, 1, 2, 3), 4000
    losses = []
    for model in (made(M2, GIVEN), made(cls, GIVEN)):
        model = model.train()
        elbo = model.make_elbo()
        loss, _ = oracle.run(model, elbo, xs)
        losses.append((loss / draws).item())
    # Standard deviations of single rows are below 10 nats.
    assert abs(losses[0] - losses[1]) < 5 * 10 * (2 / draws) ** 0.5
    uniform = oracle.run(made(cls, "uniform").train(), elbo, xs)[0] / draws
    assert abs(uniform - losses[1]) > 1e-3


@pytest.mark.parametrize("ys", [[-1] * 6, [0, 2, 1, 1, 3, 0], [1, 3, -1, -1, -1, -1]])
@pytest.mark.parametrize("cls", [GumbelSoftmaxM2, LogisticNormalM2])
def test_kl_of_relaxed_labels_is_from_the_prior(cls, ys, label_prior):
    model, xs, ys = relaxed(cls, label_prior=label_prior), pixels(6), torch.tensor(ys)
    if label_prior == "learned":
        model.p_y.logits.data.copy_(torch.tensor([0.5, -1.0, 0.2, 1.0]))
    torch.manual_seed(5)
    loss, trace = oracle.run(model, StaticEnum_ELBO(), xs, ys)
    wanted = relaxed_by_hand(model, xs, ys, trace, trace)
    torch.testing.assert_close(loss, wanted, atol=1e-6, rtol=1e-6)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


@pytest.mark.parametrize("cls", [M1M2, LatentM2])
def test_prior_of_the_stacked_models(cls, label_prior):
    options = {"label_prior": label_prior}
    if cls is M1M2:
        model = test_m1m2.make(train_m1=True, **options)
        xs = pixels(5)
    else:
        model = test_m1m2.make_latent(**options)
        xs = torch.stack([2 * torch.randn(5, 3), 0.2 + torch.rand(5, 3)], 1).double()
    if label_prior == "learned":
        model.p_y.logits.data.copy_(torch.tensor([0.5, -1.0, 0.2, 1.0]))
    loss, trace = oracle.run(model, model.make_elbo(), xs, YS)
    wanted = test_m1m2.by_hand(model, xs, YS, trace)
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(wanted, model))


@pytest.mark.parametrize(
    "make",
    [
        lambda: M2((6,), 4, 2, (5,), label_prior="learned"),
        lambda: LatentM2(3, 4, 2, (5,), label_prior="learned"),
    ],
)
def test_pyros_svi_trains_a_learned_prior(make):
    model = make()
    xs = torch.rand(8, *model.input_shape).bernoulli().clamp(min=0.1)
    svi = SVI(model.model, model.guide, pyro.optim.Adam({"lr": 0.1}), model.make_elbo())
    svi.step(xs, torch.tensor([0, 0, 0, 0, 1, -1, -1, -1]))
    assert model.p_y.logits.argmax() == 0


def test_a_learned_prior_finds_the_shares_of_the_labels():
    torch.manual_seed(0)
    ys = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    xs = F.one_hot(ys, 3).repeat(1, 2).float()
    data = SSLData.from_arrays(xs, torch.where(torch.arange(100) % 5 == 0, ys, -1))
    model = M2((6,), 3, 2, (20,), label_prior="learned", alpha=5.0)
    fit(model, data, FitConfig(epochs=200, batch_size=20, learning_rate=0.02))
    found = model.p_y.logits.softmax(-1).detach()
    assert (found - torch.tensor([0.6, 0.3, 0.1])).abs().max() < 0.05


def test_unknown_labels_are_drawn_from_the_prior():
    torch.manual_seed(0)
    unknown = torch.full((20_000,), -1)
    for prior in ("uniform", GIVEN):
        p_y = LabelPrior(prior, 4)
        drawn = p_y.complete(unknown)
        shares = torch.bincount(drawn, minlength=4) / len(drawn)
        wanted = torch.full((4,), 0.25) if prior == "uniform" else torch.tensor(GIVEN)
        assert (shares - wanted).abs().max() < 5 * 0.5 / len(drawn) ** 0.5
        known = torch.tensor([3, -1, 2])
        assert p_y.complete(known)[[0, 2]].tolist() == [3, 2]
        before = torch.get_rng_state()
        assert p_y.complete_any(known[[0, 2]]).tolist() == [3, 2]
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [
    lambda prior: M2((6,), 4, 2, (5,), label_prior=prior),
    lambda prior: CCVAE((6,), 4, 2, (5,), label_prior=prior),
    lambda prior: LatentM2(3, 4, 2, (5,), label_prior=prior),
    lambda prior: LogGamma(input_shape=(6,), num_classes=4, latent_dim=2, hidden_dims=(5,)),
    lambda prior: LogisticNormal(input_shape=(6,), num_classes=4, latent_dim=2, hidden_dims=(5,)),
])  # fmt: skip
def test_sample_draws_unknown_labels_from_the_prior(make, monkeypatch):
    model, seen = make(GIVEN), []
    drawn = LabelPrior.complete
    record = lambda self, ys: seen.append(drawn(self, ys)) or seen[-1]  # noqa: E731
    monkeypatch.setattr(LabelPrior, "complete", record)
    assert len(model.sample(torch.tensor([-1, 2, -1, -1]))) == 4
    (ys,) = seen
    assert ys[1] == 2
    assert ys.min() >= 0


def test_moments_of_ccvaes_prior_are_in_shares_of_the_label():
    model = CCVAE((6,), 4, 2, (5,), label_prior=GIVEN).double()
    model.prior_loc.data.normal_()
    model.prior_raw_scale.data.normal_()
    loc, scale = model.prior_moments()
    shares = torch.tensor(GIVEN).double()[:, None]
    each = F.softplus(model.prior_raw_scale) + 1e-3
    mean = (shares * model.prior_loc).sum(0)
    second = (shares * (each**2 + model.prior_loc**2)).sum(0)
    torch.testing.assert_close(loc, mean.detach())
    torch.testing.assert_close(scale, (second - mean**2).sqrt().detach())


def test_a_given_prior_is_exact_in_every_dtype_and_no_state():
    model = M2((6,), 4, 2, (5,), label_prior=GIVEN)
    assert not [name for name in model.state_dict() if name.startswith("p_y")]
    exact = torch.tensor(GIVEN, dtype=torch.float64).log()
    assert torch.equal(model.p_y(torch.rand(1)), exact.float())
    assert torch.equal(model.double().p_y(torch.rand(1).double()), exact)


@pytest.mark.parametrize("prior", [GIVEN, "learned"], ids=str)
def test_priors_travel_with_checkpoints(tmp_path, prior):
    xs, ys = torch.rand(20, 6).round(), torch.arange(20) % 4
    model = M2((6,), 4, 2, (5,), label_prior=prior)
    data, path = SSLData.from_arrays(xs, ys), tmp_path / "run.pt"
    fit(model, data, FitConfig(epochs=1, batch_size=20), checkpoint=path)
    again = load_model(path)
    assert again.label_prior == prior
    assert torch.equal(again.p_y(xs), model.p_y(xs))


@pytest.mark.parametrize(
    "bad",
    ["even", (0.5, 0.5), (0.25,) * 5, (0.5, 0.5, 0.0, 0.0), (0.3,) * 4, (math.nan,) * 4, 3, None,
     [[0.25] * 4], (-0.5, 0.5, 0.5, 0.5)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("cls", [M2, CCVAE, LatentM2])
def test_what_is_no_prior_is_named(cls, bad):
    sizes = {"num_inputs": 3} if cls is LatentM2 else {"input_shape": (6,)}
    with pytest.raises(ConfigError, match=r"label_prior is .*4 positive probabilities that sum"):
        cls(num_classes=4, label_prior=bad, **sizes)


def test_numbers_of_a_prior_become_pythons_own():
    for prior in (np.array(GIVEN), torch.tensor(GIVEN, dtype=torch.float64), list(GIVEN)):
        assert M2((6,), 4, label_prior=prior).label_prior == GIVEN


@pytest.mark.parametrize("cls", [LogGamma, LogisticNormal, MultiLabelM2, MultiLabelCCVAE])
@pytest.mark.parametrize("prior", ["learned", GIVEN, np.array(GIVEN)], ids=str)
def test_models_without_a_categorical_prior_say_so(cls, prior):
    with pytest.raises(ConfigError, match=f"label_prior is .*but {cls.__name__} has"):
        cls(input_shape=(6,), num_classes=4, label_prior=prior)

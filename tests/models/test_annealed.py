import copy
import pickle

import pytest
import torch

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import Anneal, FitConfig, fit
from pyro_ssl.models import ApproxM2, GumbelSoftmaxM2, LogGamma, LogisticNormal, LogisticNormalM2
from tests.infer.problems import blobs

SIZES = {"input_shape": (1, 4, 4), "num_classes": 3, "latent_dim": 2, "hidden_dims": (8,)}
OPTIONS = {
    GumbelSoftmaxM2: "temperature",
    LogisticNormalM2: "temperature",
    LogisticNormal: "temperature",
    LogGamma: "prior_concentration",
}


@pytest.fixture(params=OPTIONS.items(), ids=lambda pair: pair[0].__name__)
def kind(request):
    return request.param


def test_setting_the_option_sets_what_the_programs_use(kind):
    cls, name = kind
    model = cls(**SIZES, **{name: 0.7})
    setattr(model, name, 0.25)
    for m in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), cls(**model.options)):
        assert getattr(m, name) == 0.25
        assert getattr(m, f"annealed_{name}") == 0.25
    model.double()
    setattr(model, name, 0.1)
    assert getattr(model, f"annealed_{name}").dtype == torch.float64


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_what_is_not_positive_is_refused(kind, value):
    cls, name = kind
    with pytest.raises(ConfigError, match=f"{name} is"):
        cls(**SIZES, **{name: value})
    model = cls(**SIZES)
    before = getattr(model, name)
    with pytest.raises(ConfigError, match=f"{name} is"):
        setattr(model, name, value)
    assert getattr(model, name) == before


def test_annealing_out_of_range_is_refused_at_once(kind):
    cls, name = kind
    for key, anneal in ((name, Anneal(0.5, 0.0, 3)), ("kl_z", Anneal(1.0, -1.0, 3))):
        with pytest.raises(ConfigError, match=key):
            fit(cls(**SIZES), blobs(), FitConfig(epochs=1, batch_size=20, anneal={key: anneal}))


@pytest.mark.parametrize("cls", [*OPTIONS, ApproxM2])
def test_classes_that_are_not_summed_are_in_no_chunks(cls):
    with pytest.raises(ConfigError, match="class_chunk is 2"):
        cls(**SIZES, class_chunk=2)


@pytest.mark.parametrize("cls", [GumbelSoftmaxM2, LogisticNormalM2])
def test_closed_form_kl_of_z_goes_with_a_relaxed_label(cls):
    model, xs = cls(**SIZES).double(), blobs().unlabelled_xs.double()
    losses = []
    for closed_form in (False, True):
        elbo = StaticEnum_ELBO(closed_form_kl=closed_form)
        each = [elbo.differentiable_loss(model.model, model.guide, xs).detach() for _ in range(200)]
        losses.append(torch.stack(each))
    error = (sum(each.var() for each in losses) / 200).sqrt()
    assert abs(losses[0].mean() - losses[1].mean()) < 3 * error


def test_a_wrong_label_of_a_sharp_logistic_normal_still_has_a_gradient():
    model = LogisticNormal(**SIZES, temperature=0.05).double()
    with torch.no_grad():
        # A confident classifier: a = (3, 0, 0) for every row, pi = (1, 8e-27, 8e-27).
        model.classifier.layers[-1].weight.zero_()
        model.classifier.layers[-1].bias.copy_(torch.tensor([3.0, 0, 0, -9, -9, -9]))
    xs, ys = blobs().unlabelled_xs[:4].double(), torch.full((4,), 1)
    from tests import oracle

    _, trace = oracle.run(model, model.make_elbo(), xs, ys)
    site = trace.nodes["y"]
    a = trace.nodes["a"]["value"]
    wanted = (a / 0.05).log_softmax(-1)[:, 1]
    torch.testing.assert_close(site["unscaled_log_prob"], wanted)
    assert (wanted < -50).all()
    slope = torch.autograd.grad(site["unscaled_log_prob"].sum(), a)[0]
    torch.testing.assert_close(slope[:, 1], torch.full((4,), 20.0).double())

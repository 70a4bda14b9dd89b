"""With Pyro's validation on, programs refuse what they could not take, in our words."""

import contextlib
import inspect
import itertools
import math
import warnings

import pyro
import pytest
import torch
from pyro.infer import SVI

from pyro_ssl import M2, BitMixture, FitConfig, SSLData, fit
from pyro_ssl.errors import DataError, PyroSSLError
from pyro_ssl.models import VAE, MLPClassifier
from tests.test_bad_options import BAD, MODELS


def problem(cls):
    torch.manual_seed(0)
    model = cls(**MODELS[cls])
    xs = (torch.rand(4, *model.input_shape) < 0.5).float()
    if cls.__name__ == "LatentM2":
        # Means and scales.
        xs = xs + 0.5
    ys = torch.tensor([0, 1, -1, -1])
    if model.real_labels:
        ys = torch.tensor([0.1, 0.2, math.nan, math.nan])
    elif getattr(model, "multi_label", False):
        ys = ys[:, None].expand(4, model.num_classes)
    return model, xs, ys


def step(model, xs, ys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SVI(model.model, model.guide, pyro.optim.Adam({"lr": 1e-3}), model.make_elbo()).step(
            xs, ys
        )


@pytest.mark.parametrize("cls", MODELS, ids=lambda c: c.__name__)
def test_pyros_own_loop_names_inputs_that_a_model_does_not_take(cls):
    model, xs, ys = problem(cls)
    assert math.isfinite(step(model, xs, ys))
    bad = [torch.full_like(xs, math.nan), xs.double(), xs.long(), xs[..., :-1], xs.tolist(), None]
    if not model.takes_real_values:
        bad += [xs * 255, xs - 0.5]
    for inputs in bad:
        with pytest.raises(DataError, match=r"^xs "):
            step(model, inputs, ys)


@pytest.mark.parametrize("cls", MODELS, ids=lambda c: c.__name__)
def test_pyros_own_loop_names_labels_that_a_model_does_not_take(cls):
    model, xs, ys = problem(cls)
    bad = [ys[:3], ys.tolist()]
    if hasattr(model, "num_classes"):
        bad += [torch.full_like(ys, 9), torch.full_like(ys, -2)]
        if not model.multi_label:
            bad.append(ys.float())
            assert math.isfinite(step(model, xs, ys.to(torch.int32).long()))
    if model.real_labels:
        bad += [torch.full_like(ys, math.inf), ys.double()]
    for labels in bad:
        with pytest.raises(DataError, match=r"^ys"):
            step(model, xs, labels)


BAD_TENSORS = [
    *BAD,
    torch.full((4,), 9),
    torch.full((4,), -1),
    torch.zeros(3, dtype=torch.int64),
    torch.full((4, 2), 0.5),
    torch.zeros(4, dtype=torch.float64),
    torch.full((4, 4), -3.0),
    torch.zeros(1, 4, 4),
    torch.zeros(2, 2, dtype=torch.int64),
]
METHODS = (
    "encode", "decode", "sample", "predict_proba", "predict", "reconstruct", "intervene", "bounds",
    "start_from", "named",
)  # fmt: skip


@pytest.mark.parametrize("cls", MODELS, ids=lambda c: c.__name__)
def test_methods_work_on_what_they_are_given_or_say_what_is_wrong(cls):
    model, xs, ys = problem(cls)
    model.eval()
    latents = getattr(model, "num_latents", getattr(model, "latent_dim", 1))
    known = torch.where(ys.isnan() | (ys < 0), 0, ys)
    good = {"xs": xs, "ys": known, "zs": torch.zeros(4, latents), "num": 3, "attribute": 0}
    good |= {"values": torch.tensor([0, 1, 1, 0]), "covariates": None, "noise": True}
    good |= {"frequencies": torch.ones(4) / 4, "name": "own"}
    tried = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for method in METHODS:
            if not hasattr(model, method):
                continue
            call = getattr(model, method)
            arguments = {name: good[name] for name in inspect.signature(call).parameters}
            call(**arguments)
            for name, value in itertools.product(arguments, BAD_TENSORS):
                tried += 1
                with contextlib.suppress(PyroSSLError):
                    call(**{**arguments, name: value})
    assert tried > 0


WRONG = {
    "xs": lambda model: model.encode(torch.zeros(4, 3)),
    "zs": lambda model: model.decode(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)),
    "ys": lambda model: model.sample(torch.tensor([0, 1, 2])),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_named(name):
    model, _, _ = problem(M2)
    with pytest.raises(DataError, match=f"^{name} "):
        WRONG[name](model)


def test_without_validation_nothing_is_checked():
    model, xs, ys = problem(VAE)
    with pyro.validation_enabled(False):
        assert math.isfinite(step(model, 255 * xs, ys))


def test_fit_checks_once_and_not_in_each_step(monkeypatch):
    model, xs, _ = problem(MLPClassifier)
    data = SSLData.from_arrays(xs, torch.tensor([0, 1, 0, 1]), 2)
    seen, check = [], model.check
    monkeypatch.setattr(type(model), "check", lambda self, *a: seen.append(a) or check(*a))
    fit(model, data, FitConfig(steps=5, compile="never"))
    assert len(seen) == 3


def test_points_of_a_mixture_are_checked_once_they_enter():
    model, xs, _ = problem(BitMixture)
    with pytest.raises(DataError, match="xs has NaN"):
        model.bounds(xs * math.nan)

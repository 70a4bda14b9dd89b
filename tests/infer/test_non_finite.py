"""A run that stops being finite says where: a site, a term, a gradient or a parameter, by name."""

import math

import pytest
import torch

from pyro_ssl import (
    CCVAE,
    M2,
    VAE,
    ApproxM2,
    FitConfig,
    GumbelSoftmaxM2,
    MLPClassifier,
    MultiLabelM2,
    RegressionM2,
    SSLData,
    fit,
)
from pyro_ssl.errors import NonFiniteError
from pyro_ssl.infer import data_checks
from pyro_ssl.infer.ensemble import EnsembleConfig, Member, fit_ensemble

SIZES = {"input_shape": (6,), "hidden_dims": (4,)}
CLASSES = SIZES | {"num_classes": 3, "latent_dim": 2}
CONFIG = {"epochs": 2, "batch_size": 8, "labelled_batch_size": 8, "compile": "never"}
MODELS = {
    "M2": lambda **options: M2(**CLASSES, **options),
    "VAE": lambda **options: VAE(latent_dim=2, **SIZES, **options),
    "CCVAE": lambda **options: CCVAE(num_classes=3, style_dim=2, **SIZES, **options),
    "RegressionM2": lambda **options: RegressionM2(latent_dim=2, **SIZES, **options),
    "GumbelSoftmaxM2": lambda **options: GumbelSoftmaxM2(**CLASSES, **options),
    "ApproxM2": lambda **options: ApproxM2(**CLASSES, **options),
    "MultiLabelM2": lambda **options: MultiLabelM2(**CLASSES, **options),
    "MLPClassifier": lambda **options: MLPClassifier(num_classes=3, **SIZES),
}
pytestmark = pytest.mark.filterwarnings("ignore:Encountered NaN")


def data(name, scale=None):
    """Return 24 rows; of real numbers of that scale, or pixels without one."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(24, 6, generator=generator)
    xs = (noise > 0).float() if scale is None else scale * noise
    known = torch.arange(24) < 12
    ys = torch.where(known, torch.arange(24) % 3, -1)
    if name == "MultiLabelM2":
        ys = torch.where(known[:, None], torch.arange(72).view(24, 3) % 2, -1)
    if name == "RegressionM2":
        ys = torch.where(known, noise[:, 0], math.nan)
    real = name == "RegressionM2"
    return SSLData.from_arrays(
        xs, ys, None if real else 3, real_valued=scale is not None or real, real_labels=real
    )


def infinite_weight(model):
    next(iter(model.parameters())).data.fill_(math.inf)
    return {}


def huge_learning_rate(model):
    return {"learning_rate": 1e30}


def large_learning_rate(model):
    return {"learning_rate": 1e10}


def huge_penalty(model):
    return {"l2": 1e38}


def huge_alpha(model):
    # Each gradient is finite, and their squares are not.
    model.alpha = 1e38
    return {}


def bfloat16_overflow(model):
    for parameter in model.parameters():
        parameter.data.mul_(1e25)
    return {"precision": "bfloat16"}


FAULTS = [infinite_weight, huge_learning_rate, large_learning_rate, huge_penalty, huge_alpha]


@pytest.mark.parametrize("engine", ["native", "svi"])
@pytest.mark.parametrize("fault", [*FAULTS, bfloat16_overflow], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", MODELS)
def test_what_was_not_finite_is_named(name, fault, engine):
    torch.manual_seed(0)
    model = MODELS[name]()
    if fault is huge_alpha and not hasattr(model, "alpha"):
        pytest.skip("it has no such term")
    config = FitConfig(**CONFIG | fault(model) | {"engine": engine})
    error = None
    try:
        fit(model, data(name), config)
    except NonFiniteError as caught:
        error = caught
    if error is None:
        assert all(bool(p.isfinite().all()) for p in model.parameters())
        assert fault not in (infinite_weight, huge_penalty, huge_alpha)
        return
    assert error.step >= 0
    assert error.site != "loss"
    kind, _, parameter = error.site.rpartition(" ")
    assert kind in ("", "gradient of", "parameter")
    assert not kind or parameter in dict(model.named_parameters())


@pytest.mark.parametrize("name", ["M2", "VAE", "CCVAE", "RegressionM2"])
@pytest.mark.parametrize("fault", ["NaN", "float32", "bfloat16"])
def test_inputs_that_passed_the_checks_are_met_at_a_site(name, fault, monkeypatch):
    torch.manual_seed(0)
    model = MODELS[name](likelihood="gaussian")
    rows = data(name, {"NaN": 1.0, "float32": 1e25, "bfloat16": 1e18}[fault])
    if fault == "NaN":
        monkeypatch.setattr(data_checks, "_check_inputs", lambda *args: None)
        rows.labelled_xs[3] = math.nan
    config = FitConfig(**CONFIG, precision="bfloat16" if fault == "bfloat16" else "float32")
    with pytest.raises(NonFiniteError) as caught:
        fit(model, rows, config)
    assert caught.value.site.partition("/")[0] in ("labelled", "unlabelled")


def test_the_norm_of_finite_gradients_names_the_largest():
    torch.manual_seed(0)
    model = M2(**CLASSES)
    weight = model.decoder.layers[-1].weight
    weight.register_hook(lambda gradient: torch.full_like(gradient, 1e30))
    with pytest.raises(NonFiniteError) as caught:
        fit(model, data("M2"), FitConfig(**CONFIG))
    assert caught.value.site == "gradient of decoder.layers.1.weight"
    assert caught.value.step == 0


def test_weights_that_the_last_step_made_infinite_are_no_result():
    torch.manual_seed(0)
    model = M2(**CLASSES)
    options = {"optimiser": "rmsprop", "learning_rate": 3e38, "learning_rate_schedule": "constant"}
    config = FitConfig(steps=1, batch_size=8, compile="never", **options)
    with pytest.raises(NonFiniteError) as caught:
        fit(model, data("M2"), config)
    assert caught.value.site.startswith("parameter ")
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_other_errors_of_a_program_are_not_called_infinite():
    model = M2(**CLASSES)

    def refuse(module, inputs):
        raise ValueError("of somebody else")

    model.decoder.register_forward_pre_hook(refuse)
    with pytest.raises(ValueError, match="of somebody else"):
        fit(model, data("M2"), FitConfig(**CONFIG))


def test_weights_of_an_ensemble_that_the_last_step_made_infinite_are_named():
    torch.manual_seed(0)
    models, rows = [VAE(latent_dim=2, **SIZES) for _ in range(2)], data("VAE")
    members = [Member(torch.arange(0).numpy(), torch.arange(12).numpy()) for _ in models]
    models[1].decoder.layers[0].weight.data.fill_(3e38)
    config = EnsembleConfig(max_steps=1, min_steps=0, learning_rate=3e38, weight_decay=1.0)
    with pytest.raises(NonFiniteError, match="member"):
        fit_ensemble(models, rows.unlabelled_xs, -torch.ones(12).long(), members, config)

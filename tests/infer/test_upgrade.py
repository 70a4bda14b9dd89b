"""Checkpoints of the form that 17b50bc wrote: other names of options and of networks."""

import pytest
import torch

from pyro_ssl.data import SSLData
from pyro_ssl.errors import CheckpointError
from pyro_ssl.infer import FitConfig, fit, load_model
from pyro_ssl.infer.upgrade import upgraded
from pyro_ssl.likelihoods import Bernoulli, Gaussian, Laplace
from pyro_ssl.models import CCVAE, M1M2, M2, VAE
from tests.infer.problems import STEADY

SIZES = {"input_shape": (1, 8, 8), "num_classes": 3, "hidden_dims": (5,)}
M1 = {"input_shape": (1, 8, 8), "latent_dim": 3, "hidden_dims": (5,)}
UPPER = {"num_classes": 3, "latent_dim": 2, "hidden_dims": (5,)}
# How to build a model, and what its options were in place of those it has now.
CASES = {
    "laplace": (
        lambda: M2(
            latent_dim=2, channels=2, batch_norm="separate", likelihood=Laplace(0.3), **SIZES
        ),
        {"likelihood": "laplace", "laplace_scale": 0.3, "batch_norm": "parted"},
    ),
    "bernoulli": (
        lambda: CCVAE(style_dim=2, num_samples=5, channels=2, **SIZES),
        {"likelihood": "bernoulli", "laplace_scale": 0.1},
    ),
    "learned scale": (
        lambda: VAE((1, 8, 8), 2, (5,), likelihood=Gaussian(min_scale=0.05)),
        {"likelihood": "gaussian", "min_scale": 0.05, "fixed_scale": None},
    ),
    "fixed scale": (
        lambda: VAE((1, 8, 8), 2, (5,), likelihood=Gaussian(0.5)),
        {"likelihood": "gaussian", "min_scale": 0.01, "fixed_scale": 0.5},
    ),
    "layers": (
        lambda: M1M2(M1 | {"likelihood": Gaussian(min_scale=0.05)}, train_m1=True, **UPPER),
        {"m1": M1 | {"likelihood": "gaussian", "min_scale": 0.05, "fixed_scale": None,
                     "activation": "softplus", "batch_norm": False}},
    ),
}  # fmt: skip


def data() -> SSLData:
    generator = torch.Generator().manual_seed(0)
    xs = torch.rand(24, 1, 8, 8, generator=generator).round()
    return SSLData.from_arrays(xs, torch.where(torch.arange(24) < 9, torch.arange(24) % 3, -1))


def config(epochs: int) -> FitConfig:
    return FitConfig(epochs=epochs, batch_size=5, binarise=False, compile="never", **STEADY)


def former(state, options):
    """The checkpoint as it was written then."""
    young = ("label_prior", "classifier", "encoder", "decoder", "likelihood", "alpha")
    kept = {k: v for k, v in state["model_options"].items() if k not in young}
    weight = state["model_options"].get("alpha")
    if weight is not None:
        # It was the weight of each labelled row, in a loss divided by all of them.
        weight = weight * 24 / 9 + (state["model_class"] == "CCVAE")
        kept["classification_weight"] = weight
    names = {"image_encoder.": "trunk.", "image_decoder.": "canvas."}

    def renamed(weights):
        for name, before in names.items():
            weights = {k.replace(name, before): v for k, v in weights.items()}
        return weights

    found = state | {"format": "pyro_ssl checkpoint 3", "model_options": kept | options}
    return found | {"model": renamed(state["model"])}


@pytest.mark.parametrize("name", CASES)
def test_former_checkpoints_load_and_resume(name, tmp_path):
    make, options = CASES[name]
    path, runs = tmp_path / "run.pt", []
    for epochs in (1, 2):
        torch.manual_seed(1)
        model = make()
        fit(model, data(), config(epochs), checkpoint=tmp_path / f"{epochs}.pt")
        runs.append(model)
    state = torch.load(tmp_path / "1.pt", weights_only=True)
    torch.save(former(state, options), path)
    written = torch.load(path, weights_only=True)["model"]
    assert any(key.startswith(("trunk.", "canvas.")) for key in written) == (
        name in ("laplace", "bernoulli")
    )
    first, whole = runs
    loaded = load_model(path)
    assert loaded.options == first.options
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in first.state_dict().items())
    torch.manual_seed(2)
    resumed = make()
    fit(resumed, data(), config(2), checkpoint=path, resume=True)
    assert all(torch.equal(v, resumed.state_dict()[k]) for k, v in whole.state_dict().items())


def test_another_scale_than_then_is_refused(tmp_path):
    make, options = CASES["fixed scale"]
    fit(make(), data(), config(1), checkpoint=tmp_path / "run.pt")
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    torch.save(former(state, options | {"fixed_scale": 0.6}), tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match="another likelihood"):
        fit(make(), data(), config(2), checkpoint=tmp_path / "run.pt", resume=True)


def test_models_of_one_image_encoder_load_its_former_name():
    model = M2(latent_dim=2, channels=2, **SIZES)
    weights = {
        k.replace("image_encoder", "trunk").replace("image_decoder", "canvas"): v + 1
        for k, v in model.state_dict().items()
    }
    again = M2(latent_dim=2, channels=2, **SIZES)
    again.load_state_dict(weights)
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value + 1)


def test_options_without_a_likelihood_stay_as_they_are():
    state = {"model_class": "BernoulliVAE", "model_options": {"num_words": 6}}
    assert upgraded(state) == state


@pytest.mark.parametrize(
    ("options", "likelihood"),
    [
        ({"likelihood": "bernoulli", "min_scale": 0.01, "fixed_scale": None}, Bernoulli()),
        ({"likelihood": "laplace", "laplace_scale": 0.7}, Laplace(0.7)),
        ({"likelihood": "gaussian", "min_scale": 0.2}, Gaussian(min_scale=0.2)),
    ],
)  # fmt: skip
def test_numbers_beside_a_likelihood_become_its_own(options, likelihood):
    state = upgraded({"model_class": "VAE", "model_options": options})
    assert state["model_options"] == {"likelihood": likelihood.to_dict()}


@pytest.mark.parametrize("version", ["pyro_ssl checkpoint 3", "pyro_ssl checkpoint 4"])
@pytest.mark.parametrize(
    ("rows", "then", "now"),
    [
        # Batch size, labelled batch size and steps an epoch, by numbers of rows.
        ((100, 49_900), (200, None, None), (200, 100, 249)),
        ((1000, 1), (1, None, None), (1, 1, 1)),
        ((900, 100), (20, 30, None), (20, 30, 5)),
        ((900, 100), (20, None, 7), (20, 20, 7)),
        ((90, 0), (20, None, None), (20, 20, 4)),
        ((90, 0), (20, 30, None), (30, 30, 3)),
        ((0, 90), (20, None, None), (20, None, 4)),
    ],
)
def test_former_batches_become_what_they_stood_for(version, rows, then, now):
    names = ("batch_size", "labelled_batch_size", "steps_per_epoch")
    state = {"format": version, "rows": [*rows, 10], "config": dict(zip(names, then, strict=True))}
    found = upgraded(state)["config"]
    assert tuple(found[name] for name in names) == now


def test_options_of_the_last_former_format_are_those_of_now():
    options = {"likelihood": {"family": "bernoulli"}, "min_scale": 0.3}
    state = {"format": "pyro_ssl checkpoint 4", "model_class": "Own", "model_options": options}
    assert upgraded(state) == state

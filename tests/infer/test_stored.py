"""Files of models: a user's own classes, networks among the options, numbers of NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.infer import Anneal, FitConfig, fit, load_checkpoint, load_model, save_model
from pyro_ssl.infer.stored import stored_options
from pyro_ssl.models import M2, VAE, BitMixture, GumbelSoftmaxM2, MultiLabelM2
from tests.infer.problems import STEADY, blobs, small_m2
from tests.infer.test_fit import same_weights
from tests.models.test_base import MODELS

SIZES = {"input_shape": (1, 4, 4), "num_classes": 3, "latent_dim": 2, "hidden_dims": (5,)}
CONFIG = FitConfig(epochs=1, batch_size=36, **STEADY)


class MyM2(M2):
    pass


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.Tanh())
        self.last = nn.Linear(width, 3)

    def forward(self, xs):
        return self.last(self.layers(xs))


class WithNet(M2):
    """M2 with a network of the user's for q(y|x)."""

    def __init__(self, net, note=None, **options):
        super().__init__(**options)
        self.net = net
        self.note = note

    def _class_logits(self, scores):
        return scores

    def class_logits(self, xs):
        return self.net(xs)


class Forgets(M2):
    def __init__(self, width, **options):
        super().__init__(**options)


class Twice(M2):
    def __init__(self, width=5, **options):
        super().__init__(hidden_dims=(width,), **options)
        self.width = width


class Fixed(M2):
    """Passes nothing on: its options are its own arguments."""

    def __init__(self, width=5):
        super().__init__(**{**SIZES, "hidden_dims": (width,)})
        self.width = width


def renamed():
    return type("M2", (M2,), {})


def test_a_class_of_ones_own_is_saved_and_loaded(tmp_path):
    model, path = MyM2(**SIZES), tmp_path / "m.pt"
    save_model(model, path)
    loaded = load_model(path, model_class=MyM2)
    assert type(loaded) is MyM2
    assert same_weights(model, loaded)
    with pytest.raises(CheckpointError, match=r"holds a MyM2, .*model_class=MyM2\)"):
        load_model(path)
    with pytest.raises(CheckpointError, match="model_class is M2, but the file holds a MyM2"):
        load_model(path, model_class=M2)
    for wrong in ("MyM2", model, type("MyM2", (torch.nn.Module,), {})):
        with pytest.raises(CheckpointError, match="not a model's class, expected the file's MyM2"):
            load_model(path, model_class=wrong)


def test_a_checkpoint_of_a_class_of_ones_own_is_resumed_and_loaded(tmp_path):
    path = tmp_path / "run.pt"
    fit(MyM2(**SIZES), blobs(), CONFIG, checkpoint=path)
    model = MyM2(**SIZES)
    fit(model, blobs(), replace(CONFIG, epochs=2), checkpoint=path, resume=True)
    assert same_weights(load_model(path, MyM2), model)


@pytest.mark.parametrize("fitted", [True, False])
def test_a_network_is_given_again_and_gets_its_weights_from_the_file(tmp_path, fitted):
    model, path = WithNet(Net(), **SIZES), tmp_path / "m.pt"
    if fitted:
        fit(model, blobs(), CONFIG, checkpoint=path)
    else:
        save_model(model, path)
    loaded = load_model(path, model_class=WithNet, net=Net())
    assert same_weights(model, loaded)
    xs = blobs().validation_xs
    assert torch.equal(loaded.predict_proba(xs), model.eval().predict_proba(xs))
    for options, says in (
        ({}, r"net was a Net, .*load_model\(path, net=Net\(...\)\)"),
        ({"net": nn.Linear(2, 2)}, "net is a Linear, but was a Net"),
        ({"net": Net(), "alpha": 2.0}, "alpha is not to be given: the file asks for net"),
    ):
        with pytest.raises(ConfigError, match=says):
            load_model(path, model_class=WithNet, **options)
    with pytest.raises(CheckpointError, match="another version of WithNet"):
        load_model(path, model_class=WithNet, net=Net(width=7))


def test_a_network_is_no_change_of_options_at_resume(tmp_path):
    path = tmp_path / "run.pt"
    fit(WithNet(Net(), **SIZES), blobs(), CONFIG, checkpoint=path)
    again = replace(CONFIG, epochs=2)
    rows = fit(WithNet(Net(), **SIZES), blobs(), again, checkpoint=path, resume=True).rows
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Forgets(5, **SIZES), "does not keep its argument 'width'"),
        (lambda: Twice(5, **{k: v for k, v in SIZES.items() if k != "hidden_dims"}), "hidden_dims"),
        (lambda: WithNet(Net(), note=print, **SIZES), "note of the WithNet is <built-in function"),
        (lambda: WithNet(Net(), note=np.zeros(2), **SIZES), "note of the WithNet is array"),
        (lambda: WithNet(Net(), note=(Net(),), **SIZES), "note of the WithNet is"),
        (lambda: renamed()(**SIZES), "has the name of a model of the library"),
    ],
)
def test_what_could_not_be_loaded_again_is_refused_at_save(tmp_path, make, says):
    path = tmp_path / "m.pt"
    with pytest.raises(ConfigError, match=says):
        save_model(make(), path)
    with pytest.raises(ConfigError, match=says):
        fit(make(), blobs(), CONFIG, checkpoint=path)
    assert not path.exists()


def test_arguments_that_are_not_passed_on_are_no_options(tmp_path):
    model, path = Fixed(7), tmp_path / "m.pt"
    assert model.options == {"width": 7}
    save_model(model, path)
    assert same_weights(load_model(path, model_class=Fixed), model)


def test_a_check_at_save_draws_no_random_number(tmp_path):
    model = small_m2()
    before = torch.get_rng_state()
    save_model(model, tmp_path / "m.pt")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_saved_and_loaded(name, tmp_path):
    model, path = MODELS[name](), tmp_path / "m.pt"
    save_model(model, path)
    loaded = load_model(path)
    assert type(loaded) is type(model)
    assert loaded.options == model.options
    assert same_weights(loaded, model)


def test_files_name_no_other_class_than_the_librarys(tmp_path):
    path = tmp_path / "m.pt"
    save_model(small_m2(), path)
    state = torch.load(path, weights_only=True)
    for name in ("rows", "SSLModel", "os", "torch"):
        torch.save(state | {"model_class": name}, path)
        with pytest.raises(CheckpointError):
            load_model(path)


NUMPY = {
    "M2": lambda: M2(
        input_shape=(np.int64(1), 4, np.int32(4)),
        num_classes=np.int64(3),
        latent_dim=np.arange(3).max(),
        hidden_dims=np.array([5]),
        input_dropout=np.float32(0.25),
        alpha=np.float64(0.5),
        batch_norm=np.bool_(True),
    ),
    "GumbelSoftmaxM2": lambda: GumbelSoftmaxM2(temperature=np.float64(0.5), **SIZES),
    "MultiLabelM2": lambda: MultiLabelM2(frequencies=np.array([0.2, 0.5, 0.5]), **SIZES),
    "VAE": lambda: VAE((1, 4, 4), latent_dim=np.int64(2), hidden_dims=(np.int64(5),)),
    "BitMixture": lambda: BitMixture(np.array([[0.0, 1.0], [2.0, 3.0]]), scale=np.float64(0.5)),
}


@pytest.mark.parametrize("name", NUMPY)
def test_numbers_of_numpy_become_pythons_own(name, tmp_path):
    model, path = NUMPY[name](), tmp_path / "m.pt"

    def flat(value):
        items = value.values() if isinstance(value, dict) else value
        several = isinstance(value, (tuple, dict))
        return [v for item in items for v in flat(item)] if several else [value]

    for option, value in stored_options(model).items():
        assert all(type(v).__module__ == "builtins" for v in flat(value)), option
    save_model(model, path)
    assert load_model(path).options == model.options


def test_numbers_of_numpy_in_a_configuration_can_be_resumed(tmp_path):
    path = tmp_path / "run.pt"
    config = FitConfig(
        epochs=np.int64(1),
        batch_size=np.int32(36),
        learning_rate=np.float64(1e-3),
        learning_rate_schedule="constant",
        anneal={"kl_z": Anneal(np.float64(0.1), np.float32(1.0), np.int64(5))},
        term_weights={"kl_y": np.float64(0.5)},
    )
    fit(small_m2(), blobs(), config, checkpoint=path)
    assert type(load_checkpoint(path)["config"]["learning_rate"]) is float
    rows = fit(small_m2(), blobs(), replace(config, epochs=2), path, resume=True).rows
    assert len(rows) == 2

"""Names in Pyro's parameter store."""

import copy
import pickle
import warnings

import pyro
import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO

from pyro_ssl.errors import ConfigError
from pyro_ssl.models import M2, MLPClassifier
from tests import oracle

OPTIONS = oracle.PLAIN | {
    "input_shape": (16,),
    "num_classes": 3,
    "latent_dim": 2,
    "hidden_dims": (8,),
}


def trained(model, steps=20):
    xs, ys = torch.rand(40, 16).round(), torch.randint(0, 3, (40,))
    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    svi = SVI(model.model, model.guide, pyro.optim.Adam({"lr": 0.05}), elbo)
    for _ in range(steps):
        svi.step(xs, ys)
    return xs


@pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites")
def test_a_named_model_is_found_in_a_file_of_the_parameter_store(tmp_path):
    MLPClassifier(input_shape=(16,), num_classes=3)
    M2(**OPTIONS)
    model = M2(**OPTIONS).named("my m2")
    assert model.param_name == "my m2"
    xs = trained(model)
    expected = model.predict_proba(xs)
    pyro.get_param_store().save(tmp_path / "store.pt")
    del model
    # As another program, in which other models were made before.
    pyro.clear_param_store()
    again = M2(**OPTIONS).named("my m2")
    pyro.get_param_store().load(tmp_path / "store.pt")
    with pytest.warns(UserWarning, match="parameters named 'my m2' that are not this model's own"):
        assert not torch.equal(again.predict_proba(xs), expected)
    pyro.module(again.param_name, again, update_module_params=True)
    assert torch.equal(again.predict_proba(xs), expected)


def test_models_are_counted_by_their_class():
    number = int(M2(**OPTIONS).param_name.removeprefix("m2_"))
    MLPClassifier(input_shape=(16,), num_classes=3)
    assert M2(**OPTIONS).param_name == f"m2_{number + 1}"


def test_a_name_in_use_is_refused_and_free_again_afterwards():
    first, other = M2(**OPTIONS).named("one"), M2(**OPTIONS)
    with pytest.raises(ConfigError, match="name is 'one', which another M2 has"):
        other.named("one")
    with pytest.raises(ConfigError, match="which another M2 has"):
        MLPClassifier((16,), 3).named(other.param_name)
    assert first.named("one") is first
    first.named("two")
    assert other.named("one").param_name == "one"
    del first
    other.named("two")
    for name in ("", "a$$$b"):
        with pytest.raises(ConfigError, match="expected a string without"):
            other.named(name)


def test_copies_of_a_named_model_have_names_of_their_own():
    model = M2(**OPTIONS).named("original")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.param_name not in ("original", model.param_name)
        assert twin.param_name.startswith("m2_")
    assert model.param_name == "original"


def test_statistics_that_the_store_does_not_hold_are_missed_with_a_warning():
    xs = torch.rand(6, 16)
    model = M2((16,), 3, latent_dim=2, hidden_dims=(8,), batch_norm=True)
    with pytest.warns(UserWarning, match="batch norm in this M2 has seen no batch"):
        model.predict_proba(xs)
    model.train().class_logits(xs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict_proba(xs)
        M2((16,), 3, batch_norm=False).predict_proba(xs)


def from_another_program(name, path):
    """Read the store as if what is in it had been called `name` in the program that wrote it."""
    store = pyro.get_param_store()
    state = store.get_state()
    for part, of_part in state.items():
        state[part] = {f"{name}$$${key.split('$$$')[1]}": v for key, v in of_part.items()}
    pyro.clear_param_store()
    torch.save(state, path)
    store.set_state(torch.load(path, weights_only=False))


@pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites")
def test_parameters_of_another_name_in_the_store_are_missed_with_a_warning(tmp_path):
    pyro.clear_param_store()
    model = M2(**OPTIONS)
    xs = trained(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = model.predict_proba(xs)
        # Models that were never in the store, beside one that is.
        M2(**OPTIONS).predict_proba(xs)
        copy.deepcopy(model).predict_proba(xs)
    name = "m2_123456"
    from_another_program(name, tmp_path / "store.pt")
    again = M2(**OPTIONS)
    # What a user's program does then: it registers untrained parameters beside the file's.
    pyro.module(again.param_name, again, update_module_params=True)
    says = rf"parameters named '{name}' that no model here has.*m\.named\('{name}'\)"
    with pytest.warns(UserWarning, match=says):
        again.predict_proba(xs)
    # Another model may have been given that name meanwhile.
    other = M2(**OPTIONS).named(name)
    with pytest.warns(UserWarning, match=says):
        again.predict_proba(xs)
    del other
    again.named(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pyro.module(again.param_name, again, update_module_params=True)
        assert torch.equal(again.predict_proba(xs), expected)

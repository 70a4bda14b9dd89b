"""Folders of estimators that were changed, damaged, or are of something else."""

import json
import os
import random
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from pyro_ssl.errors import CheckpointError, ConfigError, PyroSSLError, ResultsError
from pyro_ssl.estimator import SemiSupervisedVAEClassifier, SemiSupervisedVAERegressor
from tests.estimator.conftest import Unrecorded
from tests.tampering import FOREIGN, PLAIN, error_of, tampered

RNG = np.random.default_rng(0)
YS = RNG.integers(0, 2, 60)
XS = RNG.normal(size=(60, 3)) + 2 * YS[:, None] * [1, 0, 0]
FRAME = pd.DataFrame(XS, columns=["a", "b", "c"]).assign(kind=np.where(YS, "u", "v"))
FRAME.loc[::7, "a"] = np.nan
PARTLY = np.where(np.arange(60) < 30, YS, -1)
SHORT = {"members": 2, "max_steps": 4, "min_steps": 2, "random_state": 0}
DIGEST = "sha256_of_values"
# A forest of 10^20 trees would be grown until the memory is full.
JUNK = [
    *(junk for junk in PLAIN if junk != 10**20),
    {"tuple": [1]},
    {"array": ["<f8", [1], [1.0]]},
    {"estimator": {"class": "sklearn.svm.SVC", "parameters": {}}},
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder of each estimator, and of a classifier with one candidate."""
    folder = tmp_path_factory.mktemp("kept")
    trees = {"trees": ExtraTreesClassifier(2, random_state=0)}
    real = {"trees": ExtraTreesRegressor(2, random_state=0)}
    one = SemiSupervisedVAEClassifier("m2", classifiers=trees, **SHORT)
    other = SemiSupervisedVAERegressor(regressors=real, **SHORT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyro_ssl.infer.ensemble_gradients.Recorded", Unrecorded)
        one.fit(FRAME, PARTLY).save(folder / "classifier")
        other.fit(FRAME, np.where(np.arange(60) < 30, XS[:, 0], np.nan)).save(folder / "regressor")
    return folder


KINDS = {"classifier": SemiSupervisedVAEClassifier, "regressor": SemiSupervisedVAERegressor}
METHODS = ("predict", "transform", "impute")


def used(kind, folder):
    """Load an estimator, and call what takes rows."""
    found = KINDS[kind].load(folder)
    for name in METHODS:
        if hasattr(found, name):
            getattr(found, name)(FRAME[:3])
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25
)
def test_whatever_a_folder_says_is_used_or_refused_by_an_error_of_ours(kind, data, kept, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(kept / kind, folder, dirs_exist_ok=True)
    state = data.draw(tampered(json.loads((kept / kind / "model.json").read_text()), JUNK))
    if isinstance(state, dict):
        # As if an earlier version had written it.
        state.pop(DIGEST, None)
    (folder / "model.json").write_text(json.dumps(state))
    error = error_of(used, kind, folder)
    assert error is None or isinstance(error, PyroSSLError), repr(error)
    if isinstance(error, CheckpointError):
        assert str(tmp_path) in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_of_a_folder_changes_what_is_loaded(kind, kept, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(kept / kind, folder)
    (weights,) = folder.glob("*.npz")
    for file, most in ((folder / "model.json", 60), (weights, 60)):
        content = file.read_bytes()
        noticed = 0
        for bit in random.Random(0).sample(range(8 * len(content)), most):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << (bit % 8)
            file.write_bytes(changed)
            try:
                found = KINDS[kind].load(folder)
            except CheckpointError as error:
                noticed += 1
                assert str(folder) in str(error)  # noqa: PT017
            else:
                whole = KINDS[kind].load(kept / kind)
                np.testing.assert_array_equal(found.predict(FRAME), whole.predict(FRAME))
        # JSON is the same with other spaces.
        assert noticed == most if file == weights else noticed > most / 2
        file.write_bytes(content)
    used(kind, folder)


def test_a_number_that_was_changed_by_hand_is_noticed(kept, tmp_path):
    shutil.copytree(kept / "classifier", tmp_path / "copy")
    file = tmp_path / "copy" / "model.json"
    state = json.loads(file.read_text())
    state["inputs"]["columns"][0]["shift"] += 1.0
    file.write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match=r"model\.json is damaged or was changed: its SHA"):
        SemiSupervisedVAEClassifier.load(tmp_path / "copy")
    del state[DIGEST]
    file.write_text(json.dumps(state))
    SemiSupervisedVAEClassifier.load(tmp_path / "copy")


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_something_else_are_refused_and_run_no_code(name, kept, tmp_path, capsys):
    shutil.copytree(kept / "classifier", tmp_path / "copy")
    state = json.loads((tmp_path / "copy" / "model.json").read_text())
    (tmp_path / "file").write_bytes(FOREIGN[name])
    for file in ("model.json", state["weights"]):
        content = (tmp_path / "copy" / file).read_bytes()
        (tmp_path / "copy" / file).write_bytes(FOREIGN[name])
        for kind in KINDS.values():
            for place in ("copy", "file", "none"):
                with pytest.raises(CheckpointError, match=place):
                    kind.load(tmp_path / place)
        (tmp_path / "copy" / file).write_bytes(content)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("junk", [7, None, b"x", "a\0b", ["x"]])
def test_what_is_no_path_is_refused(junk, kept):
    one = SemiSupervisedVAEClassifier.load(kept / "classifier")
    for call in (one.save, SemiSupervisedVAEClassifier.load, SemiSupervisedVAERegressor.load):
        with pytest.raises(ConfigError, match="expected the path of a file"):
            call(junk)


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_what_could_not_be_loaded_is_refused_before_anything_is_replaced(kept, tmp_path):
    one = SemiSupervisedVAEClassifier.load(kept / "classifier")
    one.save(tmp_path / "m")
    before = contents(tmp_path / "m")
    column = one.inputs_.columns.columns[0]
    cases = (
        ("_seed", object(), "_seed holds"),
        ("_seed", "x", "the values of fit has _seed = 'x'"),
        ("class_shares_", np.array([None, 1], dtype=object), "class_shares is an array of object"),
        ("classes_", np.array([1, 2, 3]), "there are 3 classes, but the model has 2"),
        ("max_steps", {1, 2}, "max_steps holds"),
    )
    for name, value, words in cases:
        former = getattr(one, name)
        setattr(one, name, value)
        for place in ("m", "new"):
            with pytest.raises(ConfigError, match=words):
                one.save(tmp_path / place)
        setattr(one, name, former)
    object.__setattr__(column, "dtype", pd.Timestamp("2024"))
    with pytest.raises(ConfigError, match=r"model\.json cannot hold inputs\['columns'\]\[0\]"):
        one.save(tmp_path / "m")
    object.__setattr__(column, "dtype", "no dtype at all")
    with pytest.raises(ConfigError, match=r"could not be loaded: .*no dtype at all"):
        one.save(tmp_path / "m")
    assert contents(tmp_path / "m") == before
    assert not (tmp_path / "new").exists()


def test_parameters_of_numpy_paths_and_devices_are_loaded_again(kept, tmp_path):
    one = SemiSupervisedVAEClassifier.load(kept / "classifier")
    one.set_params(
        max_steps=np.int64(4),
        class_prior=np.array([0.5, 0.5]),
        model_options={"hidden_dims": np.array([4]), "alpha": np.float32(0.5)},
        checkpoint=tmp_path / "state.pt",
        device=torch.device("cpu"),
    )
    one.save(tmp_path / "m")
    again = SemiSupervisedVAEClassifier.load(tmp_path / "m")
    assert type(again.max_steps) is int
    assert again.model_options == {"hidden_dims": (4,), "alpha": 0.5}
    assert (again.checkpoint, again.device) == (one.checkpoint, one.device)


def test_weights_that_a_kill_or_a_full_disk_left_are_cleared(kept, tmp_path, monkeypatch):
    one = SemiSupervisedVAEClassifier.load(kept / "classifier")
    one.save(tmp_path / "m")
    names = contents(tmp_path / "m").keys()
    (tmp_path / "m" / "weights-00000000.npz").write_bytes(b"of a writer that was killed")
    replace = os.replace

    def full(source, target):
        if target.name == "model.json":
            raise OSError(28, "No space left on device")
        replace(source, target)

    other = SemiSupervisedVAEClassifier.load(kept / "classifier")
    other.class_shares_ = other.class_shares_[::-1].copy()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(ResultsError, match=r"model\.json cannot be written: \[Errno 28\]"):
            other.save(tmp_path / "m")
        with pytest.raises(ResultsError, match=r"model\.json cannot be written: \[Errno 28\]"):
            other.save(tmp_path / "new")
    assert contents(tmp_path / "m").keys() == names
    assert not [*(tmp_path / "new").iterdir()]
    (tmp_path / "m" / "weights-00000000.npz").write_bytes(b"of a writer that was killed")
    # Somebody else is about to name it.
    (tmp_path / "m" / "model.json.00000000-00000000.tmp").touch()
    one.save(tmp_path / "m")
    assert (tmp_path / "m" / "weights-00000000.npz").exists()
    (tmp_path / "m" / "model.json.00000000-00000000.tmp").unlink()
    other.save(tmp_path / "m")
    assert len(contents(tmp_path / "m")) == 2

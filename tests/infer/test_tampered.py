"""Checkpoints that were changed, damaged, or are of something else: always errors of our own."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_ssl.errors import CheckpointError, ConfigError, PyroSSLError
from pyro_ssl.infer import FitConfig, fit, load_checkpoint, load_model, save_model
from pyro_ssl.infer.ensemble import EnsembleConfig, Member, fit_ensemble
from pyro_ssl.models import M2
from tests.estimator.conftest import Unrecorded
from tests.infer.problems import STEADY, blobs, small_m2
from tests.infer.test_fit import same_weights
from tests.tampering import FOREIGN, JUNK, PLAIN, changed, error_of, tampered

CONFIG = FitConfig(epochs=1, batch_size=9, **STEADY)
ENSEMBLE = EnsembleConfig(max_steps=3, check_every=1, min_steps=1, batch_size=4)
FUZZ = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=60,
)


def resume(path):
    model = small_m2()
    fit(model, blobs(24, 6), replace(CONFIG, epochs=2), checkpoint=path, resume=True)
    return model


def resume_ensemble(path, on_check=None, resume=True):
    torch.manual_seed(0)
    xs = torch.rand(20, 1, 4, 4).round()
    members = [Member(np.arange(b, b + 6), np.arange(b + 6, 20)) for b in (0, 3)]
    models = [small_m2(seed) for seed in (0, 1)]
    ys = torch.arange(20) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit_ensemble(models, xs, ys, members, ENSEMBLE, None, on_check, path, resume)
    return models[0]


class Stopped(Exception):  # noqa: N818
    pass


def stop(step):
    if step == 2:
        raise Stopped


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    # Recording takes longer than these steps.
    monkeypatch.setattr("pyro_ssl.infer.ensemble_gradients.Recorded", Unrecorded)


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """The content of each kind of file."""
    path = tmp_path_factory.mktemp("files")
    save_model(small_m2(), path / "model.pt")
    fit(small_m2(), blobs(24, 6), CONFIG, checkpoint=path / "run.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyro_ssl.infer.ensemble_gradients.Recorded", Unrecorded)
        with pytest.raises(Stopped):
            resume_ensemble(path / "ensemble.pt", stop, resume=False)
    return {file.stem: torch.load(file, weights_only=True) for file in path.iterdir()}


READERS = {
    "model": load_model,
    "checkpoint of a model": load_model,
    "run": resume,
    "ensemble": resume_ensemble,
}
KINDS = {"checkpoint of a model": "run"}


@pytest.mark.parametrize("reader", READERS)
@given(data=st.data())
@FUZZ
def test_whatever_a_file_says_is_used_or_refused_by_an_error_of_ours(
    reader, data, states, tmp_path
):
    file = tmp_path / "f.pt"
    torch.save(data.draw(tampered(states[KINDS.get(reader, reader)])), file)
    error = error_of(READERS[reader], file)
    assert error is None or isinstance(error, PyroSSLError), repr(error)
    if isinstance(error, CheckpointError):
        assert "f.pt" in str(error)
    elif isinstance(error, ConfigError):
        # The file asks for an object.
        assert "load_model(path, " in str(error)


@pytest.mark.parametrize("name", [*FOREIGN, "a folder"])
def test_files_of_something_else_are_refused_and_run_no_code(name, tmp_path, capsys):
    file = tmp_path / "f.pt"
    file.mkdir() if name == "a folder" else file.write_bytes(FOREIGN[name])
    for reader in (*READERS.values(), load_checkpoint):
        with pytest.raises(CheckpointError, match=r"f\.pt"):
            reader(file)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("junk", [7, None, b"f.pt", "a\0b", ["f.pt"]])
def test_what_is_no_path_is_refused(junk):
    calls = [load_model, load_checkpoint, lambda path: save_model(small_m2(), path)]
    if junk is not None:
        calls += [resume, resume_ensemble]
    for call in calls:
        with pytest.raises(
            ConfigError, match=r"expected the path of a file|expected a string, or a Path"
        ):
            call(junk)


@pytest.mark.parametrize(
    ("at", "junk"),
    [
        (("epoch",), -1),
        (("epoch",), True),
        (("history",), [3]),
        (("history", 0, "loss"), {}),
        (("best", "model"), {}),
        (("best", "value"), "high"),
        (("best", "epoch"), 0.5),
        (("optimiser", "state", 0, "exp_avg"), torch.zeros(2)),
        (("optimiser", "state", 0), {}),
        (("optimiser", "state"), {99: {"step": 1}}),
        (("rng", 0, "cpu"), torch.zeros(3, dtype=torch.uint8)),
        (("rng",), [1]),
        (("compiles",), "no"),
    ],
)
def test_what_a_run_would_meet_later_is_refused_at_once(at, junk, states, tmp_path):
    torch.save(changed(states["run"], at, junk), tmp_path / "f.pt")
    with pytest.raises(CheckpointError, match=r"f\.pt"):
        resume(tmp_path / "f.pt")


@pytest.mark.parametrize(
    ("at", "junk"),
    [
        (("progress", "schedule", "_falls_from"), 3),
        (("progress", "schedule", "end"), 2.0),
        (("progress", "schedule", "_best"), "high"),
        (("progress", "history", "steps"), True),
        (("progress", "history", "steps"), 1),
        (("progress", "history", "rows"), [1]),
        (("optimiser", "state", 0, "exp_avg_sq"), torch.zeros(1)),
        (("models",), []),
        (("step",), 0.5),
    ],
)
def test_what_an_ensemble_would_meet_later_is_refused_at_once(at, junk, states, tmp_path):
    torch.save(changed(states["ensemble"], at, junk), tmp_path / "f.pt")
    with pytest.raises(CheckpointError, match=r"f\.pt"):
        resume_ensemble(tmp_path / "f.pt")


def test_the_options_of_an_ensembles_optimiser_are_those_of_the_run(states, tmp_path):
    whole, file = tmp_path / "whole.pt", tmp_path / "f.pt"
    torch.save(states["ensemble"], whole)
    torch.save(changed(states["ensemble"], ("optimiser", "param_groups", 0, "betas"), "x"), file)
    assert same_weights(resume_ensemble(file), resume_ensemble(whole))


class WithOption(M2):
    """M2 with an option of any kind."""

    def __init__(self, note=None, **options):
        super().__init__(**options)
        self.note = note


SIZES = {"input_shape": (1, 4, 4), "num_classes": 3, "latent_dim": 2, "hidden_dims": (5,)}


@pytest.mark.parametrize(
    "note",
    [torch.tensor([1.0, float("nan")]), float("nan"), torch.Size([2]), [1, (2, "x")], {"a": 1}],
    ids=str,
)
def test_options_of_plain_values_and_tensors_come_back(note, tmp_path):
    path = tmp_path / "run.pt"
    if isinstance(note, torch.Tensor):
        note = note.nan_to_num()
    model = WithOption(note, **SIZES)
    fit(model, blobs(24, 6), CONFIG, checkpoint=path)
    again = load_model(path, WithOption)
    assert same_weights(again, model)
    assert str(again.note) == str(tuple(note) if isinstance(note, torch.Size) else note)
    config = replace(CONFIG, epochs=2)
    fit(WithOption(note, **SIZES), blobs(24, 6), config, checkpoint=path, resume=True)
    with pytest.raises(CheckpointError, match=r"run\.pt: .*another note"):
        fit(WithOption("else", **SIZES), blobs(24, 6), config, checkpoint=path, resume=True)


class WithState(M2):
    """M2 with more in its state than tensors."""

    def get_extra_state(self):
        return object()

    def set_extra_state(self, state):
        pass


def test_a_state_that_could_not_be_read_is_refused_before_training(tmp_path):
    path = tmp_path / "run.pt"
    save_model(small_m2(), path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"run\.pt cannot hold model\['_extra_state'\]"):
        save_model(WithState(**SIZES), path)
    assert path.read_bytes() == before
    with pytest.raises(ConfigError, match=r"cannot hold model\['_extra_state'\], the object"):
        fit(WithState(**SIZES), blobs(24, 6), CONFIG, checkpoint=tmp_path / "new.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


def test_what_a_callback_adds_to_the_history_comes_back_or_is_refused(tmp_path):
    def adding(value):
        def on_epoch(progress):
            progress.rows[-1]["mine"] = value

        return on_epoch

    config = replace(CONFIG, epochs=2)
    fit(small_m2(), blobs(24, 6), config, tmp_path / "a.pt", on_epoch=adding(np.float64(0.5)))
    row = load_checkpoint(tmp_path / "a.pt")["history"][0]
    assert type(row["mine"]) is float
    with pytest.raises(ConfigError, match=r"b\.pt cannot hold history\[0\]\['mine'\]"):
        fit(small_m2(), blobs(24, 6), config, tmp_path / "b.pt", on_epoch=adding(np.ones(2)))
    # The state before is still there.
    assert load_checkpoint(tmp_path / "b.pt")["epoch"] == 1


def test_junk_covers_what_json_has():
    assert all(any(junk is plain for junk in JUNK) for plain in PLAIN)

import hashlib
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_ssl.errors import CheckpointError, ResultsError
from pyro_ssl.infer import FitConfig, fit, load_checkpoint, load_model, save_checkpoint
from pyro_ssl.infer.digests import digest_of
from pyro_ssl.infer.upgrade import upgraded
from tests.infer.problems import STEADY, blobs, small_m2


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "run.pt"
    fit(small_m2(), blobs(), FitConfig(epochs=1, batch_size=36, **STEADY), checkpoint=path)
    return path


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_truncated_file_is_an_error_that_says_so(checkpoint, kept):
    content = checkpoint.read_bytes()
    size = kept if isinstance(kept, int) else int(kept * len(content))
    checkpoint.write_bytes(content[:size])
    with pytest.raises(CheckpointError, match="truncated or not a checkpoint"):
        load_checkpoint(checkpoint)


@given(content=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_that_are_no_checkpoint_are_refused(tmp_path, content):
    path = tmp_path / "bytes.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


class Payload:
    def __reduce__(self):
        return (print, ("code ran from a checkpoint",))


@pytest.mark.parametrize("content", [{"weights": 1}, [1, 2], torch.zeros(3)])
def test_foreign_file_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="is not a"):
        load_checkpoint(tmp_path / "foreign.pt")


def test_file_that_carries_code_is_refused_and_not_run(tmp_path, capsys):
    torch.save(Payload(), tmp_path / "evil.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "evil.pt")
    assert "code ran" not in capsys.readouterr().out


def test_incomplete_state_is_named(tmp_path, checkpoint):
    state = load_checkpoint(checkpoint)
    del state["optimiser"]
    save_checkpoint(state, tmp_path / "partial.pt")
    with pytest.raises(CheckpointError, match="lacks optimiser"):
        load_checkpoint(tmp_path / "partial.pt")


def test_unwritable_place_is_named_and_leaves_no_rubbish(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultsError, match="cannot be written"):
        save_checkpoint({}, tmp_path / "file" / "run.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_failed_write_keeps_the_old_file(checkpoint, monkeypatch):
    before = checkpoint.read_bytes()

    def full_disk(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(ResultsError, match="no space left"):
        save_checkpoint({}, checkpoint)
    assert checkpoint.read_bytes() == before


def test_checkpoint_of_an_earlier_version_is_resumed_with_the_weight_it_had(checkpoint):
    state = torch.load(checkpoint, weights_only=True)
    # Then it was the weight of each of 12 labelled rows, in a loss divided by all 120.
    options = state["model_options"]
    options["classification_weight"] = 10 * options.pop("alpha")
    torch.save(state | {"format": "pyro_ssl checkpoint 3"}, checkpoint)
    assert load_model(checkpoint).alpha == small_m2().alpha
    config = FitConfig(epochs=2, batch_size=36, **STEADY)
    history = fit(small_m2(), blobs(), config, checkpoint=checkpoint, resume=True)
    assert len(history.rows) == 2


def test_weight_of_ccvae_of_an_earlier_version_counted_what_is_in_the_bound():
    state = {"model_class": "CCVAE", "rows": [5, 15, 3]}
    old = state | {"model_options": {"classification_weight": 9.0}}
    assert upgraded(old) == state | {"model_options": {"alpha": 2.0}}


OTHER_ROWS = {
    "labelled_xs": lambda data: data.labelled_xs.flip(-1),
    "labelled_ys": lambda data: (data.labelled_ys + 1) % 3,
    "unlabelled_xs": lambda data: data.unlabelled_xs.flip(0),
    "validation_xs": lambda data: 1 - data.validation_xs,
    "validation_ys": lambda data: data.validation_ys.flip(0),
}


@pytest.mark.parametrize("part", OTHER_ROWS)
def test_other_rows_of_equal_number_are_refused_and_named(checkpoint, part):
    other = replace(blobs(), **{part: OTHER_ROWS[part](blobs())})
    model, config = small_m2(seed=1), FitConfig(epochs=2, batch_size=36, **STEADY)
    with pytest.raises(CheckpointError, match=f"other data, its {part} differ"):
        fit(model, other, config, checkpoint=checkpoint, resume=True)
    before = small_m2(seed=1).state_dict()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    history = fit(model, blobs(), config, checkpoint=checkpoint, resume=True)
    assert len(history.rows) == 2


def test_one_changed_bit_of_one_row_is_refused(checkpoint):
    data = blobs()
    data.unlabelled_xs[57, 0, 2, 1] = (data.unlabelled_xs[57, 0, 2, 1] - 1e-7).abs()
    with pytest.raises(CheckpointError, match="its unlabelled_xs differ"):
        fit(small_m2(), data, FitConfig(batch_size=36, **STEADY), checkpoint, resume=True)


def test_computed_rows_are_told_apart_by_what_they_are_called(tmp_path):
    config, path = FitConfig(epochs=1, batch_size=36, **STEADY), tmp_path / "run.pt"
    fit(small_m2(), blobs(), config, path, identity="latents of A")
    again = replace(blobs(), unlabelled_xs=blobs().unlabelled_xs * (1 - 1e-7))
    fit(small_m2(), again, config, path, resume=True, identity="latents of A")
    with pytest.raises(CheckpointError, match="its identity differ"):
        fit(small_m2(), blobs(), config, path, resume=True, identity="latents of B")


def test_a_checkpoint_that_says_nothing_of_its_rows_is_resumed_with_a_warning(checkpoint):
    state = load_checkpoint(checkpoint)
    del state["digests"]
    save_checkpoint(state, checkpoint)
    config = FitConfig(epochs=2, batch_size=36, **STEADY)
    with pytest.warns(UserWarning, match="kept no digest of its rows"):
        fit(small_m2(), blobs(), config, checkpoint=checkpoint, resume=True)
    assert load_checkpoint(checkpoint)["digests"]["labelled_xs"]


@pytest.mark.parametrize(
    "values", [torch.arange(7), torch.rand(5, 3, 2).bfloat16(), torch.zeros(0)]
)
def test_a_digest_is_that_of_the_bytes_however_they_are_read(values, monkeypatch):
    whole = hashlib.sha256(bytes(values.contiguous().view(torch.uint8).flatten().tolist()))
    monkeypatch.setattr("pyro_ssl.infer.digests._BLOCK", 16)
    assert digest_of(values) == whole.hexdigest()
    if values.dim() > 1:
        assert digest_of(values.transpose(1, 2).contiguous().transpose(1, 2)) == whole.hexdigest()

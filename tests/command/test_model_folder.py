import json
import os

import pytest

from pyro_ssl.command.model_folder import fit_folder, load_model
from pyro_ssl.errors import CheckpointError, ConfigError, DataError, ResultsError
from tests.command.conftest import QUICK
from tests.test_text_files import DAMAGED

COLUMNS = ("--label-column", "y", "--drop", "id")


def contents(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_model_is_replaced_only_when_told_to(fitted, cli, tmp_path):
    out, other = tmp_path / "m", ("--seed", "1")
    args = ("fit", fitted / "data.csv", *COLUMNS, "-o", out, *QUICK)
    assert cli(*args)[0] == 0
    before = {name: (out / name).read_bytes() for name in contents(out)}
    code, _, err = cli(*args, *other)
    assert (code, "use --overwrite to replace it" in err) == (1, True)
    assert {name: (out / name).read_bytes() for name in contents(out)} == before
    assert cli(*args, *other, "--overwrite")[0] == 0
    assert len(contents(out)) == len(before)
    assert {name for name in contents(out) if "weights" in name} - before.keys()
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_other_folders_and_files_are_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").touch()
    (tmp_path / "file").touch()
    for name in ("photos", "file"):
        with (
            pytest.raises(ResultsError, match="is not a model folder"),
            fit_folder(tmp_path / name, False, True),
        ):
            pass
    assert contents(tmp_path) == {"photos/a.txt", "file"}


def test_an_empty_folder_is_free(tmp_path):
    (tmp_path / "m").mkdir()
    with fit_folder(tmp_path / "m", False, False) as folder:
        folder.begin({"seed": 1})


def test_an_error_leaves_nothing_behind(tmp_path):
    def failing():
        with fit_folder(tmp_path / "m", False, False) as folder:
            folder.begin({"seed": 1})
            folder.state.touch()
            raise DataError("odd")

    with pytest.raises(DataError):
        failing()
    assert not [*tmp_path.iterdir()]


def test_an_error_does_not_destroy_what_could_go_on(tmp_path):
    def cut_short():
        with fit_folder(tmp_path / "m", False, False) as folder:
            folder.begin({"seed": 1})
            folder.state.touch()
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="--resume"), pytest.raises(KeyboardInterrupt):
        cut_short()
    with pytest.raises(ResultsError, match="is left from a fit"), fit_folder(tmp_path / "m", 0, 0):
        pass
    with (
        pytest.raises(ConfigError, match="other seed, model"),
        fit_folder(tmp_path / "m", True, False) as folder,
    ):
        folder.begin({"seed": 2, "model": "m2", "drop": ()})
    assert contents(tmp_path) == {"m.partial/run.json", "m.partial/training.pt"}
    (tmp_path / "m.partial" / "run.json").write_text("{")
    with (
        pytest.raises(CheckpointError, match="is damaged"),
        fit_folder(tmp_path / "m", True, False) as folder,
    ):
        folder.begin({"seed": 1})


def test_a_fit_that_is_the_same_goes_on(tmp_path):
    (tmp_path / "m.partial").mkdir()
    (tmp_path / "m.partial" / "run.json").write_text(json.dumps({"drop": ["id"], "seed": 1}))
    with fit_folder(tmp_path / "m", True, False) as folder:
        folder.begin({"drop": ("id",), "seed": 1})


@pytest.mark.parametrize("resume", [True, False])
def test_one_fit_at_a_time_writes_a_folder(resume, tmp_path):
    with fit_folder(tmp_path / "m", False, False) as folder:
        folder.begin({"seed": 1})
        folder.state.write_text("a training")
        with (
            pytest.raises(
                ResultsError, match=f"m.partial is being written by process {os.getpid()} "
            ),
            fit_folder(tmp_path / "m", resume, False),
        ):
            pass
        assert contents(folder.partial) == {"run.json", "training.pt"}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_note_of_a_fit_is_named(content, tmp_path):
    (tmp_path / "m.partial").mkdir()
    (tmp_path / "m.partial" / "run.json").write_bytes(content)
    with (
        pytest.raises(CheckpointError, match=r"run\.json is damaged .*: delete "),
        fit_folder(tmp_path / "m", True, False) as folder,
    ):
        folder.begin({"seed": 1})


@pytest.mark.skipif(os.name == "nt", reason="NO FOLDERS THAT CANNOT BE WRITTEN are tested here")
def test_a_place_that_cannot_be_written(fitted, cli, tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "m"
    code, _, err = cli("fit", fitted / "data.csv", *COLUMNS, "-o", out, *QUICK)
    assert code == 1
    assert err.startswith("pyro-ssl: error: ")
    assert "cannot be written" in err


def test_the_report_is_in_the_folder(fitted, tmp_path):
    classifier, recipe = load_model(fitted / "model")
    with fit_folder(tmp_path / "m", False, False) as folder:
        folder.finish(classifier, recipe, {"rows": 120})
    assert contents(tmp_path / "m") == {*contents(fitted / "model"), "report.html"}
    assert "120" in (tmp_path / "m" / "report.html").read_text()


def test_a_report_that_fails_does_not_cost_the_model(fitted, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("no picture")

    monkeypatch.setattr("pyro_ssl.report.write_report", fail)
    classifier, recipe = load_model(fitted / "model")
    folder = fit_folder(tmp_path / "m", False, False)
    with pytest.raises(RuntimeError, match="no picture"), folder as opened:
        opened.finish(classifier, recipe, {"rows": 120})
    assert contents(tmp_path) == {f"m/{name}" for name in contents(fitted / "model")}

"""Model folders that were changed or damaged: one line, code 1, or the same predictions."""

import json
import random
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_ssl.command.model_folder import fit_folder
from pyro_ssl.errors import CheckpointError
from tests.tampering import FOREIGN, PLAIN, tampered


def predict(cli, folder, data, out):
    code, shown, err = cli("predict", folder, data, "-o", out)
    lines = err.splitlines()
    assert (code, shown) == (0, "") or (code, lines[-1][:16]) == (1, "pyro-ssl: error:"), err
    return code, err


@pytest.mark.filterwarnings("ignore")
@given(data=st.data())
@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25
)
def test_whatever_a_file_says_of_the_data(data, fitted, cli, tmp_path):
    shutil.copytree(fitted / "model", tmp_path / "m", dirs_exist_ok=True)
    state = json.loads((fitted / "model" / "data.json").read_text())
    state = data.draw(tampered({k: state[k] for k in ("format", "reading", "versions")}, PLAIN))
    (tmp_path / "m" / "data.json").write_text(json.dumps(state))
    predict(cli, tmp_path / "m", fitted / "data.csv", tmp_path / "p.csv")


def test_columns_of_another_model_are_named(fitted, cli, tmp_path):
    shutil.copytree(fitted / "model", tmp_path / "m")
    state = json.loads((fitted / "model" / "data.json").read_text())
    reading = {**state["reading"], "columns": state["reading"]["columns"][1:]}
    state = {"format": state["format"], "reading": reading}
    (tmp_path / "m" / "data.json").write_text(json.dumps(state))
    code, err = predict(cli, tmp_path / "m", fitted / "data.csv", tmp_path / "p.csv")
    assert code == 1
    assert "but the model was trained on " in err


def test_no_flipped_bit_of_a_model_folder_changes_predictions(fitted, cli, tmp_path):
    shutil.copytree(fitted / "model", tmp_path / "m")
    predict(cli, fitted / "model", fitted / "data.csv", tmp_path / "whole.csv")
    noticed = 0
    for file in ("data.json", "model.json"):
        content = (tmp_path / "m" / file).read_bytes()
        for bit in random.Random(1).sample(range(8 * len(content)), 8):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << (bit % 8)
            (tmp_path / "m" / file).write_bytes(changed)
            code, err = predict(cli, tmp_path / "m", fitted / "data.csv", tmp_path / "p.csv")
            noticed += code
            if code:
                assert file in err
            else:
                assert (tmp_path / "p.csv").read_text() == (tmp_path / "whole.csv").read_text()
        (tmp_path / "m" / file).write_bytes(content)
    assert noticed >= 8


@pytest.mark.parametrize("name", [*FOREIGN, "a folder"])
def test_files_of_something_else_are_named(name, fitted, cli, tmp_path):
    shutil.copytree(fitted / "model", tmp_path / "m")
    (weights,) = (tmp_path / "m").glob("*.npz")
    for file in (tmp_path / "m" / "data.json", tmp_path / "m" / "model.json", weights):
        content = file.read_bytes()
        file.unlink()
        file.mkdir() if name == "a folder" else file.write_bytes(FOREIGN[name])
        code, err = predict(cli, tmp_path / "m", fitted / "data.csv", tmp_path / "p.csv")
        assert code == 1
        assert file.name in err
        assert not (tmp_path / "p.csv").exists()
        shutil.rmtree(file) if file.is_dir() else file.unlink()
        file.write_bytes(content)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_fit_does_not_go_on_from_files_of_something_else(name, tmp_path):
    def go_on():
        with fit_folder(tmp_path / "m", True, False) as folder:
            folder.begin({"seed": 1})

    (tmp_path / "m.partial").mkdir()
    (tmp_path / "m.partial" / "training.pt").touch()
    (tmp_path / "m.partial" / "run.json").write_bytes(FOREIGN[name])
    with pytest.raises(Exception, match=r"m\.partial") as found:
        go_on()
    assert isinstance(found.value, CheckpointError) or name == "json"
    assert (tmp_path / "m.partial" / "run.json").exists()


def test_a_full_output_is_named(fitted, monkeypatch, capsys):
    from pyro_ssl.command.main import main

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("builtins.print", full)
    with monkeypatch.context() as patch:
        patch.setattr("pyro_ssl.command.main._failed", lambda text, code: (text, code))
        found = main(["describe", str(fitted / "data.csv"), "--label-column", "y"])
    words = "the standard output cannot be written: [Errno 28] No space left on device"
    assert found == (words, 1)

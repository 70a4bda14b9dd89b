import json

import pandas as pd
import pytest
import torch

from experiments import gan_decoder_vae
from pyro_ssl.files import write_state
from pyro_ssl.infer import load_model
from pyro_ssl.infer.checkpoint import read_state

TINY = (
    "--dataset shapes --rows 40 --gan-steps 40 --encoder-steps 40 --joint-steps 40 --batch-size 4 "
    "--latent-dim 3 --channels 2 --compared-rows 200 --measurements 4 --device cpu --quiet"
).split()
FOLDER = "gan_decoder_vae/generatorvae-shapes"


def run(root, *arguments) -> int:
    return gan_decoder_vae.main([*TINY, "--results-root", str(root), *arguments])


def outcome(root):
    frame = pd.read_csv(root / FOLDER / "seed_0.csv")
    result = json.loads((root / FOLDER / "seed_0.json").read_text())
    return frame, {k: v for k, v in result.items() if k.startswith(("elbo", "frechet"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    assert run(root) == 0
    return outcome(root)


def test_stages_one_by_one_end_as_all_at_once(whole, tmp_path):
    for stage in ("gan", "encoder", "joint"):
        assert run(tmp_path, "--stage", stage, *(["--resume"] if stage != "gan" else [])) == 0
    torch.manual_seed(123)
    assert run(tmp_path, "--stage", "fid", "--resume") == 0
    frame, result = outcome(tmp_path)
    pd.testing.assert_frame_equal(frame, whole[0])
    assert result == whole[1]
    assert run(tmp_path) == 0
    assert (frame["features"] == "classifier").all()
    for stage in ("generator", "joint"):
        assert (tmp_path / FOLDER / f"seed_0_{stage}_over_time.png").exists()
    # Distances are comparable only while the features come from the same kind of classifier.
    options = load_model(tmp_path / FOLDER / "seed_0_features.pt").options
    assert (options["batch_norm"], options["input_dropout"]) == (False, 0.0)


def test_features_must_not_change_on_the_way(tmp_path, monkeypatch, capsys):
    assert run(tmp_path, "--stage", "joint") == 0
    file = tmp_path / FOLDER / "seed_0_joint.pt"
    state = read_state(file)
    assert state["seconds"] > 0
    state["rows"][0]["features"] = "inception"
    write_state(state, file)
    assert run(tmp_path, "--resume") == 1
    assert "partly of Inception's features and partly of a classifier's" in capsys.readouterr().err


def test_measurements_are_before_during_and_after_joint_training(whole):
    frame, result = whole
    assert frame["step"].tolist() == [0, 10, 20, 30, 40]
    assert result["elbo_encoder"] == pytest.approx(frame["elbo"].iloc[0])
    assert result["elbo_joint"] == pytest.approx(frame["elbo"].iloc[-1])
    assert result["elbo_gain"] == pytest.approx(frame["elbo"].iloc[-1] - frame["elbo"].iloc[0])
    # Its own samples, drawn again, are as near as can be; training has moved the others.
    assert result["frechet_generator"] < result["frechet_joint"]
    assert frame["elbo"].iloc[-1] > frame["elbo"].iloc[0]


def test_how_often_one_looks_does_not_change_what_is_trained(whole, tmp_path):
    assert run(tmp_path, "--measurements", "2", "--tag", "seldom") == 0
    frame = pd.read_csv(tmp_path / f"{FOLDER}-seldom" / "seed_0.csv")
    pd.testing.assert_frame_equal(frame, whole[0].iloc[[0, 2, 4]].reset_index(drop=True))


def test_what_lies_there_is_not_taken_for_a_checkpoint(tmp_path, capsys):
    file = tmp_path / FOLDER / "seed_0_gan.pt"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"abc")
    assert run(tmp_path) == 1
    assert "unfinished run: go on with --resume" in capsys.readouterr().err
    assert run(tmp_path, "--resume") == 1
    assert "is truncated or not a checkpoint" in capsys.readouterr().err
    write_state({"generator": {}, "rows": [], "done": 1}, file)
    assert run(tmp_path, "--resume") == 1
    assert "is of another run" in capsys.readouterr().err

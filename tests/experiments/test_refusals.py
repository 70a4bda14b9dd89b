"""Options that cannot work together, each refused in one line that names it."""

import importlib

import pytest
import torch

from experiments.engine.results import RunFolder
from experiments.engine.runner import run_comparisons
from pyro_ssl.data import ImageDataset
from pyro_ssl.errors import ConfigError, ResultsError

SHAPES = "--train-rows 60 --test-rows 5 --size 16 --validation 5"
REFUSED = [
    ("mnist_m2", "--dataset digits --label-fraction 0.0001", "which is less than one row"),
    ("shapes_ccvae", f"{SHAPES} --labels 0", "labels is 0, but the classifier learns"),
    ("gmm_approximation", "--encoder-steps 99", "encoder_steps is 99, expected at most 50 or a"),
    ("gan_decoder_vae", "--batch-size 0", "batch_size is 0, expected at least 2"),
    ("gan_decoder_vae", "--rows 0", "rows is 0, expected at least 1"),
    ("celeba_ccvae", "--folder none --rows 5", "rows is for CelebA"),
    ("semantic_hashing", "--draws 0", "draws is 0, expected at least 1"),
]


@pytest.mark.parametrize(
    ("name", "arguments", "says"), REFUSED, ids=[" ".join(r[:2]) for r in REFUSED]
)
def test_is_refused(name, arguments, says, tmp_path, capsys):
    module = importlib.import_module(f"experiments.{name}")
    assert module.main([*arguments.split(), "--results-root", str(tmp_path)]) == 1
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_seeds_of_which_only_stages_are_there_are_not_orphaned(tmp_path):
    RunFolder(tmp_path, {"a": 1}).claim([0, 1], overwrite=False)
    for seed in (0, 1):
        (tmp_path / f"seed_{seed}_gan.pt").write_bytes(b"")
    with pytest.raises(ResultsError, match=r"also holds seeds \[1\]"):
        RunFolder(tmp_path, {"a": 2}).check_replaceable([0])
    RunFolder(tmp_path, {"a": 2}).check_replaceable([0, 1])


@pytest.mark.parametrize(
    "name", ["gan_decoder_vae", "gmm_approximation", "mnist_m1m2", "mnist_m1_svm"]
)
def test_several_processes_are_refused_where_they_cannot_share(name, monkeypatch, tmp_path):
    module = importlib.import_module(f"experiments.{name}")
    comparison = module.comparison(module.Config(results_root=str(tmp_path)))
    monkeypatch.setattr("pyro_ssl.infer.devices.launched_by_torchrun", lambda: True)
    with pytest.raises(ConfigError, match="use --jobs instead"):
        run_comparisons([comparison])
    assert not list(tmp_path.iterdir())


def test_data_sets_of_one_name_are_told_apart():
    xs, ys = torch.rand(6, 1, 2, 2), torch.tensor([0, 1, 0, 1, 0, 1])
    one = ImageDataset("a", xs, ys, xs, ys, 2)
    assert one.digest == ImageDataset("b", xs.clone(), ys, xs, ys, 2).digest
    assert one.digest != ImageDataset("a", xs, 1 - ys, xs, ys, 2).digest
    assert one.digest != ImageDataset("a", xs.flip(0), ys, xs, ys, 2).digest

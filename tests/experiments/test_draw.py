"""Figures that are drawn again from a checkpoint."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from experiments import draw, mnist_m2
from experiments.engine.figures import FIGURES
from pyro_ssl.infer import load_model, save_model
from pyro_ssl.models import CCVAE, M1M2, VAE, Autoencoder, LatentM2, MLPClassifier, MultiLabelCCVAE
from tests.experiments.test_smoke import EXPERIMENTS, folder_of_classes

TINY = (
    "--dataset digits --labels 20 --validation 50 --epochs 2 --hidden-dims 16 --latent-dim 2 "
    "--quiet --no-baseline"
)
DIGITS = {"dataset": "digits", "labels": 20, "validation": 50}
SMALL = {"latent_dim": 2, "hidden_dims": (8,)}


@pytest.fixture(autouse=True)
def draw_once():
    """All figures are rendered here, unlike in other tests of experiments."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run that was trained."""
    root = tmp_path_factory.mktemp("results")
    assert mnist_m2.main([*TINY.split(), "--results-root", str(root)]) == 0
    return root / "mnist_m2" / "m2-digits-20"


def left(root, experiment, folder, model, config, name="seed_0.pt"):
    """Leave a model as an experiment does, untrained; return the file."""
    file = root / experiment / folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    (file.parent / "config.json").write_text(json.dumps(config))
    save_model(model, file)
    return file


def listed(file, capsys):
    """The names that the command lists."""
    assert draw.main([str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line.strip() for line in lines if line.startswith("  ")} - {""}


def test_every_figure_that_a_model_leaves_has_its_name():
    stages = ("gan_decoder_vae", "gmm_approximation")
    files = [f for e, (_, found) in EXPERIMENTS.items() if e not in stages for f in found]
    left_by_runs = {m[1] for f in files if (m := re.search(r"seed_0_(\w+)\.png$", f))}
    assert {"analogies", "bottleneck", "interventions"} <= left_by_runs
    assert left_by_runs <= set(FIGURES)


def test_what_is_drawn_again_is_what_the_run_drew(trained, tmp_path, capsys):
    file = trained / "seed_0.pt"
    found = listed(file, capsys)
    left_there = {f.stem.removeprefix("seed_0_") for f in trained.glob("*.png")}
    assert found == {*left_there, "prior_samples"}
    assert left_there == {"learning_curves", "reliability", "samples", "analogies", "manifolds"}
    for name in sorted(left_there - {"reliability"}):
        again = tmp_path / "new folder" / f"{name}.png"
        assert draw.main([str(file), "--figure", name, "--output", str(again)]) == 0
        assert again.read_bytes() == (trained / f"seed_0_{name}.png").read_bytes(), name
    assert str(again) in capsys.readouterr().out


def test_a_figure_is_put_where_the_run_put_it_unless_it_is_said(trained, tmp_path):
    own = trained / "seed_0_reliability.png"
    own.unlink()
    assert draw.main([str(trained / "seed_0.pt"), "--figure", "reliability"]) == 0
    with Image.open(own) as image:
        assert image.size[0] > 300
    vector = tmp_path / "a.svg"
    arguments = [str(trained / "seed_0.pt"), "--figure", "prior_samples", "--output", str(vector)]
    assert draw.main(arguments) == 0
    assert "<svg" in vector.read_text()


def layers():
    vae = VAE((1, 8, 8), **SMALL)
    return M1M2.on(vae, LatentM2(2, 10, **SMALL), (0, 1))


def test_each_kind_of_model_has_its_own_figures(tmp_path, capsys):
    torch.manual_seed(0)
    shape = (1, 8, 8)
    ccvae = CCVAE(shape, 10, style_dim=2, hidden_dims=(8,))
    of_classes = {
        "reliability", "samples", "reconstructions", "class_swaps", "characteristic_walks",
        "style_walks", "class_variances",
    }  # fmt: skip
    cases = [
        ("mnist_ccvae", "ccvae-digits-20", ccvae, DIGITS, of_classes),
        ("mnist_m2", "mlpclassifier-digits-20", MLPClassifier(shape, 10), DIGITS, {"reliability"}),
        ("mnist_m1", "autoencoder_2d-digits", Autoencoder(shape, **SMALL), DIGITS,
         {"reconstructions", "posterior"}),
        ("mnist_m1", "vae_2d-digits", VAE(shape, **SMALL), DIGITS,
         {"reconstructions", "posterior", "manifold"}),
        ("gaussians_vae", "vae-two-gaussians",
         VAE((2,), latent_dim=1, hidden_dims=(8,), likelihood="gaussian"), {"test_rows": 60},
         {"bottleneck"}),
        ("shapes_ccvae", "multilabelccvae-shapes-20",
         MultiLabelCCVAE(input_shape=(3, 16, 16), num_classes=6, style_dim=2, hidden_dims=(8,)),
         {"dataset": "shapes", "size": 16, "train_rows": 60, "test_rows": 9, "validation": 20},
         of_classes - {"class_swaps"} | {"interventions"}),
    ]  # fmt: skip
    for experiment, folder, model, config, expected in cases:
        file = left(tmp_path, experiment, folder, model, config)
        assert listed(file, capsys) == expected, folder
    # Those that other kinds of models do not have.
    for experiment, folder, name in (
        ("mnist_ccvae", "ccvae-digits-20", "class_swaps"),
        ("mnist_ccvae", "ccvae-digits-20", "style_walks"),
        ("mnist_m1", "vae_2d-digits", "posterior"),
        ("gaussians_vae", "vae-two-gaussians", "bottleneck"),
        ("shapes_ccvae", "multilabelccvae-shapes-20", "interventions"),
    ):
        run = tmp_path / experiment / folder
        assert draw.main([str(run / "seed_0.pt"), "--figure", name]) == 0
        assert (run / f"seed_0_{name}.png").stat().st_size > 1000


def test_the_upper_layer_is_drawn_with_the_lower_one(tmp_path, capsys):
    torch.manual_seed(0)
    upper = LatentM2(2, 10, **SMALL)
    file = left(tmp_path, "mnist_m1m2", "m1m2-digits-20", upper, {**DIGITS, "m1": None})
    assert listed(file, capsys) == set()
    both = left(tmp_path, "mnist_m1m2", "m1m2-digits-20", layers(), DIGITS, "seed_0_both_layers.pt")
    expected = {"reliability", "samples", "prior_samples", "analogies", "manifolds"}
    for path in (file, both):
        assert listed(path, capsys) == expected
        assert draw.main([str(path), "--figure", "analogies"]) == 0
    assert (file.parent / "seed_0_analogies.png").exists()


def refused(capsys, *arguments):
    assert draw.main(list(map(str, arguments))) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    return message


def test_what_cannot_be_drawn_is_said_in_one_line(trained, tmp_path, capsys):
    file = trained / "seed_0.pt"
    message = refused(capsys, file, "--figure", "class_swaps")
    assert "figure 'class_swaps' cannot be drawn of" in message
    assert "(M2): it has learning_curves, reliability" in message
    assert "'cat' is not among the figures of" in refused(capsys, file, "--figure", "cat")
    assert "ends in .png" in refused(capsys, file, "--figure", "samples", "--output", "a.xyz")
    message = refused(capsys, trained / "seed_7.pt", "--figure", "samples")
    assert "checkpoints do not come with the source" in message
    assert "python -m experiments.mnist_m2 --seeds 7" in message
    assert "expected the file seed_N.pt" in refused(capsys, trained / "seed_0.json")
    assert "expected the file seed_N.pt" in refused(capsys, trained)
    for damage, says in (("{", "is damaged"), ("[]", "holds a list"), (None, "there is no ")):
        folder = tmp_path / "mnist_m2" / f"x{says}"
        folder.mkdir(parents=True)
        if damage is not None:
            (folder / "config.json").write_text(damage)
        assert says in refused(capsys, folder / "seed_0.pt")
    (folder / "config.json").write_text("{}")
    (folder / "seed_0.pt").write_bytes(b"half a file")
    assert "truncated or not a checkpoint" in refused(capsys, folder / "seed_0.pt")
    for name in ("elsewhere", "report", "os"):
        foreign = left(tmp_path, name, "m2-digits-20", load_model(file), DIGITS)
        assert "is not an experiment's" in refused(capsys, foreign)


def test_a_folder_of_images_is_asked_for_and_checked(tmp_path, capsys):
    images = folder_of_classes(tmp_path / "classes")
    from pyro_ssl.data import load_class_folders

    config = {"dataset": "classes", "size": 16, "labels": 4, "validation": 4}
    config["digest"] = load_class_folders(images, 16)[0].digest
    model = CCVAE((3, 16, 16), 2, style_dim=2, hidden_dims=(8,))
    file = left(tmp_path, "cifar10_ccvae", "ccvae-classes-4", model, config)
    assert "name it by --folder" in refused(capsys, file, "--figure", "class_swaps")
    arguments = [str(file), "--figure", "class_swaps", "--folder", str(images)]
    assert draw.main(arguments) == 0
    Path(images / "train" / "dark" / "0.png").unlink()
    assert "had the digest" in refused(capsys, *arguments)

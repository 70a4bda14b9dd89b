"""Runs every experiment for a few steps on tiny data, from a table that must be complete."""

import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import experiments
from pyro_ssl import data
from pyro_ssl.data import Documents, count_words

DIGITS = "--dataset digits --validation 50 --quiet"
TINY = f"{DIGITS} --epochs 2 --hidden-dims 16"
TINY_M1 = "--m1.epochs 2 --m1.hidden-dims 16 --m1.latent-dim 3"
CLASSIFIED = ["learning_curves", "reliability"]
CONDITIONAL = [*CLASSIFIED, "samples", "analogies"]
OF_CLASSES = [
    "reconstructions", "samples", "class_swaps", "characteristic_walks", "style_walks",
    "class_variances",
]  # fmt: skip
OF_ATTRIBUTES = [
    "interventions", "samples", "characteristic_walks", "style_walks", "class_variances",
]  # fmt: skip


def trained(folder: str, figures: list[str], *others: str) -> list[str]:
    """The files that a trained and tested contender leaves."""
    files = ["config.json", *(f"seed_0.{suffix}" for suffix in ("csv", "json", "pt", "log"))]
    files += [f"seed_0_{figure}.png" for figure in figures] + [f"seed_0_{o}" for o in others]
    return [f"{folder}/{file}" for file in files]


# One row an experiment: its arguments and the files it must leave under the results root.
EXPERIMENTS = {
    "mnist_m2": (
        f"{TINY} --labels 20 --latent-dim 2",
        trained("mnist_m2/m2-digits-20", [*CONDITIONAL, "manifolds"])
        + trained("mnist_m2/mlpclassifier-digits-20", CLASSIFIED),
    ),
    "mnist_conv_m2": (
        f"{TINY} --labels 20 --latent-dim 3",
        trained("mnist_conv_m2/raoblackwellm2-digits-20", CONDITIONAL)
        + trained("mnist_conv_m2/mlpclassifier-digits-20", CLASSIFIED),
    ),
    "mnist_ccvae": (
        f"{TINY} --labels 20 --style-dim 3 --num-samples 4",
        trained("mnist_ccvae/ccvae-digits-20", [*CLASSIFIED, *OF_CLASSES])
        + trained("mnist_ccvae/mlpclassifier-digits-20", CLASSIFIED),
    ),
    "mnist_adgm": (
        f"{TINY} --schedule reduced --labels 20 --latent-dim 2 --auxiliary-dim 3 --num-points 4 "
        "--steps-per-epoch 3",
        trained("mnist_adgm/adgm-digits-20-reduced", [*CONDITIONAL, "manifolds"])
        + trained("mnist_adgm/sdgm-digits-20-reduced", [*CONDITIONAL, "manifolds"]),
    ),
    "mnist_record": (
        f"{TINY} --labels 20 --latent-dim 2 --channels 4 --steps-per-epoch 3 "
        "--leave-out generative_model",
        trained("mnist_record/record-digits-20", [*CONDITIONAL, "manifolds"])
        + trained("mnist_record/without_generative_model-digits-20", [*CONDITIONAL, "manifolds"]),
    ),
    "mnist_m1": (
        f"{TINY} --latent-dim 3 --epochs-2d 3 --bound-samples 1 7",
        trained(
            "mnist_m1/vae-digits", ["learning_curves", "reconstructions"], "reconstructions.gif"
        )
        + trained("mnist_m1/autoencoder_2d-digits", ["learning_curves", "reconstructions"])
        + trained(
            "mnist_m1/vae_2d-digits",
            ["learning_curves", "reconstructions", "manifold", "posterior"],
            "positions.gif",
        ),
    ),
    "mnist_m1m2": (
        f"{TINY} --labels 20 --latent-dim 2 {TINY_M1} --active-threshold 0",
        trained("mnist_m1/vae-digits", ["learning_curves", "reconstructions"])
        + trained("mnist_m1m2/m1m2-digits-20", [*CONDITIONAL, "manifolds"], "both_layers.pt"),
    ),
    "mnist_m1_svm": (
        f"{DIGITS} --labels 20 30 --unlabelled-rows 50 {TINY_M1} --active-threshold 0",
        [
            f"mnist_m1_svm/{kind}-digits-{labels}/{file}"
            for kind in ("linear_svm", "rbf_svm", "self_training_svm")
            for labels in (20, 30)
            for file in ("config.json", "seed_0.csv", "seed_0.json")
        ],
    ),
    "mnist_label_treatments": (
        f"{TINY} --labels 20 --latent-dim 2",
        [
            file
            for name in (
                "m2",
                "raoblackwellm2",
                "leaveoneoutm2",
                "approxm2",
                "gumbelsoftmaxm2",
                "stgumbelsoftmaxm2",
                "logisticnormalm2",
                "unsharpenedlogisticnormalm2",
                "stlogisticnormalm2",
                "logisticnormal",
                "loggamma",
            )
            for file in trained(
                f"mnist_label_treatments/{name}-digits-20",
                [*CONDITIONAL, "manifolds", "prior_samples", "kl_by_dimension"],
            )
        ]
        + trained("mnist_label_treatments/mlpclassifier-digits-20", CLASSIFIED)
        + [
            f"mnist_label_treatments/digits-20_{figure}.png"
            for figure in ("validation_accuracy", "losses", "kl_by_site")
        ],
    ),
    "shapes_ccvae": (
        "--train-rows 300 --test-rows 30 --size 16 --labels 20 --validation 50 --quiet --epochs 2 "
        "--hidden-dims 16 --num-samples 4 --latent-dim 3 --judge-epochs 1",
        [
            file
            for name, figures in (
                ("judge", []),
                ("multilabelccvae", OF_ATTRIBUTES),
                ("multilabelm2", ["interventions", "samples"]),
                ("mlpclassifier", []),
            )
            for file in trained(f"shapes_ccvae/{name}-shapes-20", [*CLASSIFIED, *figures])
        ],
    ),
    "cifar10_ccvae": (
        "--folder CLASSES --size 16 --labels 4 --validation 4 --quiet --epochs 1 --batch-size 5 "
        "--hidden-dims 8 --num-samples 3 --latent-dim 3",
        trained("cifar10_ccvae/ccvae-classes-4", [*CLASSIFIED, *OF_CLASSES])
        + trained("cifar10_ccvae/raoblackwellm2-classes-4", CONDITIONAL)
        + trained("cifar10_ccvae/mlpclassifier-classes-4", CLASSIFIED),
    ),
    "celeba_ccvae": (
        "--folder ATTRIBUTES --labels 4 --validation 4 --quiet --epochs 1 --batch-size 5 "
        "--hidden-dims 8 --num-samples 3 --latent-dim 3",
        trained(
            "celeba_ccvae/multilabelccvae-attributes-4",
            [*CLASSIFIED, *OF_ATTRIBUTES],
        )
        + trained(
            "celeba_ccvae/multilabelm2-attributes-4", [*CLASSIFIED, "interventions", "samples"]
        )
        + trained("celeba_ccvae/mlpclassifier-attributes-4", CLASSIFIED),
    ),
    "label_fraction_sweep": (
        f"{DIGITS} --seeds 0 --proportions 0.05 --steps-per-epoch 3 --m2.epochs 1 "
        "--m2.hidden-dims 8 --ccvae.epochs 1 --ccvae.hidden-dims 8 --ccvae.num-samples 3",
        [
            *(f"label_fraction_sweep/sweep-digits.{suffix}" for suffix in ("csv", "png")),
            *trained("mnist_conv_m2/raoblackwellm2-digits-67-sweep", CONDITIONAL),
            *trained("mnist_ccvae/ccvae-digits-67-sweep", CLASSIFIED),
        ],
    ),
    "gaussians_vae": (
        "--epochs 2 --hidden-dims 8 --test-rows 20 --train-rows 200 --validation 50 --quiet",
        trained("gaussians_vae/autoencoder-two-gaussians", ["learning_curves"])
        + trained("gaussians_vae/vae-two-gaussians", ["learning_curves", "bottleneck"]),
    ),
    "gmm_approximation": (
        "--seeds 0 --train-rows 300 --traced-rows 50 --test-rows 100 --batch-size 50 "
        "--encoder-steps 4 --joint-steps 4 --hidden-dims 8 --quiet",
        [
            f"gmm_approximation/{name}-four-gaussians/{file}"
            for name, last in (("factorised", "posteriors.gif"), ("full", "both_encoders.png"))
            for file in ("seed_0.csv", "seed_0.json", "seed_0_posteriors.png", f"seed_0_{last}")
        ],
    ),
    "gan_decoder_vae": (
        "--dataset shapes --rows 40 --gan-steps 2 --encoder-steps 2 --joint-steps 2 --batch-size 4 "
        "--latent-dim 3 --channels 2 --compared-rows 200 --measurements 2 --short --quiet",
        [
            f"gan_decoder_vae/generatorvae-shapes-short/seed_0{ending}"
            for ending in (
                *("_gan.pt", "_encoder.pt", "_joint.pt", ".csv", ".json", "_generator.png"),
                *("_reconstructions.png", "_joint.png", "_elbo_and_distance.png"),
            )
        ],
    ),
    "semantic_hashing": (
        "--words 6 --validation 20 --bits 4 --epochs 2 --batch-size 10 --quiet",
        trained("semantic_hashing/bernoullivae-counts-0-0-4bits-20newsgroups", ["learning_curves"]),
    ),
    "report": ("", ["summary.csv", "summary.md", "report.html"]),
    "draw": (
        "mnist_m2/m2-digits-20/seed_0.pt --figure prior_samples",
        ["mnist_m2/m2-digits-20/seed_0_prior_samples.png"],
    ),
}
# Commands about runs that are there already.
AFTERWARDS = ("report", "draw")


def few_documents(words: int) -> Documents:
    rng = np.random.default_rng(0)
    letters = np.array(["aa", "bb", "cc", "dd", "ee", "ff", "gg"])
    texts = [" ".join(rng.choice(letters, 8)) for _ in range(80)]
    ys = np.arange(80) % 20
    return count_words("20newsgroups", texts[:60], ys[:60], texts[60:], ys[60:], words)


def folder_of_classes(folder: Path) -> Path:
    for part, rows in (("train", 12), ("test", 12)):
        for shade, name in ((40, "dark"), (200, "light")):
            (folder / part / name).mkdir(parents=True)
            for i in range(rows):
                picture = Image.new("RGB", (20, 20), (shade, 10 * i, 0))
                picture.save(folder / part / name / f"{i}.png")
    return folder


def folder_of_attributes(folder: Path) -> Path:
    folder.mkdir(parents=True)
    lines = ["image,Bright,Blue"]
    for i in range(60):
        shade = 200 * (i % 2)
        Image.new("RGB", (64, 64), (shade, shade, 4 * i)).save(folder / f"{i}.png")
        lines.append(f"{i}.png,{i % 2},{int(i > 30)}")
    (folder / "attributes.csv").write_text("\n".join(lines))
    return folder


def commands() -> set[str]:
    folder = Path(experiments.__file__).parent
    return {f.stem for f in folder.glob("*.py") if "__main__" in f.read_text()}


def test_every_experiment_is_in_the_table():
    # What publishes weights has tests of its own.
    assert commands() == {*EXPERIMENTS, "publish"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_runs_and_leaves_its_files(name, tmp_path, monkeypatch):
    arguments, files = EXPERIMENTS[name]
    monkeypatch.setattr(data, "load_newsgroups", lambda root, words, *parts: few_documents(words))
    if "CLASSES" in arguments:
        arguments = arguments.replace("CLASSES", str(folder_of_classes(tmp_path / "classes")))
    if "ATTRIBUTES" in arguments:
        folder = folder_of_attributes(tmp_path / "attributes")
        arguments = arguments.replace("ATTRIBUTES", str(folder))
    if name in AFTERWARDS:
        run("mnist_m2", EXPERIMENTS["mnist_m2"][0], tmp_path)
    assert run(name, arguments, tmp_path) == 0
    missing = [
        f for f in files if not (tmp_path / f).is_file() or not (tmp_path / f).stat().st_size
    ]
    assert not missing
    assert not list(tmp_path.glob("**/*.tmp"))


def run(name: str, arguments: str, root: Path) -> int:
    module = importlib.import_module(f"experiments.{name}")
    if name == "draw":
        return module.main([f"{root}/{arguments.split()[0]}", *arguments.split()[1:]])
    return module.main([*arguments.split(), "--results-root", str(root)])


def test_report_gives_mean_spread_and_number_of_seeds(tmp_path):
    folder = tmp_path / "somewhere" / "m2-mnist-100"
    folder.mkdir(parents=True)
    for seed, (accuracy, ece) in enumerate([(0.90, 0.01), (0.94, 0.03)]):
        result = {
            "model": "m2", "dataset": "mnist", "labels": 100, "seed": seed,
            "test_accuracy": accuracy, "test_ece": ece, "validation_rows": 10,
            "seconds_per_epoch": 2.0 + seed, "device": "cpu",
        }  # fmt: skip
        (folder / f"seed_{seed}.json").write_text(json.dumps(result))
    assert run("report", "", tmp_path) == 0
    (row,) = pd.read_csv(tmp_path / "summary.csv").to_dict("records")
    assert row["run"] == "somewhere/m2-mnist-100"
    assert row["test_accuracy_%"] == "92.00 +- 2.83"
    assert row["test_ece_%"] == "2.00 +- 1.41"
    assert (row["seeds"], row["seconds_per_epoch"]) == (2, 2.5)
    assert (
        "| somewhere/m2-mnist-100 | mnist | 100 | 92.00 +- 2.83 |"
        in (tmp_path / "summary.md").read_text()
    )


def test_report_tells_accuracies_and_bounds_apart_and_says_what_is_missing(tmp_path):
    from experiments.engine.marks import filled
    from experiments.engine.results import summarise
    from pyro_ssl import load_summary

    common = {"dataset": "mnist", "validation_rows": 10, "device": "cpu"}
    measured = {
        "a/svm": [{"labels": 100, "test_accuracy": 0.9}],
        "a/vae": [{"test_elbo": -91.0, "test_bound_5000": -87.0}, {"test_elbo": -89.0}],
        "a/plane": [{"test_elbo": -2.125, "test_squared_error": 0.25}],
        "a/shapes": [{"test_accuracy": 0.5, "intervention_changed": 0.75}],
        "a/mixture": [{"elbo_encoder": -1.0, "drift": 0.5}],
    }
    for run, seeds in measured.items():
        (tmp_path / run).mkdir(parents=True)
        for seed, values in enumerate(seeds):
            result = {**common, "seed": seed, "model": run, **values}
            (tmp_path / run / f"seed_{seed}.json").write_text(json.dumps(result))
    table = summarise(load_summary(tmp_path)).set_index("run")
    assert table.loc["a/vae", "test_elbo"] == "-90.00 +- 1.41"
    assert table.loc["a/vae", "test_bound_5000"] == "-87.00 (1 of 2 seeds)"
    assert table.loc["a/plane", "test_elbo"] == "-2.125"
    assert table.loc["a/svm", "labels"] == 100
    assert table.loc["a/svm", "test_elbo"] == table.loc["a/vae", "labels"] == ""
    names = ("results", "bounds", "plane", "interventions", "mixture", "generator")
    text = "".join(f"<!-- {n}: begin -->\n<!-- {n}: end -->\n" for n in names)
    text = filled(text, table.reset_index(), tmp_path)
    shown = {}
    for name in names:
        part = text.split(f"<!-- {name}: begin -->")[1].split(f"<!-- {name}: end -->")[0]
        shown[name] = {run for run in measured if f"| {run} |" in part}
    assert shown == {
        "results": {"a/svm", "a/shapes"},
        "bounds": {"a/vae", "a/plane"},
        "plane": {"a/plane"},
        "interventions": {"a/shapes"},
        "mixture": {"a/mixture"},
        # Though the mixture has a bound that this table shows.
        "generator": set(),
    }
    # No run of this table has labels.
    assert "| a/shapes | 75.00 | 50.00 |" in text


def test_report_without_results_says_so(tmp_path, capsys):
    assert run("report", "", tmp_path) == 1
    assert "no finished runs" in capsys.readouterr().err

"""Model cards: docs/cards/ shows what results/ and the weights hold, and leaves nothing out."""

import importlib
import json
import re
import shlex
import shutil
from dataclasses import fields, replace

import pytest
import tyro

from experiments import mnist_adgm, report
from experiments.engine.cards import runs, texts
from experiments.engine.cards.pages import cards
from experiments.engine.options import recorded_options
from experiments.engine.repeat import command_of
from experiments.engine.results import MEASURES
from pyro_ssl import load_summary, pretrained
from pyro_ssl.errors import ResultsError
from tests.experiments.engine.test_marks import ROOT, committed_seeds
from tests.pages import DOCS

CARDS = DOCS / "cards"


def test_cards_are_those_of_the_committed_results_and_weights():
    found = cards(ROOT / "results", committed_seeds(), CARDS)
    assert found.keys() == {page.name for page in CARDS.iterdir()}, WRITE
    for name, text in found.items():
        assert (CARDS / name).read_text() == text, f"{name}: {WRITE}"


WRITE = "run python -m experiments.report --cards docs/cards, and delete cards of what is gone"


def test_every_committed_run_is_on_one_card():
    pages = "".join(page.read_text() for page in CARDS.glob("*.md"))
    headings = re.findall(r"^### (.*)$", pages, re.MULTILINE)
    runs = committed_seeds()["run"].unique()
    assert sorted(headings) == sorted(run.rpartition("/")[2] for run in runs)
    for page in set(CARDS.glob("*.md")) - {CARDS / "index.md"}:
        text = page.read_text()
        assert "## What it must not be used for\n\n- " in text, page
        assert text.count("```sh\npython -m experiments.") >= 1, page


# One of each experiment, and those with options that are written in their own ways.
REPEATED = (
    "cifar10_ccvae/ccvae-cifar10-jpeg-4000",
    "gan_decoder_vae/generatorvae-mnist-short",
    "mnist_m1/vae-mnist-gaussian",
    "mnist_m2/raoblackwellm2-mnist-100-2d",
    "semantic_hashing/bernoullivae-counts-0-0-64bits-20newsgroups-words",
    "shapes_ccvae/multilabelm2-shapes-150-batches-of-100",
)


@pytest.mark.parametrize("run", REPEATED, ids=lambda run: run.partition("/")[0])
def test_a_command_has_the_options_of_its_run(run):
    result = json.loads((ROOT / "results" / run / "seed_0.json").read_text())
    _, _, module, *arguments = shlex.split(command_of(run, result, [0, 1]))
    assert module == f"experiments.{run.partition('/')[0]}"
    experiment = importlib.import_module(module)
    scheduled = getattr(experiment, "scheduled", lambda words: experiment.Config())
    config = tyro.cli(experiment.Config, args=arguments, default=scheduled(arguments))
    assert config.seeds == (0, 1)
    now = json.loads(json.dumps(recorded_options(config, result["model"])))
    for name, value in result["config"].items():
        if name == "digest":
            continue
        if name == "dataset":
            now[name] = getattr(config, "folder", None) or now[name]
        if name == "tag" and run.endswith("-batches-of-100"):
            assert (value, now[name]) == (None, "batches-of-100")
            continue
        assert now[name] == value, name


def test_options_of_the_m1_that_was_trained_first_are_in_the_command():
    m1 = {"tag": "small", "epochs": 3, "latent_dim": 50, "hidden_dims": [9, 8], "batch_size": 1}
    result = {"config": {"m1": "small", "tag": "small", "labels": 10}, "m1_config": m1}
    assert command_of("mnist_m1m2/m1m2-digits-10-small", result, [2]) == (
        "python -m experiments.mnist_m1m2 --tag small --labels 10 --m1.tag small --m1.epochs 3 "
        "--m1.hidden-dims 9 8 --seeds 2"
    )


def test_of_several_schedules_that_is_named_which_needs_fewest_options():
    def command(config, model):
        recorded = json.loads(json.dumps(recorded_options(config, model)))
        return command_of(f"mnist_adgm/{model}-mnist-100", {"config": recorded}, [0])

    start = "python -m experiments.mnist_adgm"
    assert command(mnist_adgm.Config(), "adgm") == f"{start} --seeds 0"
    assert command(mnist_adgm.REDUCED, "sdgm") == f"{start} --schedule reduced --seeds 0"
    longer = replace(mnist_adgm.REDUCED, epochs=7, tag=None)
    assert command(longer, "adgm").startswith(f"{start} --schedule reduced ")
    assert "--epochs 7" in command(longer, "adgm")


@pytest.fixture
def small(tmp_path):
    """A results folder with one committed run."""
    run = "mnist_m2/m2-mnist-100"
    shutil.copytree(ROOT / "results" / run, tmp_path / "results" / run)
    return tmp_path / "results"


def test_a_card_shows_what_the_files_say(small, monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "no weights")
    for seed in range(3, 5):
        (small / f"mnist_m2/m2-mnist-100/seed_{seed}.json").unlink()
    for seed, (accuracy, labels) in enumerate(((0.5, 100), (0.6, 100), (0.7, 100))):
        file = small / f"mnist_m2/m2-mnist-100/seed_{seed}.json"
        result = json.loads(file.read_text())
        result |= {"test_accuracy": accuracy, "labels": labels, "commit": f"c{seed // 2}"}
        result["config"]["alpha"] = 7.5
        file.write_text(json.dumps(result))
    folder = tmp_path / "cards"
    assert report.main(["--results-root", str(small), "--cards", str(folder)]) == 0
    found = {page.name: page.read_text() for page in folder.iterdir()}
    assert found == cards(small, load_summary(small), folder)
    assert found.keys() == {"index.md", "mnist_m2-m2-mnist.md"}
    text = found["mnist_m2-m2-mnist.md"]
    assert "| m2-mnist-100 | 60.00±10.00 |" in text
    assert "- Commit: c0, c1\n" in text
    assert "--alpha 7.5 --seeds 0 1 2\n" in text
    assert "`alpha` 7.5," in text
    assert "on more labelled validation rows" in text
    assert text.count("/seed_") == 3 + 1
    assert "| [M2](mnist_m2-m2-mnist.md) | mnist_m2 | mnist | 100 | 1 |" in found["index.md"]


def test_no_card_is_written_without_what_it_must_not_be_used_for(small, tmp_path, capsys):
    file = small / "mnist_m2/m2-mnist-100/seed_0.json"
    result = json.loads(file.read_text())
    file.write_text(json.dumps(result | {"dataset": "faces"}))
    with pytest.raises(ResultsError, match=r"data set faces: say in .*texts\.py"):
        cards(small, load_summary(small), CARDS)
    options = ["--results-root", str(small), "--cards", str(tmp_path / "cards")]
    assert report.main(options) == 1
    assert "error: no model card can be written of the data set faces" in capsys.readouterr().err


def test_all_measures_have_a_meaning():
    assert set(runs.MEANINGS) == {name for _, _, name in MEASURES}
    assert {f.name for f in fields(texts.About)} == {"text", "never"}
    assert all(about.never for about in (*texts.DATA.values(), *texts.KINDS.values()))

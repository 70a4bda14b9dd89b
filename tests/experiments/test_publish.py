"""Small weights and cards that are made of finished runs."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from experiments import mnist_m1m2, mnist_m2, publish
from experiments.engine.cards.pages import cards
from pyro_ssl import load_model, load_pretrained, load_summary, pretrained, save_model
from pyro_ssl.data import load_dataset
from pyro_ssl.metrics import accuracy, expected_calibration_error
from pyro_ssl.models import M1M2, M2, VAE

TINY = "--dataset digits --labels 20 --validation 50 --epochs 2 --hidden-dims 16 --latent-dim 2"
SMALL = "--tag small --m1.tag small --m1.hidden-dims 12 --m1.epochs 1 --m1.latent-dim 3"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def empty(figure, file, **options):
    """In place of a figure, which takes most of the time of a tiny run."""
    Path(file).write_bytes(b"")


def committed(file):
    """Let a run be of a clean commit, which a tree that is worked on is not."""
    result = json.loads(file.read_text())
    file.write_text(json.dumps(result | {"commit": COMMIT}))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The results folder of an M2 of two seeds."""
    root = tmp_path_factory.mktemp("results")
    options = [*TINY.split(), "--no-baseline", "--quiet", "--seeds", "0", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", empty)
        assert mnist_m2.main([*options, "--results-root", str(root)]) == 0
    for seed in (0, 1):
        committed(root / f"mnist_m2/m2-digits-20/seed_{seed}.json")
    return root


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where weights go."""
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "weights")
    return tmp_path / "weights"


def in_half(model):
    """The model with its weights cast to half precision and back."""
    return copy.deepcopy(model).half().float()


def test_what_is_loaded_is_the_checkpoint_in_half_precision(trained, folder, capsys):
    file = trained / "mnist_m2/m2-digits-20/seed_1.pt"
    assert publish.main([str(file), "--name", "m2-tiny"]) == 0
    assert str(folder / "m2-tiny.pt") in capsys.readouterr().out
    model, checkpoint = load_pretrained("m2-tiny"), load_model(file)
    xs, ys = (lambda d: (d.test_xs, d.test_ys))(load_dataset("digits"))
    assert type(model) is M2
    stored, whole = model.predict_proba(xs), checkpoint.predict_proba(xs)
    assert torch.equal(stored, in_half(checkpoint).predict_proba(xs))
    assert not torch.equal(stored, whole)
    card = pretrained.pretrained_card("m2-tiny")
    assert card["run"] == json.loads(file.with_suffix(".json").read_text())
    for name, probabilities in (("stored", stored), ("checkpoint", whole)):
        measured = card["measured"][name]
        assert measured["accuracy"] == accuracy(probabilities, ys)
        assert measured["ece"] == expected_calibration_error(probabilities, ys)
        of_class = probabilities.argmax(-1)[ys == 3] == 3
        assert measured["accuracy_by_class"][3] == pytest.approx(of_class.double().mean().item())
        log_q = probabilities[torch.arange(len(ys)), ys].log().mean().item()
        assert measured["log_likelihood"] == pytest.approx(log_q, abs=1e-5)
    # On a GPU, where the run may have been tested, a mean has other last bits.
    tested = pytest.approx(card["run"]["test_accuracy"], abs=1e-6)
    assert card["measured"]["checkpoint"]["accuracy"] == tested
    assert [found["seed"] for found in card["seeds"]] == [0, 1]
    assert card["command"].startswith("python -m experiments.mnist_m2 --dataset digits ")
    assert card["command"].endswith(" --latent-dim 2 --seeds 1")


def test_its_card_is_a_page(trained, folder, tmp_path):
    file = trained / "mnist_m2/m2-digits-20/seed_0.pt"
    assert publish.main([str(file)]) == 0
    (folder / "m2-digits-20.json").rename(folder / "m2-x.json")
    (folder / "m2-digits-20.pt").rename(folder / "m2-x.pt")
    found = cards(trained, load_summary(trained), tmp_path / "docs" / "cards")
    assert found.keys() == {"index.md", "mnist_m2-m2-digits.md", "pretrained-m2-x.md"}
    text, card = found["pretrained-m2-x.md"], pretrained.pretrained_card("m2-x")
    for number in card["measured"]["stored"]["accuracy_by_class"]:
        assert f"| {100 * number:.2f} |" in text
    assert card["sha256"] in text
    assert 'load_pretrained("m2-x")' in text
    for seed in (0, 1):
        result = json.loads(file.with_name(f"seed_{seed}.json").read_text())
        assert f"| {seed} | {100 * result['test_accuracy']:.2f} |" in text


def test_both_layers_of_m1m2_are_published_as_one(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", empty)
    options = [*TINY.split(), *SMALL.split(), "--active-threshold", "0", "--quiet"]
    assert mnist_m1m2.main([*options, "--results-root", str(tmp_path)]) == 0
    run = tmp_path / "mnist_m1m2/m1m2-digits-20-small"
    committed(run / "seed_0.json")
    assert publish.main([str(run / "seed_0.pt"), "--name", "m1m2-tiny"]) == 0
    model, xs = load_pretrained("m1m2-tiny"), load_dataset("digits").test_xs
    assert type(model) is M1M2
    whole = load_model(run / "seed_0_both_layers.pt")
    assert torch.equal(model.predict_proba(xs), in_half(whole).predict_proba(xs))
    ys = torch.arange(10)
    assert model.sample(ys).shape == (10, 1, 8, 8)
    command = pretrained.pretrained_card("m1m2-tiny")["command"]
    assert "--m1.tag small --m1.epochs 1 --m1.latent-dim 3 --m1.hidden-dims 12 " in command
    # Without the lower layer there is nothing that takes images.
    (run / "seed_0_both_layers.pt").unlink()
    assert publish.main([str(run / "seed_0.pt"), "--name", "upper"]) == 1


def refused(capsys, *arguments):
    assert publish.main(list(map(str, arguments))) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    return message


def test_what_may_not_be_published_is_refused(trained, folder, tmp_path, capsys, monkeypatch):
    root = shutil.copytree(trained, tmp_path / "results")
    file = root / "mnist_m2/m2-digits-20/seed_0.pt"
    tested = file.with_suffix(".json")
    result = json.loads(tested.read_text())

    def with_result(**changes):
        tested.write_text(json.dumps(result | changes))
        return refused(capsys, file)

    assert "expected at most 100 small letters" in refused(capsys, file, "--name", "../M2")
    for commit in (f"{COMMIT}-dirty", None):
        assert "nobody can check out" in with_result(commit=commit)
    assert "it is not what was tested" in with_result(test_accuracy=1 - result["test_accuracy"])
    tested.write_text(json.dumps(result))
    monkeypatch.setattr(publish, "LARGEST", 5000)
    message = refused(capsys, file)
    assert "in half precision, expected at most 5,000: train narrower" in message
    monkeypatch.setattr(publish, "LARGEST", 1_000_000)
    monkeypatch.setattr(publish, "LARGEST_SUM", 30_000)
    folder.mkdir()
    (folder / "other.pt").write_bytes(bytes(29_000))
    assert "all weights would take" in refused(capsys, file)
    assert {path.name for path in folder.iterdir()} == {"other.pt"}
    (folder / "other.pt").unlink()
    assert publish.main([str(file)]) == 0
    assert "or replace it with --overwrite" in refused(capsys, file)
    assert publish.main([str(file), "--overwrite"]) == 0
    tested.unlink()
    assert "the run is not finished" in refused(capsys, file)


def test_models_that_do_not_classify_and_weights_that_overflow_are_refused(
    trained, folder, tmp_path, capsys
):
    root = shutil.copytree(trained, tmp_path / "results")
    file = root / "mnist_m2/m2-digits-20/seed_0.pt"
    model = load_model(file)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = 1e5
    save_model(model, file)
    assert "not finite in half precision" in refused(capsys, file)
    save_model(VAE((1, 8, 8), latent_dim=2, hidden_dims=(4,)), file)
    assert "expected a classifier of the data set's rows" in refused(capsys, file)
    assert not folder.exists()

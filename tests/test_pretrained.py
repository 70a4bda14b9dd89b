"""Weights that come with the library: that they are there, load, and are refused where damaged."""

import ast
import re
import shutil
from importlib import resources
from pathlib import Path

import pytest
import torch

import pyro_ssl
from experiments.publish import LARGEST, LARGEST_SUM, measure
from pyro_ssl import load_pretrained, pretrained
from pyro_ssl.data import load_dataset
from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.json_files import json_text
from pyro_ssl.pretrained import pretrained_card, pretrained_names

ROOT = Path(pyro_ssl.__file__).parent.parent
NAMES = pretrained_names()


@pytest.fixture
def copied(monkeypatch, tmp_path):
    """A copy of the weights, which a test may damage."""
    shutil.copytree(pretrained.FOLDER, tmp_path / "weights")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "weights")
    return tmp_path / "weights"


@pytest.mark.parametrize("name", NAMES)
def test_weights_load_for_use(name):
    model = load_pretrained(name)
    assert not any(module.training for module in model.modules())
    floats = [v for v in model.state_dict().values() if v.is_floating_point()]
    assert {value.dtype for value in floats} == {torch.float32}
    probabilities = model.predict_proba(torch.zeros(2, *model.input_shape))
    torch.testing.assert_close(probabilities[0], probabilities[1])
    assert type(model).__name__.lower() == pretrained_card(name)["run"]["model"]


def test_weights_are_float32_whatever_the_default_is():
    torch.set_default_dtype(torch.float64)
    try:
        model = load_pretrained(NAMES[0])
    finally:
        torch.set_default_dtype(torch.float32)
    expected = load_pretrained(NAMES[0]).state_dict()
    for key, value in model.state_dict().items():
        assert value.dtype == expected[key].dtype
        assert torch.equal(value, expected[key])


@pytest.mark.parametrize("name", NAMES)
def test_cards_have_the_figures_that_these_weights_give(name):
    card = pretrained_card(name)
    run, measured = card["run"], card["measured"]
    assert measured["checkpoint"]["accuracy"] == pytest.approx(run["test_accuracy"], abs=0.002)
    if run["dataset"] != "digits":
        pytest.skip(f"{run['dataset']} is not there without a download")
    again = measure(load_pretrained(name), load_dataset("digits"), run["seed"])
    for figure, value in measured["stored"].items():
        assert again[figure] == pytest.approx(value, abs=1e-5), figure


def test_they_are_small_and_nothing_else_is_there():
    sizes = [(pretrained.FOLDER / f"{name}.pt").stat().st_size for name in NAMES]
    assert sizes == [pretrained_card(name)["bytes"] for name in NAMES]
    assert max(sizes) <= LARGEST
    assert sum(sizes) <= LARGEST_SUM
    expected = {f"{name}{end}" for name in NAMES for end in (".pt", ".json")}
    assert {file.name for file in pretrained.FOLDER.iterdir()} == expected


def test_wheels_have_them():
    packed = re.search(
        r"^pyro_ssl = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    package = resources.files("pyro_ssl")
    found = {file for p in ast.literal_eval(packed[1]) for file in Path(str(package)).glob(p)}
    assert set(package.joinpath("weights").iterdir()) < found


def test_an_unknown_name_is_answered_with_the_names():
    for name in ("m2", "../weights/m2-digits-30", ""):
        with pytest.raises(ConfigError, match=f"expected one of {', '.join(NAMES)}$"):
            load_pretrained(name)
    with pytest.raises(ConfigError, match="name is 3"):
        load_pretrained(3)


def test_damage_is_refused_by_name(copied):
    name = NAMES[0]
    weights, card = copied / f"{name}.pt", copied / f"{name}.json"
    content = weights.read_bytes()
    for place in (0, len(content) // 2, len(content) - 1):
        flipped = bytearray(content)
        flipped[place] ^= 1
        weights.write_bytes(flipped)
        with pytest.raises(CheckpointError, match=rf"{name}.pt is damaged .* published as {name}"):
            load_pretrained(name)
    weights.unlink()
    with pytest.raises(CheckpointError, match=f"the weights of {name}, is not there"):
        load_pretrained(name)
    text = card.read_text()
    card.write_text(text.replace('"seed": 0', '"seed": 1', 1))
    with pytest.raises(CheckpointError, match=f"{name}.json is damaged or was changed"):
        load_pretrained(name)
    card.write_text(json_text({"sha256": 3}, card))
    with pytest.raises(CheckpointError, match=f"{name}.json lacks run, measured"):
        load_pretrained(name)


def test_other_weights_under_a_name_are_refused(copied):
    """Whole files, each with its own digest inside, but not what the card is of."""
    name = NAMES[0]
    other = load_pretrained(name)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    pyro_ssl.save_model(other, copied / f"{name}.pt")
    pyro_ssl.load_model(copied / f"{name}.pt")
    with pytest.raises(CheckpointError, match="holds other weights than were published"):
        load_pretrained(name)

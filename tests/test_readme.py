"""README.md: short, and run as printed. What it shares with the pages of docs/: test_docs.py."""

import re
import shlex
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_wine

from pyro_ssl.command.main import main
from tests.pages import DOCS, README, block


def test_it_is_short_and_begins_with_the_readers_data():
    assert len(README.read_bytes()) <= 8000
    first_screen = README.read_text().splitlines()[:30]
    assert "## Your own data" in first_screen
    assert any("SemiSupervisedVAEClassifier(" in line for line in first_screen)


def test_your_own_data_runs_as_printed():
    code, scope = block(README, "SemiSupervisedVAEClassifier("), {}
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 10
    exec(code, scope)
    truth = scope["load_wine"](as_frame=True).target
    unknown = scope["y"].isna()
    accuracy = (scope["table"]["predicted"] == truth)[unknown].mean()
    for page in (README, DOCS / "your-own-data.md"):
        assert block(page, "SemiSupervisedVAEClassifier(random_state=0).fit(X, y)\ntable") == code
        promised = re.search(r"with an accuracy\s+above (\d+) %", page.read_text())
        assert promised is not None
        assert accuracy > float(promised[1]) / 100
    exec(block(DOCS / "your-own-data.md", "classifier.impute("), scope)
    assert scope["probabilities"].shape == (178, 3)
    assert len(scope["drawn"]) == 5


def test_ten_lines_of_pyro_learn(capsys):
    code = block(README, "svi.step")
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 12
    # As printed it takes a minute, and reaches 0.91.
    exec(code.replace("range(100)", "range(20)"), {})
    assert float(re.search(r"\((.*)\)", capsys.readouterr().out)[1]) > 0.5


def test_the_two_commands_run_as_printed(monkeypatch, tmp_path):
    (commands,) = re.findall(r"```\n(pyro-ssl fit .*?)```", README.read_text(), re.DOTALL)
    page = (DOCS / "your-own-data.md").read_text()
    assert commands in page
    wine = load_wine(as_frame=True).frame.rename(columns={"target": "grape"})
    known = wine.groupby("grape").sample(5, random_state=0).index
    labels = wine["grape"].astype(str).where(wine.index.isin(known))
    wine.assign(grape=labels).to_csv(tmp_path / "wine.csv", index=False)
    monkeypatch.chdir(tmp_path)
    quick = {"fit": ["--max-steps", "40", "--members", "2", "--quiet"]}
    for line in commands.splitlines():
        _, *args = shlex.split(line, comments=True)
        assert main([*args, *quick.get(args[0], [])]) == 0
    found = pd.read_csv("predictions.csv")
    assert (found["label"] == wine["grape"])[labels.isna()].mean() > 0.8
    names = set(re.findall(r"`(\w+\.(?:json|csv|html))`", page[page.index("**The model folder") :]))
    assert {"model.json", "data.json", "history.csv", "report.html"} <= names
    written = {path.name for path in Path("wine-model").iterdir()}
    assert {n for n in written if not n.startswith("weights-")} <= names

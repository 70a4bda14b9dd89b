import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_wine

from pyro_ssl.command.main import main

README = Path(__file__).parent.parent / "README.md"


def block(mark: str) -> str:
    """The one Python block of the README that contains `mark`."""
    found = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (only,) = (text for text in found if mark in text)
    return only


def small(code: str) -> str:
    """The README's code on data that needs no download, and for two epochs."""
    for printed, tested in (
        ('load_dataset("mnist")', 'load_dataset("digits")'),
        ("validation=10_000", "validation=300"),
        ("labels=100", "labels=50"),
        ("epochs=20", "epochs=2"),
        ("range(20)", "range(2)"),
        ("max_steps=1000", "max_steps=40, members=2"),
    ):
        code = code.replace(printed, tested)
    return code


@pytest.mark.parametrize("way", ["fit(m2", "svi.step"])
def test_both_ways_to_train_run_as_printed(way):
    scope = {}
    code = block("load_dataset("), block(way)
    assert sum(text.count("\n") for text in code) <= 25
    for text in code:
        exec(small(text), scope)
    assert len(scope["accuracies"]) == 2
    # Ten classes.
    assert list(scope["accuracies"])[-1] > 0.3


def test_models_of_other_likelihoods_are_made_as_printed():
    scope = {}
    exec(block("StudentT("), scope)
    model = scope["M2"]((4,), 3, likelihood=scope["Mixed"](("gaussian",) * 4))
    assert model.likelihood.takes_missing


def test_your_own_data_runs_as_printed():
    code, scope = block("SemiSupervisedVAEClassifier("), {}
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 10
    exec(code, scope)
    truth = scope["load_wine"](as_frame=True).target
    unknown = scope["y"].isna()
    accuracy = (scope["table"]["predicted"] == truth)[unknown].mean()
    promised = re.search(r"with an accuracy above (\d+) %", README.read_text())
    assert promised is not None
    assert accuracy > float(promised[1]) / 100


def test_the_two_commands_run_as_printed(monkeypatch, tmp_path):
    (commands,) = re.findall(r"```\n(pyro-ssl fit .*?)```", README.read_text(), re.DOTALL)
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
    text = README.read_text()
    names = set(re.findall(r"`(\w+\.(?:json|csv|html))`", text[text.index("**The model folder") :]))
    assert {"model.json", "data.json", "history.csv", "report.html"} <= names
    written = {path.name for path in Path("wine-model").iterdir()}
    assert {n for n in written if not n.startswith("weights-")} <= names


def test_a_real_label_runs_as_printed(capsys):
    code = block("SemiSupervisedVAERegressor(")
    short = "SemiSupervisedVAERegressor(random_state=0, max_steps=40, members=2)"
    scope = {}
    exec(code.replace("SemiSupervisedVAERegressor(random_state=0)", short), scope)
    assert scope["regressor"].score(scope["X"], scope["y"]) > 0.3
    assert "Gaussian process" in capsys.readouterr().out


def test_pandas_block_reads_the_committed_results(monkeypatch, capsys):
    monkeypatch.chdir(README.parent)
    if not list(Path("results").glob("mnist_m2/m2-mnist-100/seed_0.csv")):
        pytest.skip("NO COMMITTED RESULTS to read")
    exec(block("read_csv"), {})
    assert "validation_accuracy" in capsys.readouterr().out


def test_commands_of_the_readme_exist():
    text = README.read_text()
    makefile = (README.parent / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)$", text, re.MULTILINE):
        assert f"\n{target}:" in makefile
    for module in re.findall(r"python -m (experiments\.\w+)", text):
        assert (README.parent / f"{module.replace('.', '/')}.py").exists()


def test_single_cells_are_annotated_as_printed():
    pytest.importorskip("anndata", reason="anndata is not installed: pip install '.[cells]'")
    code, scope = block("from_anndata("), {}
    quick = code.replace("classifier(random", "classifier(max_steps=20, members=2, random")
    assert quick != code
    exec(quick, scope)
    written = scope["adata"]
    assert set(written.obs["pyro_ssl_label"]) <= set(written.obs["type"])
    assert written.obs["pyro_ssl_probability"].between(0, 1).all()
    assert len(written.obsm["X_pyro_ssl"]) == 1000

import re
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parent.parent / "README.md"


def block(mark: str) -> str:
    """The one Python block of the README that contains `mark`."""
    found = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (only,) = (text for text in found if mark in text)
    return only


def test_pyro_script_and_training_loop_run_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script, scope = block("SVI("), {}
    assert script.count("\n") <= 12
    exec(script, scope)
    assert scope["losses"][-1] < 0.8 * scope["losses"][0]
    exec(block("FitConfig("), scope)
    assert len(scope["history"].rows) == 2
    assert (tmp_path / "m2.pt").exists()


def test_scikit_learn_block_runs_as_printed():
    X = np.random.default_rng(0).random((40, 12))  # noqa: N806
    y = np.where(np.arange(40) < 10, np.arange(40) % 2, -1)
    scope = {"X": X, "y": y, "X_new": X[:3]}
    exec(block("M2Classifier("), scope)
    assert scope["classifier"].predict_proba(X).shape == (40, 2)


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

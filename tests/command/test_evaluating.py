import json

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, log_loss

from pyro_ssl.command import delimited
from pyro_ssl.command.evaluating import Figures
from pyro_ssl.estimator import SemiSupervisedVAEClassifier
from pyro_ssl.metrics import expected_calibration_error
from tests.command.test_fitting import as_pandas_reads

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("classes", [2, 5])
def test_figures_are_those_of_scikit_learn_and_torchmetrics(classes):
    shares = RNG.dirichlet(np.ones(classes), 200)
    # The last class does not occur.
    codes = RNG.integers(0, classes - 1, 200)
    figures = Figures(classes)
    for start in (0, 70, 190):
        stop = {0: 70, 70: 190, 190: 200}[start]
        figures.add(shares[start:stop], codes[start:stop])
    found, guesses, names = figures.found(), shares.argmax(1), range(classes)
    assert found["accuracy"] == pytest.approx(accuracy_score(codes, guesses))
    present = guesses < classes - 1
    recalls = [(guesses[codes == c] == c).mean() for c in names[:-1]]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    if present.all():
        assert found["balanced_accuracy"] == balanced_accuracy_score(codes, guesses)
    assert found["log_loss"] == pytest.approx(log_loss(codes, shares, labels=names))
    assert found["confusion"] == confusion_matrix(codes, guesses, labels=names).tolist()
    error = expected_calibration_error(torch.from_numpy(shares), torch.from_numpy(codes))
    assert found["calibration_error"] == pytest.approx(error, abs=1e-6)


def test_certain_and_wrong_is_finite():
    figures = Figures(2)
    figures.add(np.array([[1.0, 0.0]]), np.array([1]))
    found = figures.found()
    assert found["log_loss"] == pytest.approx(-np.log(np.finfo(float).tiny))
    assert found["calibration_error"] == 1


def test_the_command_agrees_with_the_estimator(fitted, cli, tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_ROWS", 50)
    loaded = SemiSupervisedVAEClassifier.load(fitted / "model")
    rows, labels = as_pandas_reads(fitted / "truth.csv")
    code, out, _ = cli(
        "evaluate", fitted / "model", fitted / "truth.csv", "-o", tmp_path / "e.json"
    )
    assert code == 0
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["accuracy"] == loaded.score(rows, labels)
    assert (found["rows"], found["rows_without_label"]) == (120, 0)
    assert found["classes"] == ["02", "1"]
    assert f"accuracy          {found['accuracy']:.4f}" in out


def test_rows_of_unknown_label_are_left_out(fitted, cli, tmp_path):
    code, _, _ = cli("evaluate", fitted / "model", fitted / "data.csv", "-o", tmp_path / "e.json")
    found = json.loads((tmp_path / "e.json").read_text())
    assert (code, found["rows"], found["rows_without_label"]) == (0, 24, 96)
    loaded = SemiSupervisedVAEClassifier.load(fitted / "model")
    rows, labels = as_pandas_reads(fitted / "truth.csv")
    assert found["accuracy"] == loaded.score(rows[:24], labels[:24])


def test_another_label_column(fitted, cli, table, tmp_path):
    table.rename(columns={"y": "truth"}).to_csv(tmp_path / "new.csv", index=False)
    code, _, err = cli("evaluate", fitted / "model", tmp_path / "new.csv")
    assert (code, "has no column 'y' of labels" in err) == (1, True)
    code, out, _ = cli(
        "evaluate", fitted / "model", tmp_path / "new.csv", "--label-column", "truth"
    )
    assert (code, "rows              120" in out) == (0, True)


def test_labels_that_were_not_in_training_are_an_error(fitted, cli, table, tmp_path):
    table.loc[[3, 5], "y"] = ["3", "1.0"]
    table.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "e.json"
    code, shown, err = cli("evaluate", fitted / "model", tmp_path / "new.csv", "-o", out)
    assert (code, shown) == (1, "")
    assert (
        "2 rows have labels that were not in training, '3', '1.0', expected some of '02', '1'"
        in err
    )
    assert not out.exists()


def test_no_known_label_is_an_error(fitted, cli, table, tmp_path):
    table.assign(y="").to_csv(tmp_path / "new.csv", index=False)
    code, _, err = cli("evaluate", fitted / "model", tmp_path / "new.csv")
    assert (code, "no known label among 120 rows" in err) == (1, True)


def test_labels_of_numbers_are_compared_as_they_are_written(fitted, cli, table, tmp_path):
    pytest.importorskip("pyarrow")
    # 02 is no number: of its rows labels are unknown.
    table["y"] = (table["y"] == "1").astype(float).where(table["y"] == "1")
    table.to_parquet(tmp_path / "new.parquet")
    code, out, _ = cli("evaluate", fitted / "model", tmp_path / "new.parquet")
    assert code == 0
    assert f"rows              {int(table['y'].sum())} (" in out

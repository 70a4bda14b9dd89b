"""The comparison of regressors on small tables, and its numbers by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

from benchmarks.regression import __main__ as command
from benchmarks.regression import data, fits, methods, summary, tuning
from benchmarks.tables.fits import read
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator import SemiSupervisedVAERegressor
from pyro_ssl.estimator.regression.weighing import BAYES, MODEL, Q

BASELINES = ("ridge", "random forest", "Gaussian process")


def test_splits_share_rows_and_labels_among_each_other():
    train, test, known = data.split(100, 20, 3)
    assert (len(train), len(test), known.sum()) == (70, 30, 20)
    assert sorted([*train, *test]) == list(range(100))
    again, _, more = data.split(100, 50, 3)
    np.testing.assert_array_equal(train, again)
    assert more[known].all()
    assert not np.array_equal(data.split(100, 20, 4)[1], test)
    with pytest.raises(ConfigError, match="labels is 80, expected 2 to 70"):
        data.split(100, 80, 3)


def test_tables_are_read_without_rows_that_lack_the_label(tmp_path, monkeypatch):
    (tmp_path / "tabular").mkdir()
    frame = pd.DataFrame({"species": ["a", "b", None], "body_mass_g": [1.5, np.nan, 3.0]})
    frame.to_csv(tmp_path / "tabular" / "penguins.csv.gz", index=False)
    monkeypatch.setattr(data, "data_root", lambda: tmp_path)
    inputs, ys = data.load.__wrapped__("penguins")
    assert ys.tolist() == [1.5, 3.0]
    assert list(inputs) == ["species"]
    with pytest.raises(DataError, match=r"attrition.csv.gz is missing"):
        data.load.__wrapped__("attrition")
    with pytest.raises(ConfigError, match="data set is 'wine'"):
        data.load("wine")
    inputs, ys = data.load("diabetes")
    np.testing.assert_array_equal(ys, load_diabetes().target)
    assert "target" not in inputs


def test_measures_are_those_of_the_formulas():
    ys, mean, deviation = np.array([1.0, 3.0]), np.array([2.0, 5.0]), np.array([1.0, 2.0])
    found = fits.measures(mean, deviation, ys)
    assert found["rmse"] == pytest.approx(math.sqrt((1 + 4) / 2))
    assert found["r2"] == pytest.approx(1 - 2.5 / 1)
    nats = [0.5, 0.5 + math.log(2)]
    assert found["log_loss"] == pytest.approx(np.mean(nats) + 0.5 * math.log(2 * math.pi))
    assert math.isnan(fits.measures(mean, None, ys)["log_loss"])


@pytest.mark.parametrize("method", BASELINES)
def test_baselines_see_labelled_rows_alone(method):
    part, ys = fits.part_of("diabetes", 30, 10)
    assert int((~np.isnan(part.partial)).sum()) == 30
    mean, deviation = methods.METHODS[method](part)
    assert 1 - np.mean((ys - mean) ** 2) / ys.var() > 0.2
    assert (deviation is None) == (method != "Gaussian process")
    unlabelled = part.train.copy()
    unlabelled[np.isnan(part.partial)] = 99.0
    again = methods.METHODS[method](methods.Part(unlabelled, part.partial, part.test, 10))[0]
    np.testing.assert_allclose(mean, again)


def test_ours_is_the_regressor(monkeypatch):
    seen = {}

    class Quick(SemiSupervisedVAERegressor):
        def fit(self, X, y):  # noqa: N803
            seen.update(rows=len(X), known=int(np.isfinite(y).sum()), seed=self.random_state)
            self.mean = np.nanmean(y)
            return self

        def predict(self, X, return_std=False):  # noqa: N803
            return np.full(len(X), self.mean), np.ones(len(X))

    monkeypatch.setattr("pyro_ssl.SemiSupervisedVAERegressor", Quick, raising=False)
    (row,) = fits.run(fits.Fit("diabetes", 20, 11, "ours"), "abc")
    assert seen == {"rows": 309, "known": 20, "seed": 11}
    assert set(row) == set(fits.COLUMNS)
    assert row["r2"] <= 0


def test_command_appends_what_is_missing_and_summarises(tmp_path, capsys):
    args = ["--datasets", "diabetes", "--labels", "20", "--methods", "ridge", "Gaussian process"]
    command.main([*args, "--splits", "0", "1", "--output", str(tmp_path)])
    rows = read(tmp_path / "regression.csv", fits.COLUMNS)
    assert len(rows) == 4
    shown = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "regression_summary.csv")
    ridge = rows[rows["method"] == "ridge"]
    own = table[table["method"] == "ridge"].iloc[0]
    assert own["rmse"] == pytest.approx(ridge["rmse"].mean())
    reach = 12.7062 * ridge["rmse"].std() / math.sqrt(2)
    assert own["rmse_high"] - own["rmse"] == pytest.approx(reach, rel=1e-4)
    assert math.isnan(own["log_loss"])
    assert f"{own['r2']:.3f} +- " in shown
    (short,) = pd.read_csv(tmp_path / "regression_short.csv").to_dict("records")
    assert list(short)[2:] == ["ridge", "Gaussian process", "log loss of Gaussian process"]
    assert short["ridge"] == f"{own['r2']:.2f} +- {own['r2_high'] - own['r2']:.2f}"
    command.main([*args, "--splits", "0", "1", "2", "--output", str(tmp_path)])
    assert "2 of 2 fits" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--methods has 'magic'"):
        command.main(["--methods", "magic"])


def test_report_says_where_ours_stands():
    each = [("ours", 0.5, 0.4), ("ridge", 0.45, 0.45), ("random forest", 0.1, 0.2)]
    same = {"dataset": "diabetes", "labels": 20, "labelled": 20, "unlabelled": 289, "rmse": 1.0}
    rows = pd.DataFrame(
        same | {"split": n, "method": name, "r2": value, "log_loss": np.nan, "seconds": 1.0}
        for name, *values in each
        for n, value in enumerate(values)
    )
    shown = summary.report(rows)
    assert "best in 1" in shown
    assert "diabetes, 20 labels, +0.000 in R^2 against ridge (standard error 0.050)" in shown


def test_trials_are_of_other_splits_and_vary_the_decision(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"--splits has \[3\], which are reported"):
        tuning.main(["--splits", "3", "11"])
    names = [Q, BAYES, "ridge"]
    trials = list(tuning.trials(names))
    assert tuning.Trial() in trials
    assert sum(bool(t.alone) for t in trials) == 3

    signs = {Q: 1, BAYES: 0, "ridge": -1}

    class Weighing:
        evidence = (
            {n: np.stack([s * np.arange(6.0), np.ones(6)], 1) for n, s in signs.items()},
            np.arange(6.0),
            np.ones(6),
        )

        def preference(self, supervised, model):
            return {Q: model / 2, BAYES: model / 2, "ridge": supervised}

    alone = tuning.decided(Weighing(), tuning.Trial(alone="ridge"))
    assert alone.names == ("ridge",)
    without = tuning.decided(Weighing(), tuning.Trial(without=Q))
    assert without.names == (BAYES, "ridge")
    whole = tuning.decided(Weighing(), tuning.Trial(model=100 * MODEL))
    assert whole.weights[2] < tuning.decided(Weighing(), tuning.Trial(model=0.1)).weights[2]

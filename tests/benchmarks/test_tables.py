"""The comparison on tables: what is fitted on which rows, the file of fits, numbers by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss

import pyro_ssl
from benchmarks.tables import __main__ as command
from benchmarks.tables import data, fits, methods
from benchmarks.tables.methods import METHODS, Part
from pyro_ssl.errors import ConfigError, ResultsError

BASELINES = [name for name in METHODS if name != methods.OURS]


@pytest.fixture
def table():
    """Three classes that numbers, strings and missing entries tell apart."""
    rng = np.random.default_rng(0)
    ys = rng.permutation(np.repeat(np.arange(3), 40))
    frame = pd.DataFrame(
        {
            "real": ys * 4.0 + rng.normal(size=120),
            "count": rng.poisson(1 + 5 * ys),
            "kind": [("u", "v", "w")[y] if rng.random() < 0.9 else "rare" for y in ys],
        }
    )
    return data.remove_entries(frame, 0.1, 0), ys


def parted(inputs, ys, labels=5):
    train, test, partial = data.split(ys, labels, "even", 0)
    rows = inputs.iloc if isinstance(inputs, pd.DataFrame) else inputs
    return Part(rows[train], partial, rows[test], 0), ys[test]


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_learn_tables_arrays_and_counts(name, table):
    frame, ys = table
    counts = np.random.default_rng(1).poisson(np.eye(3)[ys] * 6 + 0.5)
    for inputs in (frame, np.where(counts > 20, np.nan, counts), sparse.csr_matrix(counts)):
        if sparse.issparse(inputs) and name == methods.BOOSTING:
            continue
        part, answer = parted(inputs, ys)
        (found,) = METHODS[name](part).values()
        assert found.shape == (36, 3)
        assert fits.measures(found, answer)["balanced_accuracy"] > 0.75


@pytest.mark.parametrize("name", BASELINES[:5])
def test_labelled_rows_alone_are_used(name, table):
    part, _ = parted(*table)
    other = part.train.copy()
    other.loc[part.partial < 0, ["real", "count"]] = 1e6
    for one, same in zip(
        METHODS[name](part).values(),
        METHODS[name](Part(other, part.partial, part.test, 0)).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("name", BASELINES[5:])
def test_unlabelled_rows_are_used(name, table):
    part, _ = parted(*table)
    other = part.train[part.partial >= 0], part.partial[part.partial >= 0]
    assert not np.allclose(METHODS[name](part)[""], METHODS[name](Part(*other, part.test, 0))[""])


def test_columns_are_as_written_out_by_hand():
    frame = pd.DataFrame({"a": [1.0, np.nan, 5.0, 3.0], "s": ["x", "y", np.nan, "x"]})
    made = methods.columns(frame)
    scale = math.sqrt(2)
    expected = [[-2 / scale, 1, 0], [0, 0, 1], [2 / scale, 1, 0], [0, 1, 0]]
    np.testing.assert_allclose(made.fit_transform(frame), expected)
    unseen = pd.DataFrame({"a": [np.nan], "s": ["z"]})
    np.testing.assert_allclose(made.transform(unseen), [[0, 0, 0]])


def test_a_fit_is_that_of_scikit_learn():
    (row,) = fits.run(fits.Fit("wine", 5, "random", 0.0, 3, "logistic regression"), "abc")
    xs, ys = load_wine(return_X_y=True)
    train, test, partial = data.split(ys, 5, "random", 3)
    known = train[partial >= 0]
    center, scale = xs[known].mean(0), xs[known].std(0)
    model = LogisticRegression(max_iter=1000).fit((xs[known] - center) / scale, ys[known])
    found = model.predict_proba((xs[test] - center) / scale)
    assert row["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(ys[test], found.argmax(1))
    )
    assert row["accuracy"] == pytest.approx(np.mean(found.argmax(1) == ys[test]))
    assert row["log_loss"] == pytest.approx(log_loss(ys[test], found), rel=1e-4)
    assert (row["labelled"], row["unlabelled"], row["commit"]) == (15, 110, "abc")
    assert list(row) == list(fits.COLUMNS)


def test_measures_by_hand():
    found = fits.measures(
        np.array([[3.0, 1.0], [0.0, 2.0], [np.nan, np.nan], [0.0, 0.0]]), np.array([0, 0, 0, 1])
    )
    # Probabilities (0.75, 0.25), (0, 1), and equal ones where nothing is said: class 0.
    assert found["accuracy"] == 0.5
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 0) / 2)
    expected = -(math.log(0.75) + math.log(1e-6) + 2 * math.log(0.5)) / 4
    assert found["log_loss"] == pytest.approx(expected)
    # Three bins: of one row, right; of one row, wrong; of two rows, half of them right.
    assert found["ece"] == pytest.approx((0.25 + 1 + 0) / 4)


def test_ours_is_recorded_also_under_the_shares_it_estimates(table, monkeypatch):
    class Ours:
        def __init__(self, random_state):
            assert random_state == 0

        def fit(self, inputs, partial):
            assert isinstance(inputs, pd.DataFrame)
            assert set(partial) == {-1, 0, 1, 2}
            self.class_shares_ = np.array([0.2, 0.3, 0.5])

        def predict_proba(self, inputs):
            return np.full((len(inputs), 3), 1 / 3)

    assert methods.OURS not in methods.available() or hasattr(
        pyro_ssl, "SemiSupervisedVAEClassifier"
    )
    monkeypatch.setattr(pyro_ssl, "SemiSupervisedVAEClassifier", Ours, raising=False)
    assert methods.OURS in methods.available()
    part, _ = parted(*table)
    found = METHODS["ours"](part)
    assert list(found) == ["", ", estimated shares"]
    np.testing.assert_allclose(found[", estimated shares"][0], np.array([0.2, 0.3, 0.5]) / 3)


ARGUMENTS = ["--datasets", "wine", "--labels", "5", "--splits", "0", "1", "--methods"]
TWO = ["logistic regression", "self-training, logistic regression"]


def test_fits_that_are_there_are_not_computed_again(tmp_path, capsys):
    command.main([*ARGUMENTS, TWO[0], "--output", str(tmp_path)])
    file = tmp_path / "tables.csv"
    first = file.read_text()
    assert len(fits.read(file)) == 2 * 2 * 2
    # A kill cut off the last row.
    file.write_text(first[:-20])
    assert len(fits.read(file)) == 7
    command.main([*ARGUMENTS, *TWO, "--output", str(tmp_path)])
    table = fits.read(file)
    assert file.read_text().startswith(first[: first.rstrip().rindex("\n") + 1])
    assert len(table) == len(fits.done(table)) == 16
    assert set(table["method"]) == set(TWO)
    assert "9 of 9 fits" in capsys.readouterr().out
    command.main([*ARGUMENTS, *TWO, "--output", str(tmp_path), "--summary"])
    assert "fits" not in capsys.readouterr().out.split("##")[0]
    assert len(pd.read_csv(tmp_path / "tables_summary.csv")) == 8


def test_several_processes_find_the_same(tmp_path):
    for jobs in ("1", "2"):
        output = ["--output", str(tmp_path / jobs), "--jobs", jobs]
        command.main([*ARGUMENTS, "random forest", *output])
    one, two = (
        fits.read(tmp_path / jobs / "tables.csv")
        .sort_values(list(fits.KEY))
        .drop(columns="seconds")
        for jobs in ("1", "2")
    )
    pd.testing.assert_frame_equal(one.reset_index(drop=True), two.reset_index(drop=True))


def test_a_fit_that_fails_is_told_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(METHODS, TWO[0], lambda part: {"": part.no_such_thing})
    with pytest.raises(SystemExit, match="8 fits failed"):
        command.main([*ARGUMENTS, *TWO, "--output", str(tmp_path)])
    assert "no_such_thing" in capsys.readouterr().err
    assert set(fits.read(tmp_path / "tables.csv")["method"]) == {TWO[1]}


def test_the_grid_takes_no_entries_of_counts_and_does_whole_ones_first():
    every = list(
        fits.grid(data.DATASETS, (5, 10, 25), data.DRAWS, (0.0, 0.3), range(10), BASELINES)
    )
    assert len(every) == len(set(every)) == (2 * 12 - 1) * 6 * 10 * 8 - 6 * 10
    missing = [fit.missing for fit in every]
    assert missing == sorted(missing)
    assert {fit.missing for fit in every if fit.dataset == "newsgroups"} == {0.0}
    assert not [fit for fit in every if (fit.dataset, fit.method) in methods.LEFT_OUT]


@pytest.mark.parametrize("option", ["--datasets", "--draws", "--methods"])
def test_unknown_names_are_refused(option, tmp_path):
    with pytest.raises(ConfigError, match=f"{option} has 'nothing'"):
        command.main([option, "nothing", "--output", str(tmp_path)])


def test_a_file_of_other_columns_is_refused(tmp_path):
    (tmp_path / "tables.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ResultsError, match="has the columns"):
        fits.read(tmp_path / "tables.csv")

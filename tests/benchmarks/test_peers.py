"""The benchmark of whole epochs beside other libraries."""

import pandas as pd
import pytest
import torch

from benchmarks.peers import __main__ as peers
from benchmarks.peers import numpyro_models, ours, torch_models
from benchmarks.peers.problem import CLASSES, Passed, Problem


@pytest.fixture
def problem():
    return Problem.drawn(45, 20, 20)


def test_rows_are_whole_batches_of_images_and_of_counts(problem):
    assert (len(problem.xs), problem.steps) == (40, 2)
    assert set(problem.xs.unique().tolist()) == {0.0, 1.0}
    assert problem.known_ys.tolist() == [i % CLASSES for i in range(20)]
    counts = problem.counts()
    assert counts.shape == (60, 784)
    assert counts[problem.xs.new_ones(60).bool()].mean() == pytest.approx(2.4, abs=0.3)


def test_table_has_ours_and_says_what_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch, "compile", lambda function, **kwargs: function)
    monkeypatch.setattr(peers, "installed", lambda contestant: None if contestant.package else "")
    options = "--models VAE counts --rows 40 --labels 20 --batch-size 20 --epochs 1"
    peers.main([*options.split(), "--results-root", str(tmp_path)])
    table = pd.read_csv(tmp_path / "peers.csv")
    assert set(table["model"]) == {"VAE", "counts"}
    assert table["library"].str.startswith("ours").all()
    # The fastest of ours is what others are measured by.
    assert table.groupby("model")["times_as_long"].min().tolist() == [1.0, 1.0]
    assert (table["loss"] > 0).all()
    assert "NumPyro: left out, numpyro is not installed" in capsys.readouterr().out


def test_epochs_that_time_themselves_are_believed(monkeypatch):
    made = [
        peers.Contestant("ours, a", lambda problem: lambda: Passed(1.0, 2.0)),
        peers.Contestant("b", lambda problem: lambda: Passed(3.0, 6.0)),
    ]
    monkeypatch.setattr(peers, "contestants", lambda model, fast: made)
    rows = peers.measure("VAE", peers.Config(rows=20, labels=10, batch_size=10, epochs=3))
    assert [row["times_as_long"] for row in rows] == [1.0, 3.0]
    assert [row["loss"] for row in rows] == [1.0, 3.0]


@pytest.mark.parametrize(
    ("package", "theirs", "same"),
    [
        ("numpyro", numpyro_models.vae, ours.vae),
        ("numpyro", numpyro_models.m2, ours.m2),
        ("pythae", torch_models.pythae_vae, ours.vae),
        ("pyroved", torch_models.pyroved_vae, ours.vae),
    ],
)
def test_others_learn_the_same_objective(package, theirs, same):
    pytest.importorskip(package)
    problem = Problem.drawn(1000, 100, 200)
    found = [
        make() for make in (lambda: theirs(problem), lambda: same(problem, "float32", "never"))
    ]
    first, last = zip(*[(e().loss, [e().loss for _ in range(6)][-1]) for e in found], strict=True)
    assert first[0] == pytest.approx(first[1], rel=0.02)
    assert last[0] == pytest.approx(last[1], rel=0.06)
    assert last[0] < 0.9 * first[0]

"""Trials are validated, never tested, and leave a row each."""

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pandas as pd
import pytest

from experiments import gaussians_vae, mnist_m1m2, mnist_m2
from experiments.engine import semi_supervised, training
from pyro_ssl.trials import add_trial, options_of_trial

FEW = ["--dataset", "digits", "--labels", "20", "--validation", "50", "--hidden-dims", "8"]
FEW += ["--no-baseline", "--quiet", "--epochs", "2"]


def rows(path):
    return list(csv.DictReader(path.open()))


def test_a_trial_has_the_validation_figures_and_options_of_its_run_and_no_others(tmp_path):
    for rate in ("0.01", "0.02"):
        args = [*FEW, "--tuning", "--seeds", "1", "2", "--learning-rate", rate]
        assert mnist_m2.main([*args, "--results-root", str(tmp_path)]) == 0
    found = rows(tmp_path / "tuning/mnist_m2.csv")
    assert [(r["seed"], r["config_learning_rate"]) for r in found] == [
        ("1", "0.01"), ("2", "0.01"), ("1", "0.02"), ("2", "0.02"),
    ]  # fmt: skip
    assert len({r["trial"] for r in found}) == 2
    assert not [name for name in found[0] if "test" in name]
    folders = sorted((tmp_path / "tuning/mnist_m2").iterdir())
    assert [f.name for f in folders] == sorted({f"m2-digits-20-{r['trial']}" for r in found})
    for row in found:
        run = tmp_path / "tuning/mnist_m2" / f"m2-digits-20-{row['trial']}"
        frame = pd.read_csv(run / f"seed_{row['seed']}.csv")
        best = frame["validation_accuracy"].max()
        assert float(row["validation_accuracy"]) == best
        assert float(row["last_validation_accuracy"]) == frame["validation_accuracy"].iloc[-1]
        assert (row["labels"], row["validation_rows"], row["epochs"]) == ("20", "50", "2")
        assert json.loads((run / f"seed_{row['seed']}.json").read_text())["commit"] == row["commit"]
    # Nothing where results are.
    assert sorted(f.name for f in tmp_path.iterdir()) == ["tuning"]


def test_the_test_set_is_not_read(tmp_path, monkeypatch):
    def measure(contender, dataset, config):
        raise AssertionError("the test set is read")

    monkeypatch.setattr(semi_supervised, "measure_classification", measure)
    with pytest.raises(AssertionError, match="is read"):
        mnist_m2.main([*FEW, "--results-root", str(tmp_path)])
    assert mnist_m2.main([*FEW, "--tuning", "--results-root", str(tmp_path)]) == 0


def test_nor_by_the_m1_below(tmp_path, monkeypatch, capsys):
    seen = []
    finish = training._finish

    def watched(contender, history, memory, measures):
        seen.append((contender.name, contender.run.config.tuning))
        finish(contender, history, memory, measures)

    monkeypatch.setattr(training, "_finish", watched)
    args = [
        *(a for a in FEW if a != "--no-baseline"),
        "--tuning",
        "--m1.epochs",
        "1",
        "--m1.hidden-dims",
        "8",
        "--m1.latent-dim",
        "2",
    ]
    args += ["--active-threshold", "0", "--results-root", str(tmp_path)]
    assert mnist_m1m2.main(args) == 0
    assert seen == [("vae", True), ("m1m2", True)]
    assert "validation rows:" in capsys.readouterr().out
    for name in ("mnist_m1", "mnist_m1m2"):
        (row,) = rows(tmp_path / f"tuning/{name}.csv")
        assert row["seed"] == "0"


def test_models_without_labels_have_trials_too(tmp_path):
    args = ["--train-rows", "100", "--validation", "50", "--epochs", "2", "--hidden-dims", "4"]
    args += ["--quiet", "--tuning", "--results-root", str(tmp_path)]
    assert gaussians_vae.main(args) == 0
    found = rows(tmp_path / "tuning/gaussians_vae.csv")
    assert {r["model"] for r in found} == {"autoencoder", "vae"}
    assert all(float(r["last_validation_elbo"]) < 0 for r in found if r["model"] == "vae")
    assert not [name for name in found[0] if "test_" in name and not name.startswith("config")]


def test_a_trial_that_is_repeated_replaces_its_row_and_others_stay(tmp_path):
    path = tmp_path / "some.csv"
    config = SimpleNamespace(tuning=True, results_root=str(tmp_path))

    def add(seed, figure, **options):
        result = {"model": "m2", "seed": seed, "commit": "c", "validation_accuracy": figure}
        add_trial(config, "some", result | {"config": {"tag": "t", **options}, "files": []})

    add(1, 0.5, alpha=1)
    add(2, 0.6, beta=[1, 2])
    add(1, 0.7, alpha=1)
    assert [(r["seed"], r["validation_accuracy"]) for r in rows(path)] == [
        ("2", "0.6"),
        ("1", "0.7"),
    ]
    assert [(r["config_alpha"], r["config_beta"]) for r in rows(path)] == [
        ("", "[1, 2]"),
        ("1", ""),
    ]
    # Many at once lose none.
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: add(seed, 0.1), range(3, 30)))
    assert {int(r["seed"]) for r in rows(path)} == set(range(1, 30))


def test_options_that_ask_for_no_trial_are_as_they_were():
    config = mnist_m2.Config()
    assert options_of_trial(config, {}) is config
    add_trial(config, "mnist_m2", {})

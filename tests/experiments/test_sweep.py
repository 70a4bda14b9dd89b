import json
from dataclasses import replace

import pandas as pd
import pytest

from experiments import label_fraction_sweep
from experiments.engine.marks import filled
from experiments.engine.results import summarise
from experiments.label_fraction_sweep import Config, comparisons, numbers_of_labels
from pyro_ssl import load_summary, plots
from pyro_ssl.errors import ConfigError

TINY = (
    "--dataset digits --validation 50 --quiet --m2.epochs 1 --m2.hidden-dims 8 --ccvae.epochs 1 "
    "--ccvae.hidden-dims 8 --ccvae.num-samples 3 --seeds 0 1 --steps-per-epoch 3"
)


def run(root, proportions):
    arguments = [*TINY.split(), "--proportions", *proportions, "--results-root", str(root)]
    assert label_fraction_sweep.main(arguments) == 0
    return pd.read_csv(root / "label_fraction_sweep" / "sweep-digits.csv")


def test_a_second_call_adds_what_is_missing_and_keeps_the_rest(tmp_path):
    first = run(tmp_path, ["0.02"])
    assert len(first) == 6
    assert set(first["model"]) == {"mlpclassifier", "raoblackwellm2", "ccvae"}
    assert (first["labels"] == 27).all()
    checkpoint = tmp_path / "mnist_ccvae" / "ccvae-digits-27-sweep" / "seed_1.pt"
    written = checkpoint.stat().st_mtime_ns
    second = run(tmp_path, ["0.02", "0.05"])
    assert checkpoint.stat().st_mtime_ns == written
    assert len(second) == 12
    old = second[second["labels"] == 27].reset_index(drop=True)
    pd.testing.assert_frame_equal(old, first)
    assert second["test_accuracy"].between(0, 1).all()
    # Of fewer proportions than there are, all are in the table.
    pd.testing.assert_frame_equal(run(tmp_path, ["0.05"]), second)
    assert sorted(second["proportion"].unique()) == [0.02, round(67 / 1350, 4)]


def test_proportions_are_of_the_rows_that_are_not_for_validation():
    config = Config(dataset="digits", validation=400, proportions=(0.007, 0.5, 0.7, 1.0))
    assert numbers_of_labels(config) == {0.007: 7, 0.5: 500, 0.7: 700, 1.0: 1000}
    for bad in ({"proportions": (0.0001,)}, {"validation": 5000}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            numbers_of_labels(Config(**{"dataset": "digits", "validation": 400} | bad))
    with pytest.raises(ConfigError, match=r"proportions has 1\.5"):
        numbers_of_labels(Config(proportions=(0.5, 1.5)))


def test_intervals_are_students():
    runs = pd.DataFrame(
        {"labels": [10, 10, 10, 10, 20], "test_accuracy": [0.8, 0.9, 0.7, 0.8, 0.5]}
    )
    found = plots.interval_by_labels(runs, "test_accuracy")
    assert found["mean"].tolist() == pytest.approx([0.8, 0.5])
    # 3.182446 standard errors; one run alone has no interval.
    assert found["half"].tolist() == pytest.approx([3.182446 * 0.0816497 / 2, 0.0], rel=1e-5)


def test_each_model_has_the_share_of_the_sweep_whatever_its_own_options_say():
    config = Config(dataset="digits", validation=400, proportions=(0.05,))
    config = replace(config, m2=replace(config.m2, label_fraction=0.5, labels=3))
    for experiment in comparisons(config, 50):
        assert (experiment.config.labels, experiment.config.label_fraction) == (50, None)


def test_report_puts_models_side_by_side(tmp_path):
    for run, labels, accuracies in (
        ("mnist_ccvae/ccvae-mnist-48-sweep", 48, (0.7, 0.8)),
        ("mnist_conv_m2/m2-mnist-48-sweep", 48, (0.9,)),
        ("mnist_conv_m2/m2-mnist-486-sweep", 486, (0.95,)),
        ("mnist_m2/m2-mnist-48-lr-sweep", 48, (0.5,)),
    ):
        for seed, accuracy in enumerate(accuracies):
            (tmp_path / run).mkdir(parents=True, exist_ok=True)
            common = {"dataset": "mnist", "labels": labels, "validation_rows": 1, "device": "cpu"}
            result = {**common, "seed": seed, "test_accuracy": accuracy}
            (tmp_path / run / f"seed_{seed}.json").write_text(json.dumps(result))
    marks = [f"<!-- {n}: begin -->\n<!-- {n}: end -->\n" for n in ("results", "sweep")]
    text = filled("".join(marks), summarise(load_summary(tmp_path)), tmp_path)
    assert "| dataset | labels | CCVAE | M2 |" in text
    assert "| mnist | 48 | 75.00±7.07 (2) | 90.00 (1) |" in text
    assert "| mnist | 486 |  | 95.00 (1) |" in text
    # A sweep of other options is no part of it.
    assert "| mnist_m2/m2-mnist-48-lr-sweep | 48 | 50.00 |" in text
    assert "mnist_ccvae" not in text

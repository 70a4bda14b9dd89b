"""The benchmark of minutes to an accuracy."""

from dataclasses import replace

import pytest

from benchmarks.minutes import GOALS, measure, summary

TINY = (
    "--dataset digits --labels 20 --validation 50 --hidden-dims 8 --epochs 1 --device cpu".split()
)


def test_a_seed_is_timed_from_its_start_and_read_from_its_results():
    goal = replace(GOALS["M2 family"], run="mnist_m2/raoblackwellm2-digits-20")
    row = measure(goal, 3, TINY)
    assert row["seed"] == 3
    assert 0 < row["minutes"] < 10
    assert 5 < row["accuracy_%"] <= 100
    with pytest.raises(RuntimeError, match="alpha is -1"):
        measure(goal, 0, [*TINY, "--alpha", "-1"])


def test_a_goal_is_reached_by_means_of_accuracy_and_of_minutes():
    seeds = [(93.0, 2.0), (96.0, 3.5)]
    rows = [
        {"goal": "M2 family", "seed": i, "accuracy_%": accuracy, "minutes": minutes}
        for i, (accuracy, minutes) in enumerate(seeds)
    ]
    (row,) = summary(rows)
    assert row["reached"]
    assert (row["accuracy_%"], row["minutes"], row["slowest_minutes"]) == (94.5, 2.75, 3.5)
    rows[1]["minutes"] = 4.5
    assert not summary(rows)[0]["reached"]
    rows[1] |= {"minutes": 3.5, "accuracy_%": 95.0}
    assert not summary(rows)[0]["reached"]

"""The benchmark of single cells."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import cells
from experiments.engine.marks import filled


@pytest.fixture
def config(tmp_path):
    return cells.Config(seeds=(0,), cells=200, genes=20, labels=3, max_steps=5,
                        results_root=str(tmp_path))  # fmt: skip


def test_a_task_labels_so_many_cells_of_each_type(config):
    task = cells.make_task(config, 0)
    assert np.bincount(task.labels[task.known]).tolist() == [3] * 10
    np.testing.assert_array_equal(task.labels[task.known], task.cells.types[task.known])
    assert task.features.shape == (200, 22)
    assert (cells.make_task(config, 1).labels != task.labels).any()


def test_methods_see_no_label_but_those_of_the_labelled_cells(config):
    task = cells.make_task(config, 0)
    hidden = cells.Cells(
        task.cells.counts, np.where(task.known, task.cells.types, 0), task.cells.batches,
        task.cells.shares,
    )  # fmt: skip
    blind = cells.Task(hidden, task.labels, task.features, task.seed)
    for name in ("logistic regression", "random forest", "label spreading"):
        method = cells.METHODS[name]
        np.testing.assert_array_equal(method(task, 5), method(blind, 5))


def test_the_table_has_a_row_for_each_seed_and_method(config, tmp_path):
    names = ["pyro_ssl", "logistic regression", "label spreading"]
    names += ["logistic regression, all labels"]
    sizes = ["--cells", "200", "--genes", "20", "--labels", "3", "--max-steps", "5"]
    places = ["--results-root", str(tmp_path)]
    cells.main(["--seeds", "0", "1", "--methods", *names, *sizes, *places])
    table = pd.read_csv(tmp_path / "cells.csv")
    assert table.groupby("method").size().to_dict() == dict.fromkeys(names, 2)
    assert table["accuracy_%"].between(0, 100).all()
    assert "commit" in table
    shown = (tmp_path / "cells.md").read_text()
    assert "benchmarks.cells" in shown
    assert all(name in shown for name in names)


def test_the_readmes_table_has_means_and_spreads_over_seeds(tmp_path):
    table = pd.DataFrame(
        {
            "method": ["ours", "logistic regression"] * 2,
            "seed": [0, 0, 1, 1],
            "accuracy_%": [81.0, 70.0, 85.0, 72.0],
            "balanced_accuracy_%": [81.0, 71.0, 81.0, 73.0],
            "core_seconds": [3.0, 1.0, 5.0, 1.0],
            "device": "a processor",
        }
    )
    (tmp_path / "benchmarks").mkdir()
    table.to_csv(tmp_path / "benchmarks" / "cells.csv", index=False)
    marks = "".join(
        f"<!-- {name}: begin -->\n<!-- {name}: end -->\n" for name in ("results", "benchmark cells")
    )
    none = pd.DataFrame({"run": pd.Series(dtype=str), "test_accuracy_%": pd.Series(dtype=str)})
    lines = filled(marks, none, tmp_path).splitlines()
    assert "| ours | 83.0±2.8 | 12.0±1.4 | 81.0±0.0 | 4.0±1.4 |" in lines
    assert "| logistic regression | 71.0±1.4 | 0.0±0.0 | 72.0±1.4 | 1.0±0.0 |" in lines
    assert "a processor." in lines

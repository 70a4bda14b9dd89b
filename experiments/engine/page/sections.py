"""The sections of the page, each with the commands that produced its content."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from experiments.engine.page.classifiers import (
    accuracy,
    calibration,
    course,
    labels,
    published,
    treatments,
)
from experiments.engine.page.generative import bounds, generated, hashing, interventions
from experiments.engine.page.part import part
from experiments.engine.page.tables import benchmark
from pyro_ssl.report.markup import Html


def all_sections(root: Path, results: pd.DataFrame) -> list[Html]:
    """Return all sections of the page; a section without content is empty."""
    return [
        published(root, results),
        accuracy(root, results),
        treatments(root, results),
        labels(root, results),
        course(root, results),
        calibration(root, results),
        *generated(root, results),
        interventions(root, results),
        *bounds(root, results),
        hashing(root, results),
        *speed(root),
    ]


def speed(root: Path) -> Iterable[Html]:
    """Yield the results of benchmarks."""
    text = (
        "A training step on 200 unlabelled rows of 784 pixels and ten classes, compared with M2 as "
        "tutorials write it in Pyro and with the same mathematics by hand in PyTorch, alternating "
        "in one process; a whole epoch of 50,000 rows; and the scaling of steps."
    )
    step = ("step", "rows", "times_faster", "times_by_hand", "ms")
    names = ("step", "epoch", "scale")
    yield part(
        "speed", "Speed", text, [f"python -m benchmarks.{name}" for name in names],
        benchmark(root, "step", step, "A training step"),
        benchmark(root, "epoch", ("epoch", "times_faster", "seconds"), "An epoch"),
        benchmark(root, "scale", ("quantity", "model", "size", "times_the_first", "ms_per_step"),
                  "A step, by the number of classes, rows and runs"),
    )  # fmt: skip
    yield part(
        "estimators", "Estimators on tables",
        "The scikit-learn classifier and regressor on tables with few labels, compared with others "
        "in their usual pipelines. Half the 95 % interval over splits, where there is one.",
        ("python -m benchmarks.tables", "python -m benchmarks.regression"),
        benchmark(root, "tables_short", (), "Mean balanced accuracy in percent"),
        benchmark(root, "regression_short", (), "R² on test rows, and log loss in nats"),
    )  # fmt: skip

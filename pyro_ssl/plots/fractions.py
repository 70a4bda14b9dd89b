"""Accuracy and calibration against the number of labels."""

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    import pandas as pd

_PANELS = (("test_accuracy", "test accuracy in %"), ("test_ece", "calibration error in %"))


def by_label_fraction(frame: "pd.DataFrame", title: str) -> Figure:
    """Draw accuracy and expected calibration error against the number of labelled rows.

    A line is the mean over seeds, and its band is the 95 % interval of that mean by Student's
    t-distribution; a single seed has no band.

    Args:
        frame: a row for each run, with `model`, `labels`, and shares `test_accuracy`, `test_ece`.
        title: what was trained on which data.
    """
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    figure.suptitle(title)
    for axes, (column, label) in zip(figure.subplots(1, 2), _PANELS, strict=True):
        for name, runs in frame.groupby("model", sort=False):
            means = interval_by_labels(runs, column)
            (line,) = axes.plot(means.index, 100 * means["mean"], marker="o", label=name)
            low, high = (100 * (means["mean"] + s * means["half"]) for s in (-1, 1))
            axes.fill_between(means.index, low, high, alpha=0.2, color=line.get_color(), lw=0)
        axes.set(xscale="log", xlabel="labelled rows", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return figure


def interval_by_labels(runs: "pd.DataFrame", column: str) -> "pd.DataFrame":
    """Return `mean` and half the 95 % interval, `half`, of a column for each number of labels.

    Args:
        runs: rows with `labels` and the column.
        column: the column to average.
    """
    from scipy.stats import t

    found = runs.groupby("labels")[column].agg(["mean", "std", "count"])
    quantile = t.ppf(0.975, (found["count"] - 1).clip(lower=1))
    found["half"] = (quantile * found["std"] / found["count"] ** 0.5).fillna(0.0)
    return found[["mean", "half"]]

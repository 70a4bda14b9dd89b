"""Learning curves of a run, and the calibration of its classifier."""

import re
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from pyro_ssl.elbos import names
from pyro_ssl.errors import DataError
from pyro_ssl.metrics.classification import confidence_bins

if TYPE_CHECKING:
    import pandas as pd

# Columns of single latent dimensions, which may be many.
KL_OF_DIMENSION = re.compile(names.kl_of_dimension("z", r"(\d+)"))


def width_for(title: str, inches: float) -> float:
    """Return a figure's width: `inches`, or more if the title needs more."""
    return max(inches, 0.095 * max(map(len, title.splitlines()), default=0))


def over_epochs(axes: Axes) -> None:
    """Label the first axis as epochs, in whole numbers."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def learning_curves(frame: "pd.DataFrame", title: str) -> Figure:
    """Draw bounds, classification term and validation measures over epochs.

    `kl_by_dimension` draws the KL of single dimensions.

    Args:
        frame: one row per epoch, as returned by `History.to_frame`.
        title: what was trained on which data.
    """
    divergences = [c for c in frame.columns if names.is_reported_kl(c)]
    bounds = [names.reported(names.ELBO, kind) for kind in names.KINDS]
    wanted = {
        ("bound", "nats per example"): [*bounds],
        ("KL divergence", "nats per example"): divergences,
        ("classification term", "nats per labelled example"): [names.CLASSIFICATION],
        ("validation", "share of rows"): ["validation_accuracy", "validation_ece"],
    }
    on_validation = (names.ELBO, names.log_prob("x"), names.JOINT_BOUND)
    known = [names.reported(term, names.VALIDATION) for term in on_validation]
    objectives = [column for column in known if column in frame]
    wanted["bound", "nats per example"] += objectives
    present = {heading: [c for c in terms if c in frame] for heading, terms in wanted.items()}
    panels = {heading: columns for heading, columns in present.items() if columns}
    figure = Figure(figsize=(width_for(title, 3.6 * len(panels)), 3.4), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, ((heading, unit), columns) in zip(all_axes, panels.items(), strict=True):
        for column in columns:
            axes.plot(frame["epoch"] + 1, frame[column], label=column.replace("_", " "))
        axes.set(title=heading, xlabel="epoch", ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    bound = figure.axes[0]
    if bounds[-1] in frame and len(frame) > 4:
        # The first epochs are far below the rest and would flatten the curves after them.
        later = frame[panels["bound", "nats per example"]].iloc[2:]
        margin = 0.05 * (later.max().max() - later.min().min() + 1e-9)
        bound.set_ylim(later.min().min() - margin, later.max().max() + margin)
    figure.suptitle(title)
    return figure


def kl_by_dimension(frame: "pd.DataFrame", title: str) -> Figure:
    """Draw the KL divergence of each dimension of z over epochs as a heat map.

    Dimensions are sorted by the KL of the last epoch, the largest at the top; their numbers are
    those of the columns.

    Args:
        frame: one row per epoch, with columns `validation_kl_z_D`, in nats per example.
        title: what was trained on which data.

    Raises:
        DataError: if the frame has no such column.
    """
    columns = {int(m[1]): c for c in frame.columns if (m := KL_OF_DIMENSION.fullmatch(c))}
    if not columns:
        raise DataError(
            f"frame has the columns {', '.join(frame.columns)}, but none named like "
            "validation_kl_z_0: train with validation rows a model that has a latent z"
        )
    order = sorted(columns, key=lambda d: (-frame[columns[d]].iloc[-1], d))
    values = frame[[columns[d] for d in order]].to_numpy(float).T
    height = min(max(0.13 * len(order) + 1.2, 3.2), 9)
    figure = Figure(figsize=(width_for(title, 6.4), height), layout="constrained")
    axes = figure.subplots()
    first, last = frame["epoch"].iloc[[0, -1]] + 1
    extent = (first - 0.5, last + 0.5, len(order) - 0.5, -0.5)
    image = axes.imshow(values, extent=extent, aspect="auto", interpolation="nearest", vmin=0)
    axes.set_ylabel("dimension of z, by KL at the last epoch")
    axes.set_yticks(range(len(order)), [str(d) for d in order], fontsize=6)
    over_epochs(axes)
    figure.colorbar(image, ax=axes, label="KL, nats per validation example")
    figure.suptitle(title)
    return figure


def reliability(probabilities: Tensor, ys: Tensor, title: str, bins: int = 15) -> Figure:
    """Draw accuracy against confidence of the most probable class, and confidence's histogram.

    Args:
        probabilities: see `pyro_ssl.metrics.confidence_bins`.
        ys: see `confidence_bins`.
        title: what was measured on which data.
        bins: number of equally wide bins of confidence, those of `expected_calibration_error`.

    Raises:
        DataError: if a probability is not in [0, 1], up to rounding.
    """
    found = confidence_bins(probabilities, ys, bins)
    rows, confidence, right = (values.cpu().numpy() for values in found)
    # Empty bins are left out, so that the line connects bins with rows.
    some = rows > 0
    figure = Figure(figsize=(width_for(title, 4.4), 5.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="perfect calibration")
    top.plot(confidence[some] / rows[some], right[some] / rows[some], marker="o", label="measured")
    top.set(ylabel="accuracy", ylim=(0, 1.02), title=title)
    top.legend(frameon=False)
    bottom.bar(np.arange(bins) / bins, rows, width=1 / bins, align="edge", edgecolor="white")
    # A bar of a single row must be visible, too.
    bottom.set(xlabel="confidence", ylabel="rows", yscale="log", xlim=(0, 1), ylim=(0.5, None))
    return figure

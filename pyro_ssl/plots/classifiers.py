"""Figures of a fitted classifier: training, latents, bounds, reconstructions."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pyro_ssl.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

# Sizes in inches that also suit narrow pages.
_WIDTH = 4.6
# The colours of Okabe and Ito, which colour-blind people can tell apart, without black and a yellow
# that is too light for points.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D")
_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")


class ClassMarker(NamedTuple):
    """The colour and shape of points of a class."""

    colour: str
    shape: str


def class_markers(classes: int) -> list[ClassMarker]:
    """Return a colour and a shape for each class; from the 57th class on they repeat."""
    return [
        ClassMarker(_COLOURS[code % len(_COLOURS)], _SHAPES[code % len(_SHAPES)])
        for code in range(classes)
    ]


def training_course(history: "pd.DataFrame", falls_from: float | None) -> Figure:
    """Draw loss and measure over the steps of a classifier's training.

    Args:
        history: the columns `step`, `loss` and `measure`, in nats per row; see
            `SemiSupervisedVAEClassifier.history_`.
        falls_from: the step from which the step size falls, drawn as a line; None for none.
    """
    panels = {"loss": "loss"}
    if history["measure"].notna().any():
        panels["measure"] = "held-out bound"
    figure = Figure(figsize=(_WIDTH, 0.6 + 1.9 * len(panels)), layout="constrained")
    each = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (column, name) in zip(each, panels.items(), strict=True):
        axes.plot(history["step"], history[column], color=_COLOURS[0], marker="o", markersize=3)
        axes.set_ylabel(f"{name},\nnats per row")
        axes.grid(alpha=0.3)
        if len(history) > 4:
            _fit_later(axes, history[column].to_numpy(float))
        if falls_from is not None:
            axes.axvline(falls_from, color="0.4", linestyle="--", linewidth=1)
    if falls_from is not None:
        each[0].set_title("dashed: from here on the step size falls", fontsize="medium")
    each[-1].set_xlabel("step")
    each[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure


def latent_map(points: Floats, codes: Codes, classes: int) -> Figure:
    """Draw rows as points in the plane, labelled ones with their `class_markers`.

    Args:
        points: `[N, 2]`.
        codes: their labels `[N]`, -1 where unknown: these are small and grey.
        classes: number of classes K.

    Raises:
        DataError: if points do not have two dimensions.
    """
    if points.ndim != 2 or points.shape[1] != 2:
        raise DataError(f"points has shape {points.shape}, expected (N, 2): project them first")
    figure = Figure(figsize=(_WIDTH, 4.3), layout="constrained")
    axes = figure.subplots()
    unknown = codes < 0
    axes.plot(*points[unknown].T, ".", color="0.7", markersize=4, markeredgewidth=0)
    for code, (colour, shape) in enumerate(class_markers(classes)):
        here = points[codes == code]
        axes.plot(
            *here.T, shape, color=colour, markersize=6, markeredgecolor="white", markeredgewidth=0.5
        )
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.grid(alpha=0.3)
    return figure


def bound_distribution(bounds: Floats, low: float, middle: float) -> Figure:
    """Draw the distribution of bounds on log p(x) of rows.

    Args:
        bounds: `[N]`, in nats per value. Bounds far below `low` are drawn in one bar.
        low: a bound that is drawn as a line: below it, rows are unlike the others.
        middle: the median of the bounds, drawn as a line.
    """
    figure = Figure(figsize=(_WIDTH, 2.7), layout="constrained")
    axes = figure.subplots()
    least = low - 1.5 * max(middle - low, 1e-6)
    axes.hist(np.maximum(bounds, least), bins=40, color=_COLOURS[5], edgecolor="white", lw=0.4)
    axes.axvline(middle, color="0.2", linewidth=1, label="median")
    axes.axvline(low, color=_COLOURS[1], linestyle="--", linewidth=1.2, label="lowest 0.5 %")
    axes.set_xlabel("bound on log p(x), nats per value")
    axes.set_ylabel("rows of training")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def signal_reconstructions(originals: Floats, reconstructed: Floats) -> Figure:
    """Draw the first channel of signals `[R, C, T]`, with their reconstructions on top.

    Raises:
        DataError: if they are not signals.
    """
    if np.ndim(originals) != 3 or np.shape(originals) != np.shape(reconstructed):
        raise DataError(
            f"originals has shape {np.shape(originals)} and reconstructed "
            f"{np.shape(reconstructed)}, expected (R, C, T): use reconstructions for other inputs"
        )
    figure = Figure(figsize=(_WIDTH, 0.6 + 1.05 * len(originals)), layout="constrained")
    each = figure.subplots(len(originals), 1, sharex=True, squeeze=False)[:, 0]
    for axes, signal, found in zip(each, originals, reconstructed, strict=True):
        axes.plot(signal[0], color="0.55", linewidth=2, label="original")
        axes.plot(found[0], color=_COLOURS[1], linewidth=1.2, label="reconstruction")
        axes.tick_params(labelsize="x-small")
        axes.grid(alpha=0.3)
    figure.legend(
        *each[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False
    )
    each[-1].set_xlabel("time")
    return figure


def _fit_later(axes: Axes, values: Floats) -> None:
    """Fit the second axis to all values except the first, which may be far from the others."""
    later = values[1:][np.isfinite(values[1:])]
    if len(later):
        margin = 0.08 * (later.max() - later.min() + 1e-9)
        axes.set_ylim(later.min() - margin, later.max() + margin)

"""Rows of features and signals as lines, in place of a grid of images."""

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from pyro_ssl.errors import DataError
from pyro_ssl.plots.curves import width_for

# Largest number of features whose ranges are written at the axis.
_WRITTEN = 10


def row_lines(rows: Tensor, columns: int, title: str) -> Figure:
    """Draw rows of features `[N, F]` as lines over the features, or signals `[N, C, T]` over time.

    A row of `columns` images in `image_grid` corresponds to a panel of as many lines here (for
    signals, a panel for each channel), from dark to light in their order. Features may have
    different units; each is therefore scaled from its smallest to its largest value in the figure.
    These values are written at the axis if they are few. Missing values are gaps.

    Args:
        rows: the rows.
        columns: number of lines per panel.
        title: what the figure shows.

    Raises:
        DataError: if they are neither rows of features nor signals.
    """
    if rows.dim() not in (2, 3) or not rows.numel():
        raise DataError(
            f"rows has shape {list(rows.shape)}, expected features [N, F] or signals [N, C, T]"
        )
    values = rows.detach().cpu().double().numpy()
    least, largest = _ranges(values)
    if values.ndim == 2:
        span = np.where(largest > least, largest - least, 1.0)
        values = np.where(largest > least, (values - least) / span, 0.5 + 0 * values)[:, None]
    panels, channels = -(-len(values) // columns), values.shape[1]
    title = f"{title}\n(lines from dark to light, in the order of columns)"
    size = (width_for(title, 5.0 * channels), 1.2 * panels + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize="medium")
    each = figure.subplots(panels, channels, sharex=True, squeeze=False)
    for number, axes in enumerate(each.flat):
        first, channel = number // channels * columns, number % channels
        _draw_lines(axes, values[first : first + columns, channel], columns)
        axes.set_ylabel(str(number // channels))
        if rows.dim() == 2:
            axes.set_ylim(-0.05, 1.05)
    for axes in each[-1]:
        axes.set_xlabel("time" if rows.dim() == 3 else "feature, from its least to its largest")
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    if rows.dim() == 2 and rows.shape[1] <= _WRITTEN:
        ends = zip(least, largest, strict=True)
        names = [f"{n}\n{low:.3g} to {high:.3g}" for n, (low, high) in enumerate(ends)]
        each[-1][0].set_xticks(range(len(names)), names, fontsize="x-small")
    return figure


def _ranges(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the smallest and the largest value of each feature, 0 if no value is known."""
    known = np.isfinite(values)
    least = np.where(known, values, np.inf).min(0)
    largest = np.where(known, values, -np.inf).max(0)
    some = known.any(0)
    return np.where(some, least, 0.0), np.where(some, largest, 0.0)


def _draw_lines(axes: Axes, lines: NDArray[np.float64], columns: int) -> None:
    """Draw lines `[columns, T]`; points show values without neighbours."""
    marker = "." if lines.shape[1] <= 30 else None
    for shade, line in zip(np.linspace(0, 0.85, columns), lines, strict=False):
        colour = colormaps["viridis"](float(shade))
        axes.plot(line, color=colour, linewidth=1.1, marker=marker, markersize=4)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize="x-small")


def check_images(inputs: torch.Size | tuple[int, ...], name: str, instead: str) -> None:
    """Check that inputs are images, for a figure that has no meaning for other inputs.

    Args:
        inputs: shape of one input.
        name: the figure's function.
        instead: the function that suits other inputs.

    Raises:
        DataError: if they are not images.
    """
    if len(inputs) != 3:
        raise DataError(
            f"{name} draws images [C, H, W], but an input of this model has shape {list(inputs)}: "
            f"use {instead}, which draws rows of features and signals as lines"
        )

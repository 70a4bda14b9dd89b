"""Every figure the project draws; each function returns a matplotlib `Figure`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from pyro_ssl.models import M1M2, M2, VAE

if TYPE_CHECKING:
    import pandas as pd

# Models whose images are drawn given a label.
CLASS_CONDITIONAL = (M2, M1M2)


def learning_curves(frame: "pd.DataFrame", title: str) -> Figure:
    """Draw bounds, classification term and validation figures over epochs.

    Args:
        frame: one row an epoch, as `History.to_frame` gives.
        title: what was trained on what.
    """
    wanted = {
        ("bound", "nats per example"): ["labelled_elbo", "unlabelled_elbo"],
        ("KL divergence", "nats per example"): [c for c in frame.columns if "_kl_" in c],
        ("classification term", "nats per labelled example"): ["classification"],
        ("validation", "share of rows"): ["validation_accuracy", "validation_ece"],
    }
    if "validation_elbo" in frame:
        wanted["bound", "nats per example"].append("validation_elbo")
    present = {heading: [c for c in names if c in frame] for heading, names in wanted.items()}
    panels = {heading: columns for heading, columns in present.items() if columns}
    figure = Figure(figsize=(3.6 * len(panels), 3.4), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, ((heading, unit), columns) in zip(all_axes, panels.items(), strict=True):
        for column in columns:
            axes.plot(frame["epoch"] + 1, frame[column], label=column.replace("_", " "))
        axes.set(title=heading, xlabel="epoch", ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    bound = figure.axes[0]
    if "unlabelled_elbo" in frame and len(frame) > 4:
        # The first epochs fall far below the rest and would flatten everything after them.
        later = frame[panels["bound", "nats per example"]].iloc[2:]
        margin = 0.05 * (later.max().max() - later.min().min() + 1e-9)
        bound.set_ylim(later.min().min() - margin, later.max().max() + margin)
    figure.suptitle(title)
    return figure


def class_samples(model: M1M2 | M2, columns: int = 10) -> Figure:
    """Draw means of p(x|y,z), a row for each class, z drawn from its prior.

    Args:
        model: the generative model.
        columns: draws a class.
    """
    device = next(model.parameters()).device
    ys = torch.arange(model.num_classes, device=device).repeat_interleave(columns)
    images = model.sample(ys)
    return _image_grid(images, columns, "samples from p(x | y), a class in each row")


def analogies(model: M1M2 | M2, xs: Tensor) -> Figure:
    """Draw, for each input, the same style under every class.

    Args:
        model: the generative model.
        xs: inputs `[R, *input_shape]`, a row each; z (z2 of `M1M2`) is the mean of its posterior
            given x and the likeliest y.
    """
    loc, _ = model.encode(xs)
    ys = torch.arange(model.num_classes, device=xs.device)
    images = model.decode(
        loc.repeat_interleave(model.num_classes, 0), ys.repeat(len(xs))
    ).unflatten(0, (len(xs), model.num_classes))
    together = torch.cat([xs.unsqueeze(1), images], 1).flatten(0, 1)
    return _image_grid(together, model.num_classes + 1, "an input, then its style in each class")


def reliability(probabilities: Tensor, ys: Tensor, title: str, bins: int = 15) -> Figure:
    """Draw accuracy against confidence of the likeliest class, and how often each occurs.

    Args:
        probabilities: `[N, K]`, rows sum to 1.
        ys: labels `[N]`.
        title: what was measured on what.
        bins: number of equally wide bins of confidence.
    """
    confidence, predicted = (t.cpu().numpy() for t in probabilities.max(-1))
    correct = predicted == ys.cpu().numpy()
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):
        accuracy = np.bincount(bin_of, correct, bins) / counts
        mean_confidence = np.bincount(bin_of, confidence, bins) / counts
    figure = Figure(figsize=(4.4, 5.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="perfect calibration")
    top.plot(mean_confidence, accuracy, marker="o", label="measured")
    top.set(ylabel="accuracy", ylim=(0, 1.02), title=title)
    top.legend(frameon=False)
    bottom.bar(edges[:-1], counts, width=1 / bins, align="edge", edgecolor="white")
    bottom.set(xlabel="confidence", ylabel="rows", yscale="log", xlim=(0, 1))
    return figure


def reconstructions(model: VAE, xs: Tensor) -> Figure:
    """Draw inputs `[R, *input_shape]` above their reconstructions from the posterior mean."""
    images = torch.cat([xs, model.decode(model.encode(xs)[0])])
    return _image_grid(images, len(xs), "inputs, and below them their reconstructions")


def manifold(model: VAE, cells: int = 20) -> Figure:
    """Draw the means of p(x|z) on a grid of quantiles of the two-dimensional prior.

    As figure 4 of Kingma and Welling (2014): equal steps of the Gaussian's distribution function.

    Args:
        model: a model with two latent dimensions.
        cells: cells a side.
    """
    images = model.decode(_quantile_grid(cells, next(model.parameters())))
    return _image_grid(images, cells, "p(x | z) over z, from 2.5 to 97.5 % of the prior", 0.3)


def class_manifolds(model: M1M2 | M2, cells: int = 10) -> Figure:
    """Draw for each class the means of p(x|y,z) on a grid of quantiles of the 2-D prior.

    Args:
        model: a model with two latent dimensions.
        cells: cells a side.
    """
    zs = _quantile_grid(cells, next(model.parameters()))
    columns = min(5, model.num_classes)
    rows = -(-model.num_classes // columns)
    figure = Figure(figsize=(2.4 * columns, 2.6 * rows + 0.4), layout="constrained")
    figure.suptitle("p(x | y, z) over z, from 2.5 to 97.5 % of the prior, for each class y")
    for y, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if y < model.num_classes:
            ys = torch.full((len(zs),), y, device=zs.device)
            _draw_grid(axes, model.decode(zs, ys), cells)
            axes.set_title(f"y = {y}", fontsize="medium")
    return figure


def latent_positions(
    panels: dict[str, Tensor], ys: Tensor, num_classes: int = 10, limit: float | None = None
) -> Figure:
    """Draw two-dimensional codes as points coloured by class, a panel for each model.

    Args:
        panels: codes `[N, 2]` by title.
        ys: labels `[N]`.
        num_classes: number of classes.
        limit: half the width of the panels; None for what each panel needs.
    """
    figure = Figure(figsize=(4.4 * len(panels) + 0.8, 4.6), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    colours = colormaps["tab10" if num_classes <= 10 else "tab20"].resampled(num_classes)
    for axes, (title, codes) in zip(all_axes, panels.items(), strict=True):
        points = axes.scatter(
            *codes.cpu().T.numpy(), c=ys.cpu().numpy(), s=3, alpha=0.6, linewidths=0,
            cmap=colours, vmin=-0.5, vmax=num_classes - 0.5,
        )  # fmt: skip
        axes.set(title=title, xlabel="$z_1$", ylabel="$z_2$", aspect="equal", adjustable="datalim")
        axes.grid(alpha=0.3)
        if limit is not None:
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), adjustable="box")
    bar = figure.colorbar(points, ax=all_axes, ticks=range(num_classes), label="class", pad=0.02)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    return figure


def save_animation(frames: Sequence[Figure], path: Path, milliseconds: int = 200) -> None:
    """Write figures of one size as a GIF that loops and rests on its last frame.

    Args:
        frames: the figures.
        path: the file to write.
        milliseconds: how long each is shown.
    """
    images = []
    for figure in frames:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        images.append(picture.quantize(64))
    durations = [milliseconds] * (len(images) - 1) + [10 * milliseconds]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)


def reconstruction_frame(originals: Tensor, reconstructed: Tensor, title: str) -> Figure:
    """Draw originals `[N, C, H, W]` on a square grid, and beside it their reconstructions."""
    columns = math.isqrt(len(originals) - 1) + 1
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    figure.suptitle(title)
    for axes, images, name in zip(
        figure.subplots(1, 2), (originals, reconstructed), ("originals", "reconstructions"),
        strict=True,
    ):  # fmt: skip
        _draw_grid(axes, images, columns)
        axes.set_title(name, fontsize="medium")
    return figure


def _quantile_grid(cells: int, like: Tensor) -> Tensor:
    """Return a grid `[cells^2, 2]` of normal quantiles, from the upper left to the lower right."""
    quantiles = torch.distributions.Normal(0.0, 1.0).icdf(torch.linspace(0.025, 0.975, cells))
    second, first = torch.meshgrid(quantiles.flip(0), quantiles, indexing="ij")
    return torch.stack([first, second], -1).flatten(0, 1).to(like)


def _image_grid(images: Tensor, columns: int, title: str, inches: float = 0.55) -> Figure:
    """Draw images `[N, C, H, W]`, grey or colour, row by row on a grid with thin gaps."""
    rows = -(-len(images) // columns)
    height, width = inches * rows * images.shape[-2] / images.shape[-1], inches * columns
    # A grid of few columns would clip its title.
    figure = Figure(figsize=(max(width, 0.075 * len(title)), height + 0.4), layout="constrained")
    axes = figure.subplots()
    _draw_grid(axes, images, columns)
    axes.set_title(title, fontsize="medium")
    return figure


def _draw_grid(axes: Axes, images: Tensor, columns: int) -> None:
    grid = make_grid(images.cpu(), nrow=columns, padding=1, pad_value=0.3)
    picture = grid.permute(1, 2, 0) if images.shape[1] == 3 else grid[0]
    axes.imshow(picture.numpy(), cmap="gray_r", vmin=0, vmax=1)
    axes.set_axis_off()

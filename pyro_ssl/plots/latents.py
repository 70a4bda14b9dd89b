"""Positions of inputs in a latent space of one or two dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pyro_ssl.errors import DataError
from pyro_ssl.models import VAE, Autoencoder


def latent_positions(
    panels: dict[str, Tensor], ys: Tensor, num_classes: int = 10, limit: float | None = None
) -> Figure:
    """Draw two-dimensional codes as points coloured by class, a panel for each model.

    Args:
        panels: codes `[N, 2]`, by the title of their panel.
        ys: labels `[N]`.
        num_classes: number of classes.
        limit: half the width of the panels; None to fit each panel to its points.

    Raises:
        DataError: if codes do not have two dimensions.
    """
    for title, codes in panels.items():
        if codes.dim() != 2 or codes.shape[1] != 2:
            raise DataError(
                f"codes of {title!r} have shape {list(codes.shape)}, expected [N, 2]: give two "
                "dimensions of them, codes[:, :2], or their principal components"
            )
    figure = Figure(figsize=(4.4 * len(panels) + 0.8, 4.6), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    colours = colormaps["tab10" if num_classes <= 10 else "tab20"].resampled(num_classes)
    for axes, (title, codes) in zip(all_axes, panels.items(), strict=True):
        points = axes.scatter(
            *codes.cpu().T.numpy(),
            c=ys.cpu().numpy(),
            s=3 if len(ys) > 2000 else 9,
            alpha=0.6,
            linewidths=0,
            cmap=colours,
            vmin=-0.5,
            vmax=num_classes - 0.5,
        )
        axes.set(title=title, xlabel="$z_1$", ylabel="$z_2$", aspect="equal", adjustable="datalim")
        axes.grid(alpha=0.3)
        if limit is not None:
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), adjustable="box")
    bar = figure.colorbar(points, ax=all_axes, ticks=range(num_classes), label="class", pad=0.02)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    return figure


@dataclass(frozen=True)
class Bottleneck:
    """A model that encodes points of the plane in one dimension.

    Attributes:
        name: its name in the figure.
        points: points of the plane `[N, 2]`.
        components: the component of a mixture that each point came from `[N]`.
        model: the model, with inputs `[2]` and one latent dimension.
    """

    name: str
    points: Tensor
    components: Tensor
    model: VAE


def bottlenecks(panels: Sequence[Bottleneck]) -> Figure:
    """Draw, for each model, the curve of its latent in the plane, and the density of its codes.

    Raises:
        DataError: if a model's inputs are not points of the plane, or its latent has more than one
            dimension.
    """
    for panel in panels:
        shape, dims = tuple(panel.model.input_shape), panel.model.latent_dim
        if shape != (2,) or dims != 1:
            raise DataError(
                f"{panel.name} has inputs of shape {list(shape)} and latent_dim {dims}, expected "
                "points of the plane, [2], and 1: use reconstructions for other models"
            )
    figure = Figure(figsize=(9.5, 3.9 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 2, squeeze=False)
    for (left, right), panel in zip(axes, panels, strict=True):
        xs = panel.points.to(next(panel.model.parameters()))
        codes = panel.model.encode(xs)[0]
        _draw_curve(left, panel, xs, codes)
        _draw_codes(right, panel, codes)
    return figure


def _draw_curve(axes: Axes, panel: Bottleneck, xs: Tensor, codes: Tensor) -> None:
    shown = slice(0, 1500)
    for k in panel.components.unique().tolist():
        points = panel.points[shown][panel.components[shown] == k]
        first, second = points.T.numpy()
        axes.scatter(first, second, s=4, alpha=0.35, linewidths=0, label=f"component {k}")
    curve = torch.linspace(codes.min().item(), codes.max().item(), 400).to(xs).unsqueeze(-1)
    axes.plot(*panel.model.decode(curve).cpu().T.numpy(), color="black", label="mean of p(x | z)")
    for start, end in zip(xs[:40].cpu(), panel.model.decode(codes[:40]).cpu(), strict=True):
        axes.plot(*torch.stack([start, end]).T.numpy(), color="0.4", linewidth=0.6)
    axes.set(title=f"{panel.name}: inputs and reconstructions", xlabel="$x_1$", ylabel="$x_2$")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(frameon=False, fontsize="small", markerscale=3)


def _draw_codes(axes: Axes, panel: Bottleneck, codes: Tensor) -> None:
    flat = codes.squeeze(-1).cpu().numpy()
    bins = np.linspace(flat.min(), flat.max(), 60).tolist()
    for k in panel.components.unique().tolist():
        values = flat[panel.components.numpy() == k]
        # Relative to all points, so that the areas of the components sum to one.
        weights = np.full(len(values), 1 / (len(flat) * (bins[1] - bins[0])))
        axes.hist(values, bins=bins, weights=weights, alpha=0.6, label=f"component {k}")
    if not isinstance(panel.model, Autoencoder):
        zs = np.linspace(min(-3.5, flat.min()), max(3.5, flat.max()), 300)
        prior = np.exp(-0.5 * zs**2) / np.sqrt(2 * np.pi)
        axes.plot(zs, prior, color="black", linestyle="--", label="prior")
    title = "codes" if isinstance(panel.model, Autoencoder) else "posterior means"
    axes.set(title=f"{panel.name}: {title}", xlabel="$z$", ylabel="density")
    axes.legend(frameon=False, fontsize="small")

"""Samples, reconstructions and class-conditional means: images as grids, other inputs as lines."""

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from pyro_ssl.errors import DataError
from pyro_ssl.models import ADGM, CCVAE, M1M2, M2, SDGM, VAE, MultiLabelCCVAE, MultiLabelM2
from pyro_ssl.plots.curves import width_for
from pyro_ssl.plots.rows import check_images, row_lines

# Models that draw images given a label.
CLASS_CONDITIONAL = (M2, M1M2, ADGM, SDGM)
ClassConditional = M2 | M1M2 | ADGM | SDGM

# Allowed distance of brightness from [0, 1], which a Gaussian's means exceed a little.
_CLIPPED = 0.5


def class_samples(model: ClassConditional | CCVAE, columns: int = 10) -> Figure:
    """Draw means of p(x|y,z), a row for each class, with z from its prior (for `CCVAE` given y).

    For attributes, draw one row without and one with each attribute; the others from their priors.

    Args:
        model: the generative model.
        columns: number of draws of each class.
    """
    images = torch.cat([model.sample(ys) for ys in labels_in_turn(model, columns)])
    attributes = isinstance(model, MultiLabelCCVAE | MultiLabelM2)
    each = "a row without and one with each attribute" if attributes else "a class in each row"
    return grid_of(images, columns, f"samples from p(x | y), {each}")


def labels_in_turn(model: ClassConditional | CCVAE, draws: int) -> list[Tensor]:
    """Return labels `[draws]` of each class in turn.

    For attributes, return `[draws, L]`: each in turn absent, then present; the others are unknown.
    """
    device, labels = next(model.parameters()).device, range(model.num_classes)
    if not isinstance(model, MultiLabelCCVAE | MultiLabelM2):
        return [torch.full((draws,), label, device=device) for label in labels]
    found = []
    for attribute in labels:
        for value in (0, 1):
            ys = torch.full((draws, model.num_classes), -1, device=device)
            ys[:, attribute] = value
            found.append(ys)
    return found


def prior_samples(model: ClassConditional, rows: int = 10, columns: int = 10) -> Figure:
    """Draw samples from p(x): means of p(x|y,z), with y and z from their priors.

    Args:
        model: the generative model.
        rows: number of rows of the grid.
        columns: number of columns of the grid.
    """
    device = next(model.parameters()).device
    ys = torch.randint(model.num_classes, (rows * columns,), device=device)
    attributes = isinstance(model, MultiLabelM2)
    if attributes or model.p_y.option != "uniform":
        # `sample` draws unknown labels from their prior.
        shape = (rows * columns, model.num_classes) if attributes else (rows * columns,)
        ys = torch.full(shape, -1, device=device)
    return grid_of(model.sample(ys), columns, "samples from p(x), y and z from their priors")


def analogies(model: ClassConditional, xs: Tensor) -> Figure:
    """Draw, for each input, the same style under every class.

    Args:
        model: the generative model.
        xs: inputs `[R, *input_shape]`, one for each row of the figure; z (z2 of `M1M2`) is the mean
            of its posterior given x and the most probable y.
    """
    loc, _ = model.encode(xs)
    ys = torch.arange(model.num_classes, device=xs.device)
    images = model.decode(
        loc.repeat_interleave(model.num_classes, 0), ys.repeat(len(xs))
    ).unflatten(0, (len(xs), model.num_classes))
    together = torch.cat([xs.unsqueeze(1), images], 1).flatten(0, 1)
    return grid_of(together, model.num_classes + 1, "an input, then its style in each class")


def reconstructions(model: VAE | CCVAE | M1M2 | M2 | MultiLabelM2, xs: Tensor) -> Figure:
    """Draw inputs `[R, *input_shape]` above their reconstructions from the posterior mean.

    If the decoder sees labels, these are the most probable ones.
    """
    if isinstance(model, MultiLabelM2):
        again = model.reconstruct(xs)
    elif isinstance(model, CLASS_CONDITIONAL):
        again = model.decode(model.encode(xs)[0], model.predict_proba(xs).argmax(-1))
    else:
        again = model.decode(model.encode(xs)[0])
    both = torch.cat([xs, again])
    return grid_of(both, len(xs), "inputs, and below them their reconstructions")


def manifold(model: VAE, cells: int = 20) -> Figure:
    """Draw the means of p(x|z) on a grid of quantiles of the two-dimensional prior.

    The quantiles are equally spaced in probability, as in figure 4 of Kingma and Welling (2014).

    Args:
        model: a model with two latent dimensions.
        cells: number of images along each side of the grid.

    Raises:
        DataError: if the model's inputs are not images.
    """
    check_images(model.input_shape, "manifold", "reconstructions")
    images = model.decode(_quantile_grid(cells, next(model.parameters())))
    return image_grid(images, cells, "p(x | z) over z, from 2.5 to 97.5 % of the prior", 0.3)


def class_manifolds(model: ClassConditional, cells: int = 10) -> Figure:
    """Draw for each class the means of p(x|y,z) on a grid of quantiles of the 2-D prior.

    Args:
        model: a model with two latent dimensions.
        cells: number of images along each side of the grid.

    Raises:
        DataError: if the model's inputs are not images.
    """
    check_images(model.input_shape, "class_manifolds", "class_samples")
    zs = _quantile_grid(cells, next(model.parameters()))
    columns = min(5, model.num_classes)
    rows = -(-model.num_classes // columns)
    title = "p(x | y, z) over z, from 2.5 to 97.5 % of the prior, for each class y"
    width = width_for(title, 2.4 * columns)
    figure = Figure(figsize=(width, 2.6 * rows + 0.4), layout="constrained")
    figure.suptitle(title)
    for y, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if y < model.num_classes:
            ys = torch.full((len(zs),), y, device=zs.device)
            _draw_grid(axes, model.decode(zs, ys), cells)
            axes.set_title(f"y = {y}", fontsize="medium")
    return figure


def reconstruction_frame(originals: Tensor, reconstructed: Tensor, title: str) -> Figure:
    """Draw originals `[N, C, H, W]` on a square grid, and beside it their reconstructions.

    Raises:
        DataError: if they are not images.
    """
    check_images(originals.shape[1:], "reconstruction_frame", "reconstructions")
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


def grid_of(inputs: Tensor, columns: int, title: str) -> Figure:
    """Draw images `[N, C, H, W]` by `image_grid`, other inputs by `row_lines`.

    Args:
        inputs: inputs of a model, or their means.
        columns: number of images per row, or of lines per panel.
        title: what the figure shows.
    """
    draw = image_grid if inputs.dim() == 4 else row_lines
    return draw(inputs, columns, title)


def image_grid(images: Tensor, columns: int, title: str, inches: float = 0.55) -> Figure:
    """Draw images `[N, C, H, W]`, grey or colour, row by row on a grid with thin gaps.

    Args:
        images: values in [0, 1]; values slightly outside are clipped. Values far outside, which do
            not stand for brightness, are scaled from the smallest to the largest, and the title
            says so.
        columns: number of images per row.
        title: what the grid shows.
        inches: width of an image.

    Raises:
        DataError: if they are not images of one or three channels.
    """
    images, title = _in_range(images, title)
    rows = -(-len(images) // columns)
    height = inches * rows * images.shape[-2] / images.shape[-1]
    size = width_for(title, inches * columns), height + 0.4
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    _draw_grid(axes, images, columns)
    axes.set_title(title, fontsize="medium")
    return figure


def _in_range(images: Tensor, title: str) -> tuple[Tensor, str]:
    """Return images with values approximately in [0, 1], and a title that names any scaling."""
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise DataError(
            f"images has shape {list(images.shape)}, expected [N, C, H, W] with C = 1 or 3: draw "
            "channels one by one, images[:, :1], and rows of features by row_lines"
        )
    known = images[images.isfinite()]
    if known.numel():
        least, largest = known.min().item(), known.max().item()
        if least < -_CLIPPED or largest > 1 + _CLIPPED:
            images = (images - least) / (largest - least or 1.0)
            title = f"{title}\n(from {least:.3g} to {largest:.3g})"
    return images, title


def _draw_grid(axes: Axes, images: Tensor, columns: int) -> None:
    grid = make_grid(images.clamp(0, 1).cpu(), nrow=columns, padding=1, pad_value=0.3)
    picture = grid.permute(1, 2, 0) if images.shape[1] == 3 else grid[0]
    axes.imshow(picture.numpy(), cmap="gray_r", vmin=0, vmax=1)
    axes.set_axis_off()

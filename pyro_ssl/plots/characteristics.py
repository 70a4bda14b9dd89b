"""The meaning of each latent of a CCVAE, as grids of images or lines of rows."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pyro_ssl.models import CCVAE, MultiLabelCCVAE, MultiLabelM2
from pyro_ssl.plots.images import grid_of, labels_in_turn


@torch.no_grad()
def class_swaps(model: CCVAE, xs: Tensor) -> Figure:
    """Draw, for each input, its style with the latents of every class in turn.

    z_style is the mean of q(z|x), z_class that of p(z_class|y): figure 4 of Joy et al. (2021).

    Args:
        model: a model whose inputs have one label each.
        xs: inputs `[R, *input_shape]`, one for each row of the figure.
    """
    classes = model.num_classes
    style = model.encode(xs)[0][:, classes:].repeat_interleave(classes, 0)
    zs = torch.cat([model.prior_loc.repeat(len(xs), 1), style], -1)
    images = model.decode(zs).unflatten(0, (len(xs), classes))
    together = torch.cat([xs.unsqueeze(1), images], 1).flatten(0, 1)
    return grid_of(together, classes + 1, "an input, then its style with each class's latents")


@torch.no_grad()
def characteristic_walks(model: CCVAE, x: Tensor, steps: int = 9, reach: float = 3.0) -> Figure:
    """Draw one input with one dimension of z_class changed, another dimension in each row.

    The other latents are the mean of q(z|x). The changed dimension runs from `reach` standard
    deviations below to `reach` above the mean of the mixture of all classes' priors.

    Args:
        model: the model.
        x: an input, `input_shape`.
        steps: number of images per row.
        reach: largest distance from the mean, in standard deviations.
    """
    z = model.encode(x.unsqueeze(0))[0].squeeze(0)
    loc, scale = model.prior_moments()
    dims = len(loc)
    units = torch.linspace(-reach, reach, steps).to(z)
    zs = z.expand(dims, steps, -1).clone()
    moved = torch.arange(dims, device=z.device)
    zs[moved, :, moved] = loc.unsqueeze(-1) + scale.unsqueeze(-1) * units
    title = "one dimension of z_class moved, in each row another"
    return grid_of(model.decode(zs.flatten(0, 1)), steps, title)


@torch.no_grad()
def style_walks(model: CCVAE, starts: Tensor, ends: Tensor, steps: int = 9) -> Figure:
    """Draw inputs while z_style moves along a straight line to that of another input.

    z_class does not change.

    Args:
        model: the model.
        starts: inputs `[R, *input_shape]`, one for each row of the figure.
        ends: inputs whose style is reached at the end of each row, `[R, *input_shape]`.
        steps: number of images per row.
    """
    dims = model.prior_loc.shape[-1]
    first, last = model.encode(starts)[0], model.encode(ends)[0]
    share = torch.linspace(0, 1, steps).to(first)[:, None]
    styles = torch.lerp(first[:, None, dims:], last[:, None, dims:], share)
    zs = torch.cat([first[:, None, :dims].expand(-1, steps, -1), styles], -1)
    title = "from an input to the style of another, z_class unchanged"
    return grid_of(model.decode(zs.flatten(0, 1)), steps, title)


@torch.no_grad()
def class_variances(model: CCVAE, draws: int = 200) -> Figure:
    """Draw the mean of samples of each class, and below it the standard deviation of each value.

    For attributes, draw samples without and with each attribute, see `labels_in_turn`.

    Args:
        model: the model.
        draws: number of samples of each class.
    """
    drawn = [model.sample(ys) for ys in labels_in_turn(model, draws)]
    images = torch.stack([xs.mean(0) for xs in drawn] + [xs.std(0) for xs in drawn])
    each = "attribute, absent and present" if isinstance(model, MultiLabelCCVAE) else "class"
    title = f"samples of each {each}: their mean, below the standard deviation of each value"
    return grid_of(images, len(drawn), title)


@torch.no_grad()
def interventions(
    model: MultiLabelCCVAE | MultiLabelM2, xs: Tensor, names: Sequence[str]
) -> Figure:
    """Draw inputs, their reconstructions, and reconstructions with one attribute changed.

    Args:
        model: a model of L attributes.
        xs: inputs `[R, *input_shape]`, one for each row of the figure.
        names: names of the attributes.
    """
    present = model.predict_proba(xs) > 0.5
    columns = [xs, model.reconstruct(xs)]
    columns += [model.intervene(xs, a, ~present[:, a]) for a in range(model.num_classes)]
    images = torch.stack(columns, 1).flatten(0, 1)
    title = f"inputs, reconstructions, then changed: {', '.join(names)}"
    return grid_of(images, len(columns), title)

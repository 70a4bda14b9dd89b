"""Models side by side over epochs, each trained from several seeds.

Each function takes `runs`: for each model, one frame per seed, as returned by `History.to_frame`. A
model's position in `runs` determines its colour and dashes, so that they agree between figures of
the same models. A line is the mean over seeds, its band reaches from the lowest to the highest
seed, and a seed that stopped early keeps its last value.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pyro_ssl.elbos import names
from pyro_ssl.errors import DataError
from pyro_ssl.plots.curves import over_epochs, width_for
from pyro_ssl.plots.limits import all_but_spikes, later_epochs

if TYPE_CHECKING:
    import pandas as pd

# Eleven and four have no common factor, so that forty-four models look different.
_COLOURS = (
    "tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown", "magenta",
    "black", "tab:olive", "tab:cyan", "tab:gray",
)  # fmt: skip
_DASHES = ((), (5, 1.5), (1.5, 1), (6, 1.5, 1.5, 1.5))

_SITE = re.compile(names.reported(names.kl("(.+)"), names.UNLABELLED))


def validation_accuracy(runs: "Mapping[str, Sequence[pd.DataFrame]]", title: str) -> Figure:
    """Draw accuracy on validation rows, in percent.

    The legend is sorted by the accuracy of the last epoch, the best first. The axis may leave out
    the first quarter of the epochs, and models that end far below the rest, which the legend marks.

    Args:
        runs: frames by model, with `validation_accuracy` in [0, 1]; a model without this column is
            left out.
        title: what was trained on which data.

    Raises:
        DataError: if no model has the column.
    """
    curves = _curves(runs, "validation_accuracy", 100)
    panels = [_Panel("", "validation accuracy in %", curves, later_epochs(curves, rising=True))]
    finals = {name: curve["mean"].iloc[-1] for name, curve in curves.items()}
    order = sorted(finals, key=lambda name: -finals[name])
    labels = {name: f"{finals[name]:.2f}  {name}" for name in order}
    return _compare(runs, panels, title, labels, "mean at the last epoch, model")


def losses(runs: "Mapping[str, Sequence[pd.DataFrame]]", title: str) -> Figure:
    """Draw negative ELBOs of unlabelled training rows and of validation rows, nats per example.

    They allow a comparison of models; objectives do not, since these weigh rows and terms
    differently. The legend is sorted by the last epoch, the lowest first, on validation rows if
    there are any. The axes may leave out the first quarter of the epochs, and models that end far
    above the rest, which the legend marks.

    Args:
        runs: frames by model, with `unlabelled_elbo` or `validation_elbo`; a model is left out of
            the panel of a column that it lacks.
        title: what was trained on which data.

    Raises:
        DataError: if no model has either column.
    """
    panels, finals = [], {}
    for heading, column in (
        ("training, unlabelled rows", names.reported(names.ELBO, names.UNLABELLED)),
        ("validation", names.reported(names.ELBO, names.VALIDATION)),
    ):
        curves = _curves(runs, column, -1)
        limits = later_epochs(curves, rising=False)
        panels.append(_Panel(heading, "negative ELBO, nats per example", curves, limits))
        finals.update({name: curve["mean"].iloc[-1] for name, curve in curves.items()})
    labels = {name: name for name in sorted(finals, key=lambda name: finals[name])}
    return _compare(runs, panels, title, labels, "lowest at the last epoch first")


def kl_by_site(runs: "Mapping[str, Sequence[pd.DataFrame]]", title: str) -> Figure:
    """Draw the KL divergence of each latent site for unlabelled rows, a panel for each site.

    Args:
        runs: frames by model, with a column `unlabelled_kl_SITE` for each site, in nats per
            example; a model is left out of the panels of sites that it lacks.
        title: what was trained on which data.

    Raises:
        DataError: if no model has such a column.
    """
    columns = {c for frames in runs.values() for frame in frames for c in frame.columns}
    sites = sorted(match[1] for c in columns if (match := _SITE.fullmatch(c)))
    panels = []
    for site in sites:
        curves = _curves(runs, names.reported(names.kl(site), names.UNLABELLED))
        panels.append(
            _Panel(f"KL of {site}", "nats per unlabelled example", curves, all_but_spikes(curves))
        )
    drawn = [name for name in runs if any(name in panel.curves for panel in panels)]
    return _compare(runs, panels, title, {name: name for name in drawn}, "model")


@dataclass(frozen=True)
class _Panel:
    """Content of one pair of axes; `curves` by model, as `_over_seeds` returns them."""

    heading: str
    unit: str
    curves: "dict[str, pd.DataFrame]"
    limits: tuple[float, float]


def _curves(
    runs: "Mapping[str, Sequence[pd.DataFrame]]", column: str, factor: float = 1
) -> "dict[str, pd.DataFrame]":
    """Return mean, low and high over seeds of a column, times `factor`, for models with it."""
    curves = {}
    for name, frames in runs.items():
        having = [frame.set_index("epoch")[column].dropna() for frame in frames if column in frame]
        having = [values for values in having if len(values)]
        if having:
            curves[name] = _over_seeds([factor * values for values in having])
    return curves


def _over_seeds(seeds: "Sequence[pd.Series]") -> "pd.DataFrame":
    """Return columns mean, low and high over seeds, by epoch counted from 1."""
    import pandas as pd

    # Otherwise the mean would jump where a seed ends.
    table = pd.concat(list(seeds), axis="columns").sort_index().ffill()
    spread = {"mean": table.mean(axis=1), "low": table.min(axis=1), "high": table.max(axis=1)}
    return pd.DataFrame(spread).set_index(table.index + 1)


def _compare(
    runs: "Mapping[str, Sequence[pd.DataFrame]]",
    panels: Sequence[_Panel],
    title: str,
    labels: dict[str, str],
    heading: str,
) -> Figure:
    """Draw the panels that have curves, and one legend with the texts `labels`, by model."""
    panels = [panel for panel in panels if panel.curves]
    if not panels:
        raise DataError(
            f"runs holds the models {', '.join(runs)}, but none has a column that this figure "
            "draws: pass frames of training with the rows and the terms that it is about"
        )
    texts = dict(labels)
    for panel in panels:
        for name, curve in panel.curves.items():
            if not panel.limits[0] <= curve["mean"].iloc[-1] <= panel.limits[1]:
                texts[name] = f"{labels[name]} (off the axis)"
    heading = f"{_reading([runs[name] for name in labels])}\n\n{heading}:"
    figure = _empty_figure(len(panels), title, [*heading.splitlines(), *texts.values()])
    lines: dict[str, Line2D] = {}
    for axes, panel in zip(figure.axes, panels, strict=True):
        lines.update(_draw(axes, panel, list(runs)))
    figure.legend(
        [lines[name] for name in texts],
        list(texts.values()),
        title=heading,
        loc="outside right upper",
        alignment="left",
        frameon=False,
        fontsize="small",
        title_fontsize="small",
        handlelength=3,
    )
    return figure


def _empty_figure(panels: int, title: str, legend: Sequence[str]) -> Figure:
    """Return a figure with `panels` empty axes, and room on the right for the legend's lines."""
    columns = 2 if panels == 4 else min(panels, 3)
    rows = -(-panels // columns)
    width = width_for(title, 6.4 if columns == 1 else 4.2 * columns)
    beside = 0.065 * max(map(len, legend)) + 0.5
    height = max(3.2 * rows + 1.2, 0.19 * len(legend) + 0.6)
    figure = Figure(figsize=(width + beside, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[panels:]:
        axes.remove()
    # Centred over the panels, since the legend beside them is as high as the title.
    figure.suptitle(title, x=0.5 * (width + 0.5) / (width + beside))
    return figure


def _draw(axes: Axes, panel: _Panel, models: Sequence[str]) -> dict[str, Line2D]:
    """Draw a panel's bands and lines, and return the lines by model."""
    lines = {}
    for name, curve in panel.curves.items():
        place = models.index(name)
        colour = _COLOURS[place % len(_COLOURS)]
        dashes = _DASHES[place % len(_DASHES)]
        # A line through a single epoch would be invisible.
        marker = "o" if len(curve) == 1 else None
        (lines[name],) = axes.plot(
            curve.index, curve["mean"], color=colour, dashes=dashes, marker=marker, label=name
        )
        axes.fill_between(
            curve.index, curve["low"], curve["high"], color=colour, alpha=0.13, linewidth=0
        )
    axes.set(title=panel.heading, ylabel=panel.unit, ylim=panel.limits)
    over_epochs(axes)
    axes.grid(alpha=0.3)
    return lines


def _reading(runs: "Sequence[Sequence[pd.DataFrame]]") -> str:
    """Return a text that explains lines and bands, given each model's frames."""
    counts = sorted({len(frames) for frames in runs})
    if counts == [1]:
        return "one seed"
    many = " to ".join(str(count) for count in sorted({counts[0], counts[-1]}))
    text = f"lines: mean of {many} seeds\nbands: lowest to highest seed"
    if any(len({len(frame) for frame in frames}) > 1 for frames in runs):
        text += "\na seed that stopped early\nkeeps its last value"
    return text

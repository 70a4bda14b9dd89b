"""Positions of rows in the latent space, and how probable rows are."""

from typing import Any

import numpy as np
from matplotlib.markers import MarkerStyle
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from pyro_ssl import plots
from pyro_ssl.plots import ClassMarker
from pyro_ssl.report.markup import Html, count, element, number, percent, picture, section
from pyro_ssl.report.names import class_names, shortened
from pyro_ssl.report.rows import ReportRows

Floats = NDArray[np.floating[Any]]

# Number of characters of a class's name in the legend.
_CHARACTERS = 40


def latent_map(classifier: Any, rows: ReportRows) -> Html:
    """Return a map of rows by the first two principal components of their latent means."""
    found = classifier.transform(rows.X)
    if len(found) < 2:
        return Html("")
    points, told = _plane(found)
    labelled = int((rows.codes >= 0).sum())
    caption = (
        f"{count(len(found))}, {rows.source}. {labelled:,} are labelled, and coloured by their "
        "class; others are small and grey."
    )
    names, _ = class_names(classifier)
    alt = (
        f"Scatter plot of {count(len(found))} by two principal components of their latents, "
        f"labelled ones in the colours and shapes of their {count(len(names), 'class')}."
    )
    legend = _legend(names, rows.codes)
    aside = (
        "The model has a separate variable for the class. Its latents describe how rows of a class "
        "differ, so that classes may overlap here and still be told apart."
    )
    figure = plots.latent_map(points, rows.codes, len(names))
    return section(
        "latents",
        "A map of the latent space",
        told,
        picture(figure, alt, caption),
        legend,
        element("p", aside, class_="note"),
    )


def novelty(classifier: Any) -> Html:
    """Return the distribution of training rows' bounds, by which rows are called novel."""
    bounds = classifier._training_bounds
    low, middle = np.quantile(bounds, [0.005, 0.5])
    told = (
        "novelty(X) is the percentage of training rows that the model finds more probable than a "
        "row, by its bound on log p(x). If a bound is lower than nearly all of training, below "
        f"{number(low)} nats per value, probabilities are drawn towards the class shares."
    )
    alt = (
        f"Histogram of the bounds of {count(len(bounds), 'training row')}: median "
        f"{number(middle)}, lowest 0.5 % below {number(low)} nats per value."
    )
    caption = (
        f"{count(len(bounds), 'training row')}, the rarer ones to the left. Bounds that are far "
        "lower than all others are drawn in the first bar."
    )
    figure = plots.bound_distribution(bounds, float(low), float(middle))
    return section("novelty", "Novelty", told, picture(figure, alt, caption))


def _plane(found: Floats) -> tuple[Floats, str]:
    """Return points in the plane `[N, 2]`, and their description."""
    dims = found.shape[1]
    if dims == 1:
        jitter = np.random.default_rng(0).uniform(-1, 1, len(found))
        told = "There is one latent dimension, from left to right; heights are drawn at random."
        return np.c_[found[:, 0], jitter], told
    parts = PCA(2, svd_solver="full").fit(found)
    shares = np.nan_to_num(parts.explained_variance_ratio_)
    told = (
        f"The two principal components of {dims} latent dimensions that hold most variance: "
        f"{percent(shares[0])} and {percent(shares[1])} of it."
    )
    return parts.transform(found), told


def _legend(names: list[str], codes: NDArray[np.int64]) -> Html:
    """Return the classes of labelled rows, each with its mark."""
    shown = [
        element("li", _mark(marker), element("span", shortened(name, _CHARACTERS), title=name))
        for code, (name, marker) in enumerate(
            zip(names, plots.class_markers(len(names)), strict=True)
        )
        if (codes == code).any()
    ]
    if not shown:
        return element("p", "None of these rows has a known label.", class_="note")
    return element("ul", *shown, class_="legend", aria_label="Classes")


def _mark(marker: ClassMarker) -> Html:
    """Return a class's mark as in the map."""
    style = MarkerStyle(marker.shape)
    path = style.get_path().transformed(style.get_transform())
    polygon = np.asarray(path.to_polygons()[0], dtype=np.float64)
    # All marks have the same size: 6 pixels from the centre.
    scaled = 7 + 6 * polygon * (1, -1) / np.abs(polygon).max()
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in scaled)
    drawn = element("polygon", points=points, fill=marker.colour)
    return element("svg", drawn, viewBox="0 0 14 14", width=14, height=14, aria_hidden="true")

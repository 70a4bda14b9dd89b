"""The end of a report: misuse to avoid, settings and versions."""

import inspect
from typing import Any

import numpy as np

from pyro_ssl.report.markup import Html, element, section, table
from pyro_ssl.versions import environment

# Number of characters of a setting that are shown.
_CHARACTERS = 300


def limits(classifier: Any) -> Html:
    """Return uses that the classifier is not made for."""
    supposed = (
        "suppose that all classes are equally frequent"
        if isinstance(classifier.class_prior, str) and classifier.class_prior == "uniform"
        else "rest on supposed class shares (class_prior)"
    )
    shares = (
        f"Counting classes. Predictions {supposed}, so do not count them to learn how frequent "
        "classes are: use class_shares_, which supposes that labelled rows of a class are like "
        "unlabelled ones."
    )
    points = [
        "Rows of another kind. The held-out figures hold for rows like the labelled ones. If "
        "these were not chosen at random (only easy ones, one site, one year), others may be "
        "classified worse, and nothing on this page shows it.",
        shares,
        "Rows that are novel. Let a person look at rows whose novelty is near 100. A low novelty "
        "promises nothing: a row can look usual and still be classified wrongly.",
        "Decisions on people by these figures alone. They hold for all rows together, not for "
        "groups among them.",
        "Evidence. Imputed, sampled and reconstructed rows are made by the model, not observed.",
    ]
    listed = element("ul", *[element("li", point) for point in points])
    private = (
        "This page may show rows of the data, and the model's folder holds some: keep both as "
        "you keep the data."
    )
    return section("limits", "What it must not be used for", listed, private)


def settings(classifier: Any) -> Html:
    """Return parameters, trained models, and versions."""
    defaults = inspect.signature(type(classifier).__init__).parameters
    rows = []
    for name, value in classifier.get_params(deep=False).items():
        default = defaults[name].default if name in defaults else inspect.Parameter.empty
        changed = "" if _same(value, default) else "yes"
        rows.append([name, _shown(value), changed])
    model = classifier.model_
    trained = sum(parameter.numel() for parameter in model.parameters())
    device = next(model.parameters()).device
    told = (
        f"{type(classifier).__name__}: {len(classifier.models_)} models "
        f"{type(model).__name__} of {trained:,} parameters each, {classifier.transform_dim_} "
        f"latent dimensions, on {device}."
    )
    versions = [[k.removeprefix("version_"), v or "unknown"] for k, v in environment().items()]
    return section(
        "settings",
        "Settings and versions",
        told,
        table("Parameters", ("Parameter", "Value", "Changed"), rows, "settings"),
        table("Versions at the writing of this page", ("Of", "Version"), versions, "settings"),
    )


def _same(value: Any, default: Any) -> bool:
    # Arrays compare element by element.
    return value is default or (type(value) is type(default) and bool(np.all(value == default)))


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]} …"

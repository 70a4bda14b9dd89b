"""The data that a classifier learnt from, and the course of its training."""

import math
from typing import Any

import numpy as np

from pyro_ssl import plots
from pyro_ssl.estimator.images import ArrayInputs
from pyro_ssl.estimator.inputs import DocumentInputs
from pyro_ssl.infer.ensemble import EnsembleConfig
from pyro_ssl.report.markup import (
    Html,
    bar,
    count,
    element,
    number,
    percent,
    picture,
    section,
    table,
)
from pyro_ssl.report.names import class_names, shortened

# Numbers of columns that are listed, and of characters of their categories.
_COLUMNS, _CHARACTERS = 200, 120


def class_shares(classifier: Any) -> Html:
    """Return the class shares among labelled rows, and the estimated ones among all rows."""
    codes = classifier._taught[1]
    counts = np.bincount(codes[codes >= 0], minlength=len(classifier.classes_))
    labelled = counts / counts.sum()
    names, _ = class_names(classifier)
    rows = [
        [name, f"{rows:,}", bar(share, percent(share)), bar(estimated, percent(estimated))]
        for name, rows, share, estimated in zip(
            names, counts, labelled, classifier.class_shares_, strict=True
        )
    ]
    gap = np.abs(labelled - classifier.class_shares_)
    widest = int(gap.argmax())
    told = (
        f"Labelled and estimated shares differ most for {shortened(names[widest], 40)}: "
        f"{percent(labelled[widest])} of the labelled rows, "
        f"{percent(classifier.class_shares_[widest])} of all rows as estimated."
    )
    prior = classifier.class_prior
    taken = f"“{prior}”" if isinstance(prior, str) else "given"
    note = (
        "The estimate assumes that rows of a class look the same whether they are labelled or "
        f"not. Predictions are made under the class shares {taken} (class_prior)"
    )
    note += ": as if all classes were equally frequent." if taken == "“uniform”" else "."
    heads = ("Class", "Labelled rows", "Share of labelled rows", "Estimated share of all rows")
    shown = table("Classes and their shares", heads, rows)
    return section("shares", "Class shares", told, shown, element("p", note, class_="note"))


def course(classifier: Any) -> Html:
    """Return the learning curves, and why training ended."""
    history, steps = classifier.history_, classifier.n_iter_
    why = classifier.termination_condition_
    begins = fall_of(history["step"].tolist(), steps, why)
    if why == "max_steps":
        why = "max_steps: the steps allowed came to an end; more of them may help"
    else:
        why += ": the bound of held-out rows had stopped rising"
    told = f"{count(steps, 'step')} for {count(len(classifier.models_), 'model')} at once."
    if begins is not None:
        told += f" From step {begins:,} on the step size fell ({why})."
    else:
        told += f" The step size did not fall ({why})."
    last = history.iloc[-1]
    alt = (
        f"Learning curves over {count(steps, 'step')}: loss {number(history['loss'].iloc[0])} at "
        f"first and {number(last['loss'])} at last, bound of held-out rows at last "
        f"{number(last['measure'])} nats per row."
    )
    caption = (
        "The loss is the mean over models and steps; the bound is that on log p(x, y) of labelled "
        "rows that a model does not see. The step size falls once this no longer rises."
    )
    if len(history) > 4:
        caption += " The first values may lie outside the figure."
    figure = plots.training_course(history, begins)
    return section("training", "Training", told, picture(figure, alt, caption))


def fall_of(checks: list[int], steps: int, why: str) -> int | None:
    """Return the step from which the step size fell, or None if it did not fall.

    The length of the fall is a share of the steps before it, see `EnsembleConfig.decay`; it follows
    from the number of all steps.

    Args:
        checks: numbers of steps after which the measure was taken.
        steps: number of all steps.
        why: `termination_condition_`.
    """
    scale = 1 + EnsembleConfig().decay
    if why == "max_steps":
        begins = max(1, math.floor(steps / scale))
        return begins if begins < steps else None
    return next((check for check in checks if math.ceil(check * scale) == steps), None)


def columns(classifier: Any) -> Html:
    """Return the inferred content of each column."""
    found, inputs = classifier.columns_, classifier.inputs_
    if isinstance(inputs, DocumentInputs):
        told = f"Rows are documents: counts of {count(inputs.words, 'word')}, a column each."
        return section("columns", "The columns as read", told)
    if isinstance(inputs, ArrayInputs):
        sizes = " by ".join(map(str, inputs.shape[1:]))
        kind = "images" if len(inputs.shape) == 3 else "signals"
        told = f"Rows are {kind} of {count(inputs.shape[0], 'channel')} and {sizes} values."
        rows = [
            [str(row["column"]), number(row["mean"], 3), number(row["scale"], 3)]
            for row in found.head(_COLUMNS).to_dict("records")
        ]
        shown = table("Channels", ("Channel", "Mean", "Scale"), rows)
        return section("columns", "The channels as read", told, shown)
    families = found["family"].value_counts()
    kinds = ", ".join(f"{number_:,} {family}" for family, number_ in families.items())
    told = f"{count(len(found), 'column')}: {kinds}. Check that each was recognised correctly."
    if len(found) > _COLUMNS:
        told += f" The first {_COLUMNS} are listed."
    rows = [_column(row) for row in found.head(_COLUMNS).to_dict("records")]
    heads = ("Column", "Taken for", "Missing", "Modelled as", "Categories")
    shown = table("Columns, in their order", heads, rows, "columns")
    note = element("p", "If one was not, state its family: columns={name: family}.", class_="note")
    return section("columns", "The columns as read", told, shown, note)


def _column(row: dict[Any, Any]) -> list[Any]:
    transforms = {"log": "logarithm", "log1p": "log(1 + x)", "asinh": "asinh (heavy tails)"}
    shown = transforms.get(row["transform"], "as it is")
    if row["family"] == "constant":
        shown = "left out"
    categories = str(row["categories"])
    if len(categories) > _CHARACTERS:
        categories = f"{categories[:_CHARACTERS]} …"
    missing = percent(row["missing"]) if row["missing"] else "none"
    return [row["column"], row["family"], missing, shown, categories]

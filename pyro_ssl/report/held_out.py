"""Which classes are confused, and how reliable probabilities are."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from pyro_ssl import plots
from pyro_ssl.estimator.weighing import HeldOut
from pyro_ssl.report.intervals import BINS, calibration_error
from pyro_ssl.report.markup import (
    Html,
    count,
    element,
    percent,
    picture,
    scrolling,
    section,
)
from pyro_ssl.report.names import SHORT, class_names, shortened
from pyro_ssl.report.summary import FEW

# Number of held-out rows below which no reliability diagram is drawn.
_LEAST = 20
# Number of confusions described in words.
_TOLD = 3
# Numbers of characters of names at the head of a row, and in a sentence.
_ROW, _SENTENCE = 24, 40
# Shade of cells from which on text is white.
_DARK = 0.9


def confusions(classifier: Any, held_out: HeldOut | None) -> Html:
    """Return the confusion matrix of held-out rows."""
    if held_out is None or not len(held_out.codes):
        return Html("")
    names, short = class_names(classifier)
    guesses = held_out.probabilities.argmax(1)
    found = confusion_matrix(held_out.codes, guesses, labels=np.arange(len(names)))
    caption = "Rows: label. Columns: decision"
    return section(
        "confusions",
        "Which classes are confused",
        f"{count(len(guesses), 'held-out labelled row')}, by label and by what was decided.",
        _told(found, names),
        scrolling(_matrix(found, names, short, caption), caption),
    )


def reliability(held_out: HeldOut | None) -> Html:
    """Return the reliability diagram of held-out rows, and its interpretation."""
    if held_out is None or not len(held_out.codes):
        return Html("")
    codes, said = held_out
    name, title, rows = "reliability", "How far its probabilities can be believed", len(codes)
    if rows < _LEAST:
        return section(
            name,
            title,
            f"{count(rows, 'held-out row').capitalize()} cannot tell whether probabilities are "
            f"right; from {_LEAST} on there is a diagram here.",
        )
    error = calibration_error(said, codes)
    measured = (
        f"On {count(rows, 'held-out row')} the expected calibration error of the likeliest class "
        f"is {percent(error.value)} ({BINS} bins). A classifier whose probabilities are exactly "
        f"right would show {percent(error.by_chance)} on so few, and up to "
        f"{percent(error.most_by_chance)} in 19 of 20 such sets of rows."
    )
    if error.value > error.most_by_chance:
        judged = "So the probabilities are off by more than chance explains."
    elif rows < FEW:
        judged = "So there are too few rows to tell."
    else:
        judged = "So no error beyond what chance makes is to be seen."
    figure = plots.reliability(torch.from_numpy(said), torch.from_numpy(codes), " ", BINS)
    confidence = said.max(1)
    alt = (
        "Reliability diagram: accuracy against confidence, and below it how many rows have which "
        f"confidence. Mean confidence {percent(confidence.mean())}, accuracy "
        f"{percent((said.argmax(1) == codes).mean())}."
    )
    caption = (
        "Rows in bins of the likeliest class's probability. On the dashed line that probability is "
        "the share of rows decided rightly; below it the decision is too sure."
    )
    return section(name, title, f"{measured} {judged}", picture(figure, alt, caption))


def _told(found: NDArray[Any], names: list[str]) -> Html:
    """Return the most frequent confusions as a sentence."""
    wrong = found * (1 - np.eye(len(found), dtype=found.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_TOLD]
    pairs = [divmod(int(place), len(found)) for place in order]
    called = [shortened(name, _SENTENCE) for name in names]
    told = [
        f"{called[label]} taken for {called[guess]} "
        f"({wrong[label, guess]:,} of {found[label].sum():,})"
        for label, guess in pairs
        if wrong[label, guess]
    ]
    if not told:
        return element("p", "No held-out row was taken for another class.")
    return element("p", f"Most frequent mistakes: {'; '.join(told)}.", class_="names")


def _matrix(found: NDArray[Any], names: list[str], short: list[str], caption: str) -> Html:
    kind = "upwards" if max(map(len, short)) > SHORT else None
    heads = [
        element("th", element("span", head), scope="col", title=name, class_=kind)
        for head, name in zip(short, names, strict=True)
    ]
    top = element(
        "tr",
        element("th", "label", scope="col"),
        *heads,
        element("th", "rows", scope="col", class_="sum"),
        element("th", "right", scope="col", class_="sum"),
    )
    body = [_row(code, counts, names[code]) for code, counts in enumerate(found)]
    return element(
        "table",
        element("caption", caption),
        element("thead", top),
        element("tbody", *body),
        class_="matrix",
    )


def _row(code: int, counts: NDArray[Any], name: str) -> Html:
    total = int(counts.sum())
    cells = [
        _cell(int(value), float(value / total) if total else 0.0, code == place)
        for place, value in enumerate(counts)
    ]
    right = counts[code] / total if total else float("nan")
    return element(
        "tr",
        element("th", shortened(name, _ROW), scope="row", title=name),
        *cells,
        element("td", f"{total:,}", class_="sum"),
        element("td", percent(right), class_="sum"),
    )


def _cell(value: int, share: float, diagonal: bool) -> Html:
    kinds = ["right"] * diagonal + ["none"] * (value == 0) + ["dark"] * (share > _DARK)
    # Share of the rows of its label; blue for correct decisions, vermillion for others.
    style = f"--share:{share:.2f}" if value else None
    return element(
        "td", f"{value:,}" if value else "·", class_=" ".join(kinds) or None, style=style
    )

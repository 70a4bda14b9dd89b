"""Reconstructions of rows by the model, and imputation of entries that were hidden from it."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import mode

from pyro_ssl import plots
from pyro_ssl.estimator.images import ArrayInputs
from pyro_ssl.estimator.inputs import TableInputs
from pyro_ssl.likelihoods import Categorical, NegativeBinomial, Ordinal
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
from pyro_ssl.report.rows import ReportRows, first_rows

Floats = NDArray[np.floating[Any]]
Truth = NDArray[np.bool_]

_IMAGES, _SIGNALS = 20, 5
# Largest numbers of rows of an imputation check, and of their entries.
_ROWS, _ENTRIES = 500, 100_000
# Share of a column's known entries that is hidden.
_HIDDEN = 0.1
# Number of columns that are listed.
_LISTED = 200


def restored(classifier: Any, rows: ReportRows) -> Html:
    """Return reconstructions of images or signals, or an imputation check of a table."""
    inputs = classifier.inputs_
    if isinstance(inputs, TableInputs):
        return _imputation(classifier, rows)
    if not isinstance(inputs, ArrayInputs) or not len(rows.codes):
        return Html("")
    return (_images if len(inputs.shape) == 3 else _signals)(classifier, rows)


def _images(classifier: Any, rows: ReportRows) -> Html:
    originals = first_rows(rows, _IMAGES)
    pairs = [originals, classifier.reconstruct(originals)]
    low, high = np.quantile(np.asarray(originals, dtype=np.float64), [0.001, 0.999])
    each = [torch.from_numpy(_shown(p, float(low), float(high))) for p in pairs]
    # A row of originals, and below it a row of their reconstructions.
    width = min(10, len(originals))
    blocks = [part for block in zip(*(t.split(width) for t in each), strict=True) for part in block]
    figure = plots.image_grid(torch.cat(blocks), width, " ", 0.46)
    channels = classifier.inputs_.shape[0]
    caption = f"{count(len(originals), 'image')}, {rows.source}; below each its reconstruction."
    if channels not in (1, 3):
        caption += f" The first of {channels} channels is shown."
    alt = f"{count(len(originals), 'image')} in rows, each above its reconstruction by the model."
    told = (
        "What the model keeps of an image: the mean of p(x|y, z) at the image's latent mean and "
        "likeliest label. Such means are blurred where the model is unsure."
    )
    shown = picture(figure, alt, caption, pixels=True)
    return section("reconstructions", "Reconstructions", told, shown)


def _shown(images: Any, low: float, high: float) -> Floats:
    """Return images with values between two limits as colours in [0, 1], `[N, 3, H, W]`."""
    values = np.asarray(images, dtype=np.float64)
    scaled = ((values - low) / max(high - low, 1e-12)).clip(0, 1)
    return scaled if scaled.shape[1] == 3 else scaled[:, :1].repeat(3, 1)


def _signals(classifier: Any, rows: ReportRows) -> Html:
    originals = first_rows(rows, _SIGNALS)
    found = classifier.reconstruct(originals)
    figure = plots.signal_reconstructions(originals, found)
    channels = classifier.inputs_.shape[0]
    caption = f"{count(len(originals), 'signal')}, {rows.source}, and their reconstructions."
    if channels > 1:
        caption += f" The first of {channels} channels is shown."
    alt = f"{count(len(originals), 'signal')} as lines, each with its reconstruction drawn over it."
    told = (
        "What the model keeps of a signal: the mean of p(x|y, z) at its latent mean and likeliest "
        "label."
    )
    return section("reconstructions", "Reconstructions", told, picture(figure, alt, caption))


class ImputationCheck(NamedTuple):
    """The quality of imputed entries of a column."""

    column: Any
    hidden: int
    coded: bool
    """Whether entries are categories: figures are then shares of correct guesses. Otherwise they
    are root mean squared errors, in standard deviations of the column as modelled."""
    model: float
    simple: float
    """The same figure for the column's mean, or its most frequent category."""


def check_imputation(classifier: Any, rows: ReportRows) -> list[ImputationCheck]:
    """Hide a tenth of each column's known entries at random, and compare the imputed entries.

    The mean and the most frequent category are computed from the entries that were not hidden.
    """
    inputs = classifier.inputs_
    places = inputs.columns.modelled
    most = min(_ROWS, max(20, _ENTRIES // len(places)))
    truth = inputs.columns.encode(first_rows(rows, most))
    hidden = _hidden(np.isfinite(truth))
    known = np.where(hidden, np.nan, truth)
    imputed = classifier.impute(inputs.decode(torch.from_numpy(known)), random_state=0)
    found = inputs.columns.encode(imputed)
    checks = []
    for place in np.argsort(places):
        here = hidden[:, place]
        if here.any():
            column = inputs.columns.columns[places[place]]
            family = column.likelihood
            coded = isinstance(family, Categorical | Ordinal)
            scale = (column.shift, column.scale) if isinstance(family, NegativeBinomial) else None
            values = [_in_units(v[:, place], scale) for v in (truth, found, known)]
            right, guessed, rest = values[0][here], values[1][here], values[2]
            score = _share_right if coded else _error
            simple = np.full(len(right), _simple(rest, coded))
            figures = score(right, guessed), score(right, simple)
            checks.append(ImputationCheck(column.name, int(here.sum()), coded, *figures))
    return checks


def _hidden(known: Truth) -> Truth:
    """Return which entries to hide, `[N, C]`: a tenth of each column's known ones, at least one."""
    rng = np.random.default_rng(0)
    found = np.zeros_like(known)
    for place in range(known.shape[1]):
        rows = np.flatnonzero(known[:, place])
        # The simple imputation needs at least one known entry.
        wanted = math.ceil(_HIDDEN * len(rows)) if len(rows) > 1 else 0
        found[rng.choice(rows, wanted, replace=False), place] = True
    return found


def _in_units(values: Floats, scale: tuple[float, float] | None) -> Floats:
    """Return encoded values; counts, which are not transformed, as standardised logarithms."""
    return values if scale is None else (np.log1p(values) - scale[0]) / scale[1]


def _simple(rest: Floats, coded: bool) -> float:
    kept = rest[np.isfinite(rest)]
    return float(mode(kept).mode if coded else kept.mean())


def _share_right(right: Floats, guessed: Floats) -> float:
    return float((right == guessed).mean())


def _error(right: Floats, guessed: Floats) -> float:
    return float(np.sqrt(((right - guessed) ** 2).mean()))


def _imputation(classifier: Any, rows: ReportRows) -> Html:
    checks = check_imputation(classifier, rows) if len(rows.codes) > 1 else []
    if not checks:
        return Html("")
    numbers, coded = ([c for c in checks if c.coded == kind] for kind in (False, True))
    parts: list[Any] = [
        f"A tenth of the known entries of up to {_ROWS} rows, {rows.source}, was hidden at "
        "random, and filled in by impute(X)."
    ]
    if numbers:
        better = sum(c.model < c.simple for c in numbers)
        parts.append(
            "Columns of numbers that came nearer than by the column's mean: "
            f"{better:,} of {len(numbers):,}. Errors are root mean squares, in standard deviations "
            "of the column as modelled; the mean's is about 1."
        )
        listed = [_listed(c, min(c.model / 2, 1.0), number) for c in numbers[:_LISTED]]
        parts.append(table("Numbers: error, lower is better", _heads("mean"), listed))
    if coded:
        better = sum(c.model > c.simple for c in coded)
        parts.append(
            "Columns of categories that were guessed more often than by the most frequent one: "
            f"{better:,} of {len(coded):,}."
        )
        listed = [_listed(c, c.model, percent) for c in coded[:_LISTED]]
        heads = _heads("most frequent category")
        parts.append(table("Categories: share guessed right, higher is better", heads, listed))
    note = (
        "The models saw these entries in training, so the figures are slightly optimistic. A few "
        "hidden entries say little."
    )
    return section(
        "imputation", "Filling in missing entries", *parts, element("p", note, class_="note")
    )


def _heads(simple: str) -> tuple[str, ...]:
    return "Column", "Hidden entries", "By the model", f"By the {simple}"


def _listed(check: ImputationCheck, share: float, shown: Any) -> list[Any]:
    model, simple = shown(check.model), shown(check.simple)
    return [check.column, f"{check.hidden:,}", bar(share, model), simple]

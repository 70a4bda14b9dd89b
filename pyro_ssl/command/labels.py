"""Labels of files, and their comparison with those of training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyro_ssl.errors import DataError

if TYPE_CHECKING:
    from pyro_ssl.command.sources import Source

_SHOWN = 5


def marker_among(source: "Source", stated: str | None) -> Any:
    """Return the marker of unknown labels in the form of the data: a number among numbers.

    Args:
        source: the data; its first part shows the form.
        stated: the marker stated in the options; None for none.
    """
    if stated is None or source.recipe.kind == "images":
        return None
    part = next(iter(source.parts()))
    return _marker(part.labels, stated)


def are_known(labels: NDArray[Any], stated: str | None) -> NDArray[np.bool_]:
    """Return which labels are known, `[N]`; see `known_labels` of the estimator.

    Args:
        labels: `[N]`.
        stated: the marker of unknown labels; None for -1 among numbers.
    """
    from pyro_ssl.estimator.labels import is_known

    marker = None if stated is None else _marker(labels, stated)
    found: NDArray[np.bool_] = is_known(labels, marker)
    return found


def codes_of(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
    """Return the indices of known labels among classes, `[N]`; -1 for other labels.

    Text and numbers are compared in their written form: 1 and 1.0 are the class "1".
    """
    places = {text_of(label): code for code, label in enumerate(classes.tolist())}
    found = [places.get(text_of(label), -1) for label in labels.tolist()]
    return np.array(found, dtype=np.int64)


def check_codes(codes: NDArray[np.int64], labels: NDArray[Any], classes: NDArray[Any]) -> None:
    """Check that all labels are classes of training.

    Raises:
        DataError: naming the labels that are not.
    """
    odd = codes < 0
    if odd.any():
        names = [*dict.fromkeys(map(text_of, labels[odd].tolist()))]
        raise DataError(
            f"{int(odd.sum())} rows have labels that were not in training, {_listed(names)}, "
            f"expected some of {_listed(classes.tolist())}: leave these rows out, or make their "
            "labels empty"
        )


def check_no_fractions(labels: NDArray[Any], column: str | None) -> None:
    """Check that labels of text are not all numbers, some of them with a fraction.

    The estimator refuses such numbers; as text, each would be a class of its own.

    Raises:
        DataError: if they are.
    """
    if not len(labels) or not isinstance(labels[0], str):
        return
    numbers = pd.to_numeric(pd.Series(labels, dtype=object), errors="coerce").to_numpy(np.float64)
    odd = np.flatnonzero(numbers != np.rint(numbers))
    if len(odd) and not np.isnan(numbers).any():
        raise DataError(
            f"the labels{f' in the column {column!r}' if column else ''} are continuous, such as "
            f"{labels[odd[0]]}, expected classes: give the column of these, or make classes of "
            "ranges of the numbers"
        )


def class_named(text: str, classes: NDArray[Any]) -> Any:
    """Return the class with this written form.

    Raises:
        DataError: if there is none.
    """
    for label in classes.tolist():
        if str(label) == text or text_of(label) == text:
            return label
    raise DataError(f"label is {text!r}, expected one of {_listed(classes.tolist())}")


def text_of(label: Any) -> str:
    """Return the written form of a label; whole numbers have no decimal point."""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


def _marker(labels: NDArray[Any], stated: str) -> Any:
    known = labels[~pd.isna(labels)]
    if known.dtype.kind == "O":
        texts = any(isinstance(label, str) for label in known[:1000].tolist())
    else:
        texts = known.dtype.kind in "US"
    number = pd.to_numeric(pd.Series([stated], dtype=object), errors="coerce")[0]
    if texts or not len(known) or np.isnan(number):
        return stated
    return int(number) if float(number).is_integer() else float(number)


def _listed(names: Sequence[Any]) -> str:
    rest = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + rest

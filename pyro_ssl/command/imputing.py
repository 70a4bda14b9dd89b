"""The command `impute`: a table with its missing entries filled in."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pyro_ssl.command.casting import as_text
from pyro_ssl.command.model_folder import checked_output, load_model
from pyro_ssl.command.options import Impute
from pyro_ssl.command.parts import Part
from pyro_ssl.command.sources import Source, open_for_model
from pyro_ssl.command.writing import TABLES, check_suffix, is_text, table_writer
from pyro_ssl.errors import DataError
from pyro_ssl.files import replacing

if TYPE_CHECKING:
    from pyro_ssl.estimator import SemiSupervisedVAEClassifier


def run(options: Impute) -> None:
    """Fill in the missing entries of a file, in parts, and write the result to another file.

    Raises:
        PyroSSLError: if options, model, data or output are invalid.
    """
    checked_output(options.out, options.data)
    classifier, recipe = load_model(options.model)
    source = open_for_model(recipe, options)
    if recipe.kind == "images":
        raise DataError("the model is one of images, which have no missing entries to fill in")
    if recipe.kind == "array":
        check_suffix(options.out, (".npy",))
        _impute_arrays(classifier, source, options)
        return
    check_suffix(options.out, TABLES)
    as_read = is_text(options.data) and is_text(options.out)
    with table_writer(options.out) as write:
        for part in source.parts():
            write(filled(classifier, part, options.seed, as_read))


def filled(
    classifier: "SemiSupervisedVAEClassifier", part: Part, seed: int, as_read: bool
) -> pd.DataFrame:
    """Return a part of a table with all its columns; missing entries of the model's are filled in.

    Existing entries stay as they are, even if the model cannot take them.

    Args:
        classifier: the model.
        part: the part.
        seed: seed of the draws.
        as_read: keep columns as text, as they were read, instead of converting them.
    """
    assert part.raw is not None
    rows = part.rows
    missing = {name: rows[name].isna().to_numpy() for name in rows.columns}
    some = any(gaps.any() for gaps in missing.values())
    complete = classifier.impute(rows, random_state=seed) if some else rows
    found = part.raw.copy(deep=False)
    for name, gaps in missing.items():
        instead = complete[name].reset_index(drop=True)
        column = part.raw[name] if as_read else rows[name]
        column = column.reset_index(drop=True)
        if gaps.any():
            column = _with(column, as_text(instead) if as_read else instead, gaps)
        found[name] = column.to_numpy() if as_read else column.array
    return found


def _with(column: pd.Series, instead: pd.Series, gaps: Any) -> pd.Series:
    """Return a column with other entries in its gaps, of its dtype if that can hold them."""
    entries = column.to_numpy(dtype=object).copy()
    entries[gaps] = instead.to_numpy(dtype=object)[gaps]
    mixed = pd.Series(entries, dtype=object)
    try:
        return mixed.astype(column.dtype)
    except (TypeError, ValueError):
        return mixed


def _impute_arrays(
    classifier: "SemiSupervisedVAEClassifier", source: Source, options: Impute
) -> None:
    parts = []
    for part in source.parts():
        if part.rows.ndim != 2:
            raise DataError(
                f"{options.data} holds images or signals, which have no missing entries to fill in"
            )
        missing = pd.isna(part.rows)
        filled_in = classifier.impute(part.rows, random_state=options.seed)
        parts.append(np.where(missing, filled_in, part.rows) if missing.any() else part.rows)
    write_array(np.concatenate(parts), options.out)


def write_array(array: Any, path: Path) -> None:
    """Write an array to a .npy file atomically.

    Raises:
        ResultsError: if it cannot be written.
    """
    with replacing(path, (OSError,)) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)

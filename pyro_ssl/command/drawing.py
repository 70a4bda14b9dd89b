"""The command `sample`: rows drawn from the generative model."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyro_ssl.command.labels import class_named
from pyro_ssl.command.model_folder import load_model
from pyro_ssl.command.options import Sample
from pyro_ssl.command.writing import TABLES, check_suffix, table_writer
from pyro_ssl.errors import ConfigError
from pyro_ssl.files import replacing


def run(options: Sample) -> None:
    """Draw rows into a file, with their labels.

    Raises:
        PyroSSLError: if options, model or output are invalid.
    """
    if options.n < 1:
        raise ConfigError(f"n is {options.n}, expected a number of rows, at least 1")
    classifier, recipe = load_model(options.model)
    check_suffix(options.out, TABLES if recipe.kind == "table" else (".npz",))
    classes = classifier.classes_
    if options.label is None:
        rng = np.random.default_rng(options.seed)
        labels = rng.choice(classes, options.n, p=classifier.class_shares_)
    else:
        labels = np.full(options.n, class_named(options.label, classes), dtype=classes.dtype)
    rows = classifier.sample(labels, random_state=options.seed)
    if recipe.kind != "table":
        _write_arrays(options.out, rows, labels)
        return
    found = pd.DataFrame({recipe.label_column: labels})
    with table_writer(options.out) as write:
        write(pd.concat([found, rows.reset_index(drop=True)], axis=1))


def _write_arrays(path: Path, rows: NDArray[Any], labels: NDArray[Any]) -> None:
    texts = labels.astype(str) if labels.dtype.kind == "O" else labels
    with replacing(path, (OSError,)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, X=rows, y=texts)

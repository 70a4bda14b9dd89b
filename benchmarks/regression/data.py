"""The three tables with a real column to predict: their rows, and known labels.

They were chosen before any result of the comparison was seen: scikit-learn's standard table, a
small one of measurements with missing entries, and one with many columns of all kinds and a skewed
label.
"""

from functools import lru_cache

import numpy as np
import pandas as pd

from benchmarks.tables.data import MOST_TRAINING_ROWS, TEST_SHARE
from pyro_ssl.data import DATA_VARIABLE, data_root
from pyro_ssl.errors import ConfigError, DataError

# The column to predict, by data set; all others are inputs.
LABELS = {"diabetes": "target", "penguins": "body_mass_g", "attrition": "MonthlyIncome"}
DATASETS = tuple(LABELS)


@lru_cache(maxsize=3)
def load(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table's inputs and labels; treat both as read-only.

    Rows whose label is missing are left out.

    Args:
        name: one of `DATASETS`.

    Returns:
        A data frame as read, of numbers, strings and missing entries, and floats `[N]`.

    Raises:
        ConfigError: if the name is unknown.
        DataError: if the file is missing.
    """
    if name not in DATASETS:
        raise ConfigError(f"data set is {name!r}, expected one of {', '.join(DATASETS)}")
    if name == "diabetes":
        from sklearn.datasets import load_diabetes

        frame = load_diabetes(as_frame=True).frame
    else:
        file = data_root() / "tabular" / f"{name}.csv.gz"
        if not file.is_file():
            raise DataError(
                f"{file} is missing: set {DATA_VARIABLE} to the folder that holds tabular/"
                f"{file.name}, or choose other data sets with --datasets"
            )
        frame = pd.read_csv(file)
    label = LABELS[name]
    frame = frame[frame[label].notna()].reset_index(drop=True)
    return frame.drop(columns=label), frame[label].to_numpy(dtype=np.float64)


def split(rows: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw training rows, test rows, and the training rows with known labels.

    30 % are test rows; at most 3,000 of the others are training rows. The same seed draws the same
    rows for any number of labels, and 20 known labels are among 50.

    Args:
        rows: N.
        labels: number of known labels.
        seed: seed of the draw.

    Returns:
        Training rows `[T]`, test rows, and which of the training rows have a label, `[T]`.

    Raises:
        ConfigError: if there are fewer training rows than labels.
    """
    order = np.random.default_rng(seed).permutation(rows)
    cut = round(TEST_SHARE * rows)
    test, train = order[:cut], order[cut : cut + MOST_TRAINING_ROWS]
    if not 2 <= labels <= len(train):
        raise ConfigError(f"labels is {labels}, expected 2 to {len(train)}, the training rows")
    return train, test, np.arange(len(train)) < labels

"""The twelve data sets: training and test rows, known labels, removed entries."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from pyro_ssl.data import DATA_VARIABLE, data_root
from pyro_ssl.data.newsgroup_files import FILE, checked_home
from pyro_ssl.errors import ConfigError, DataError

# Data sets on which our classifier's defaults may be chosen, and those on which they may not.
TUNING = ("wine", "digits", "penguins", "credit_data", "oils", "attrition")
TEST = ("breast_cancer", "newsgroups", "hpc_data", "leaf_id_flavia", "wa_churn", "scat")
DATASETS = (*TUNING, *TEST)
# A data set whose entries cannot be missing.
COUNTS = ("newsgroups",)
DRAWS = ("even", "random")

TEST_SHARE = 0.3
MOST_TRAINING_ROWS = 3000
_GROUPS = ("alt.atheism", "soc.religion.christian", "comp.graphics", "sci.med")
_WORDS = 2000


@lru_cache(maxsize=2)
def load(name: str) -> tuple[Any, np.ndarray]:
    """Return a data set's inputs and labels; treat both as read-only.

    - The eight tables, `wine` and `breast_cancer` are data frames as read, of numbers, strings and
      missing entries. Rows whose label is missing are left out.
    - `digits` is an array, `[1797, 64]`, of values in 0...16.
    - `newsgroups` is a sparse matrix of integer counts, `[3648, 2000]`: the most frequent words,
      except stop words, of all documents of four groups, without headers, footers and quotes.
      Words are chosen on all rows without reading labels. The 111 documents without these words are
      left out: nothing can be predicted for them, and they would be everyone's nearest neighbours.

    Args:
        name: one of `DATASETS`.

    Returns:
        Data frame, array or CSR matrix `[N, ...]`, and integers `[N]` in 0...K-1, the sorted
        classes.

    Raises:
        ConfigError: if the name is unknown.
        DataError: if the file is missing.
    """
    if name not in DATASETS:
        raise ConfigError(f"data set is {name!r}, expected one of {', '.join(DATASETS)}")
    if name == "newsgroups":
        return _newsgroups(data_root())
    if name in ("wine", "breast_cancer", "digits"):
        from sklearn import datasets

        read = getattr(datasets, f"load_{name}")
        inputs, ys = read(return_X_y=True, as_frame=name != "digits")
        return inputs, np.asarray(ys, dtype=np.int64)
    return _table(data_root() / "tabular" / f"{name}.csv.gz")


def _table(file: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Read a table whose first column is the label."""
    if not file.is_file():
        raise DataError(
            f"{file} is missing: set {DATA_VARIABLE} to the folder that holds tabular/{file.name}, "
            "or choose other data sets with --datasets"
        )
    frame = pd.read_csv(file)
    frame = frame[frame.iloc[:, 0].notna()].reset_index(drop=True)
    _, ys = np.unique(frame.iloc[:, 0].astype(str), return_inverse=True)
    return frame.iloc[:, 1:], ys.astype(np.int64)


def _newsgroups(root: Path) -> tuple[sparse.csr_matrix, np.ndarray]:
    from sklearn.datasets import fetch_20newsgroups
    from sklearn.feature_extraction.text import CountVectorizer

    if not (root / FILE).is_file():
        raise DataError(
            f"20 Newsgroups was looked for in {root}: set {DATA_VARIABLE} to the folder that holds "
            f"scikit-learn's {FILE}, or choose others with --datasets"
        )
    with checked_home(root) as home:
        found = fetch_20newsgroups(
            data_home=home,
            subset="all",
            categories=_GROUPS,
            remove=("headers", "footers", "quotes"),
        )
    counts = CountVectorizer(max_features=_WORDS, stop_words="english").fit_transform(found.data)
    used = np.asarray(counts.sum(1)).ravel() > 0
    return sparse.csr_matrix(counts)[used], np.asarray(found.target, dtype=np.int64)[used]


def split(
    ys: np.ndarray, labels: int, draw: str, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw training rows, test rows, and the training rows with known labels.

    The same seed draws the same training and test rows for any labels and any kind of draw. In an
    even draw, the labels of 5 per class are among those of 10.

    1. Of the n rows of each class, 0.3 n (rounded) are test rows, but at least one if n > 1, and
       never all. So each class in the test rows has a training row.
    2. If more than 3,000 training rows are left, 3,000 are kept, with the same share of each class
       and at least one row of it; due to rounding there may be a few rows more or fewer.
    3. `even`: the labels of n training rows of each class are known, or of all if there are fewer.
       `random`: the labels of n K training rows drawn from all K classes alike are known, or of all
       if there are fewer. Then each class without a known label gets one: the label of a random row
       of this class becomes known, and that of a random row of a class with several unknown.

    If there are few rows, all labels of a class, or all labels, may be known.

    Args:
        ys: integers `[N]` in 0...K-1.
        labels: n, the number of known labels per class.
        draw: `even` or `random`.
        seed: seed of the draw.

    Returns:
        Training rows `[T]`, in random order, test rows, and the labels of the training rows
        `[T]`, -1 where unknown.

    Raises:
        ConfigError: if `draw` is unknown or `labels` is not positive.
    """
    if draw not in DRAWS:
        raise ConfigError(f"draw is {draw!r}, expected one of {', '.join(DRAWS)}")
    if labels < 1:
        raise ConfigError(f"labels is {labels}, expected a positive number of labels a class")
    rng = np.random.default_rng(seed)
    train, test = _divide(np.arange(len(ys)), ys, TEST_SHARE, rng)
    if len(train) > MOST_TRAINING_ROWS:
        train, _ = _divide(train, ys, 1 - MOST_TRAINING_ROWS / len(train), rng)
    train = rng.permutation(train)
    # A separate generator, so that even and random draws are independent of one another.
    rng = np.random.default_rng([seed, DRAWS.index(draw)])
    known = (_even if draw == "even" else _random)(ys[train], labels, rng)
    partial = np.full(len(train), -1, dtype=np.int64)
    partial[known] = ys[train][known]
    return train, test, partial


def _divide(
    rows: np.ndarray, ys: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that stay, at least one of each class, and a share of each class."""
    stay, taken = [], []
    for k in np.unique(ys[rows]):
        members = rng.permutation(rows[ys[rows] == k])
        number = min(max(round(share * len(members)), 1), len(members) - 1)
        taken.append(members[:number])
        stay.append(members[number:])
    return np.concatenate(stay), np.concatenate(taken)


def _even(ys: np.ndarray, labels: int, rng: np.random.Generator) -> np.ndarray:
    """Return rows, at most `labels` of each class."""
    members = [rng.permutation(np.flatnonzero(ys == k)) for k in np.unique(ys)]
    return np.concatenate([rows[:labels] for rows in members])


def _random(ys: np.ndarray, labels: int, rng: np.random.Generator) -> np.ndarray:
    """Return random rows, `labels` times the number of classes, at least one of each class."""
    classes = np.unique(ys)
    known = np.zeros(len(ys), dtype=bool)
    known[rng.permutation(len(ys))[: labels * len(classes)]] = True
    for k in classes:
        if not known[ys == k].any():
            plenty = classes[[known[ys == c].sum() > 1 for c in classes]]
            known[rng.choice(np.flatnonzero(known & np.isin(ys, plenty)))] = False
            known[rng.choice(np.flatnonzero(ys == k))] = True
    return np.flatnonzero(known)


def remove_entries(inputs: Any, share: float, seed: int) -> Any:
    """Return the inputs with entries removed at random, each with the same probability.

    Args:
        inputs: data frame or array `[N, D]`; it is not changed.
        share: the probability; with 0 the inputs are returned as they are.
        seed: seed of the draw.

    Returns:
        A copy, NaN where an entry is missing; columns of integers become floats.

    Raises:
        ConfigError: if the share is not in [0, 1), or the inputs are sparse counts.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"share is {share}, expected the share of entries to remove, in [0, 1)")
    if share == 0:
        return inputs
    if sparse.issparse(inputs):
        raise ConfigError("inputs are sparse counts, which have no missing entries: use share 0")
    removed = np.random.default_rng([seed, 2]).random(inputs.shape) < share
    if isinstance(inputs, pd.DataFrame):
        return inputs.mask(removed)
    return np.where(removed, np.nan, inputs)

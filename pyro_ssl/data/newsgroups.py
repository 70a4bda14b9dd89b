"""20 Newsgroups as counts of words."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyro_ssl.data.datasets import data_root
from pyro_ssl.data.newsgroup_files import checked_home
from pyro_ssl.errors import ConfigError, DataError

# scikit-learn's own pattern, and one that takes only letters.
_TOKENS = {"words": r"(?u)\b\w\w+\b", "letters": r"(?u)\b[a-z][a-z]+\b"}


@dataclass(frozen=True)
class Documents:
    """Documents as bags of words.

    Attributes:
        name: their name in files and tables.
        train_xs: counts of words `[N, V]`, float32.
        train_ys: topics `[N]`, int64.
        test_xs: counts `[M, V]`.
        test_ys: topics `[M]`.
        words: the vocabulary, V words.
    """

    name: str
    train_xs: Tensor
    train_ys: Tensor
    test_xs: Tensor
    test_ys: Tensor
    words: tuple[str, ...]


def load_newsgroups(
    root: str | Path | None = None,
    num_words: int = 10_000,
    remove: tuple[str, ...] = (),
    tokens: str = "words",
) -> Documents:
    """Load 20 Newsgroups, split by date, by scikit-learn, which downloads it if it is missing.

    scikit-learn's file is a pickle: it is read without running what it may hold, and its documents
    are checked by their SHA-256.

    The vocabulary consists of the words that occur in the most training documents. Documents
    without any of these words are left out.

    Args:
        root: folder of the data sets, see `data_root`.
        num_words: size of the vocabulary.
        remove: parts of each message to leave out: `headers`, `footers`, `quotes`.
        tokens: what counts as a word, see `count_words`.

    Raises:
        DataError: if the data are missing and cannot be downloaded, are refused, or have fewer
            words.
        ConfigError: if `tokens` is unknown.
    """
    from sklearn.datasets import fetch_20newsgroups

    parts = []
    with checked_home(data_root(root)) as home:
        for subset in ("train", "test"):
            found = fetch_20newsgroups(data_home=home, subset=subset, remove=remove)
            parts.append((found.data, found.target))
    return count_words("20newsgroups", *parts[0], *parts[1], num_words, tokens)


def count_words(
    name: str,
    train_texts: list[str],
    train_ys: np.ndarray,
    test_texts: list[str],
    test_ys: np.ndarray,
    num_words: int,
    tokens: str = "words",
) -> Documents:
    """Return texts as counts of the words that occur in the most training texts.

    Among words that occur in equally many texts, those first in the alphabet are taken.

    Args:
        name: name of the documents.
        train_texts: texts to learn from.
        train_ys: their topics `[N]`.
        test_texts: texts to test on.
        test_ys: their topics `[M]`.
        num_words: size of the vocabulary.
        tokens: what counts as a word, in lower case: `words`, scikit-learn's tokens of two or more
            letters, digits or underscores; `letters`, two or more letters a to z.

    Raises:
        DataError: if the training texts have fewer words.
        ConfigError: if `tokens` is unknown.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    if tokens not in _TOKENS:
        raise ConfigError(f"tokens is {tokens!r}, expected {' or '.join(_TOKENS)}")
    counter = CountVectorizer(token_pattern=_TOKENS[tokens])
    train = counter.fit_transform(train_texts)
    if train.shape[1] < num_words:
        raise DataError(f"num_words is {num_words}, but the texts have only {train.shape[1]}")
    in_texts = np.asarray((train > 0).sum(0)).ravel()
    kept = np.sort(np.argsort(-in_texts, kind="stable")[:num_words])
    parts = []
    for counts, ys in ((train, train_ys), (counter.transform(test_texts), test_ys)):
        xs = torch.from_numpy(counts[:, kept].toarray()).float()
        some = xs.sum(-1) > 0
        parts.append((xs[some], torch.from_numpy(np.asarray(ys)).long()[some]))
    words = tuple(counter.get_feature_names_out()[kept])
    (train_xs, train_topics), (test_xs, test_topics) = parts
    return Documents(name, train_xs, train_topics, test_xs, test_topics, words)

"""20 Newsgroups as counts of words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from pyro_ssl.data.arrays import as_labels
from pyro_ssl.data.datasets import data_root
from pyro_ssl.data.newsgroup_files import checked_home
from pyro_ssl.errors import DataError, one_line
from pyro_ssl.option_kinds import Natural, OneOf, Range, Size
from pyro_ssl.options import check_fields, checked

# scikit-learn's own pattern, and one of letters only.
_TOKENS = {"words": r"(?u)\b\w\w+\b", "letters": r"(?u)\b[a-z][a-z]+\b"}
Tokens = Annotated[str, OneOf(tuple(_TOKENS))]


@dataclass(frozen=True)
class Documents:
    """Documents as bags of words.

    Attributes:
        name: name of the documents in files and tables.
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

    def __post_init__(self) -> None:
        check_fields(self)


@checked
def load_newsgroups(
    root: str | Path | None = None,
    num_words: Size = 10_000,
    remove: tuple[Annotated[str, OneOf(("headers", "footers", "quotes"))], ...] = (),
    tokens: Tokens = "words",
    test_share: Annotated[float, Range(0, 1, above=0, below=1)] | None = None,
    split_seed: Natural = 0,
) -> Documents:
    """Load 20 Newsgroups, split by date, with scikit-learn, which downloads it if it is missing.

    scikit-learn's file is a pickle: it is read without running any code in it, and the SHA-256 of
    its documents is checked.

    The vocabulary consists of the words that occur in the largest numbers of training documents.
    Documents without any of these words are left out.

    Args:
        root: folder of the data sets, see `data_root`.
        num_words: size of the vocabulary.
        remove: parts of each message to leave out: `headers`, `footers`, `quotes`.
        tokens: what counts as a word, see `count_words`.
        test_share: share of all documents, drawn at random, that is the test part, in place of the
            split by date. Papers on hashing have 0.1. Messages of one discussion are then on both
            sides, so that figures of the two splits cannot be compared.
        split_seed: seed of that draw.

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
    if test_share is None:
        return count_words("20newsgroups", *parts[0], *parts[1], num_words, tokens)
    texts = [text for part, _ in parts for text in part]
    topics = np.concatenate([part for _, part in parts])
    order = np.random.default_rng(split_seed).permutation(len(texts))
    tested = round(test_share * len(texts))
    test, train = order[:tested], order[tested:]
    name = f"20newsgroups-random{split_seed}"
    drawn = [([texts[i] for i in rows], topics[rows]) for rows in (train, test)]
    return count_words(name, *drawn[0], *drawn[1], num_words, tokens)


@checked
def count_words(
    name: str,
    train_texts: Sequence[str],
    train_ys: Any,
    test_texts: Sequence[str],
    test_ys: Any,
    num_words: Size,
    tokens: Tokens = "words",
) -> Documents:
    """Return texts as counts of the words that occur in the largest numbers of training texts.

    Of words that occur in equally many texts, the alphabetically first are chosen.

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

    counter = CountVectorizer(token_pattern=_TOKENS[tokens])
    try:
        train = counter.fit_transform(train_texts)
    except ValueError as error:
        raise DataError(f"train_texts cannot be counted ({one_line(error)})") from error
    if train.shape[1] < num_words:
        raise DataError(f"num_words is {num_words}, but the texts have only {train.shape[1]}")
    in_texts = np.asarray((train > 0).sum(0)).ravel()
    kept = np.sort(np.argsort(-in_texts, kind="stable")[:num_words])
    parts = []
    for counts, ys in ((train, train_ys), (counter.transform(test_texts), test_ys)):
        xs, topics = torch.from_numpy(counts[:, kept].toarray()).float(), as_labels(ys, "ys")
        if topics.shape != (len(xs),):
            raise DataError(f"there are {len(xs)} texts, but topics of shape {list(topics.shape)}")
        some = xs.sum(-1) > 0
        parts.append((xs[some], topics[some]))
    words = tuple(counter.get_feature_names_out()[kept])
    (train_xs, train_topics), (test_xs, test_topics) = parts
    return Documents(name, train_xs, train_topics, test_xs, test_topics, words)

import os

import numpy as np
import pytest
import torch

from pyro_ssl.data import count_words, load_newsgroups
from pyro_ssl.data.datasets import DATA_VARIABLE
from pyro_ssl.errors import ConfigError, DataError

TRAIN = ["The cat sat, the CAT sat", "a dog and the cat", "bird dog zebra", "x"]
TEST = ["dog dog unknown", "unknown"]


def test_words_are_those_of_the_most_documents_and_empty_ones_are_left_out():
    found = count_words("tiny", TRAIN, np.arange(4), TEST, np.array([7, 8]), num_words=4)
    # Two documents have cat, dog and the; of those that one has, "and" is first. "a" is too short.
    assert found.words == ("and", "cat", "dog", "the")
    assert found.train_xs.tolist() == [[0, 2, 0, 2], [1, 1, 1, 1], [0, 0, 1, 0]]
    assert found.train_ys.tolist() == [0, 1, 2]
    assert (found.test_xs.tolist(), found.test_ys.tolist()) == ([[0, 0, 2, 0]], [7])
    assert found.train_xs.dtype == torch.float32


def test_tokens_of_letters_alone():
    texts = ["abc a1b under_score x9 yz", "Def, yz: 42 é-ok naïve"]
    found = count_words("tiny", texts, np.arange(2), texts, np.arange(2), 4, tokens="letters")
    assert found.words == ("abc", "def", "ok", "yz")
    assert found.train_xs.tolist() == [[1, 0, 0, 1], [0, 1, 1, 1]]
    with pytest.raises(ConfigError, match="tokens is 'all', expected one of words, letters"):
        count_words("tiny", texts, np.arange(2), texts, np.arange(2), 4, tokens="all")


def test_too_large_a_vocabulary_is_an_error():
    with pytest.raises(DataError, match="num_words is 50, but the texts have only 7"):
        count_words("tiny", TRAIN, np.arange(4), TEST, np.arange(2), num_words=50)


def test_missing_data_say_where_they_belong(tmp_path, monkeypatch):
    import sklearn.datasets

    def fail(**options):
        raise OSError("no network")

    monkeypatch.setattr(sklearn.datasets, "fetch_20newsgroups", fail)
    with pytest.raises(DataError, match=r"no network.*20news-bydate_py3\.pkz"):
        load_newsgroups(tmp_path)


def test_the_real_newsgroups():
    root = os.environ.get(DATA_VARIABLE)
    if not root or not os.path.isfile(os.path.join(root, "20news-bydate_py3.pkz")):
        pytest.skip(f"REAL 20 NEWSGROUPS NOT TESTED: {DATA_VARIABLE}={root!r} lacks them")
    found = load_newsgroups(root, num_words=1000)
    assert len(found.train_xs) <= 11_314
    assert len(found.train_xs) > 11_300
    assert len(found.test_xs) > 7_500
    assert found.train_ys.unique().tolist() == list(range(20))
    assert "the" in found.words

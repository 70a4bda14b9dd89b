import os
import pickle
import zlib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import fetch_20newsgroups
from sklearn.utils import Bunch

from pyro_ssl.data import count_words, load_newsgroups, newsgroup_files, newsgroups
from pyro_ssl.data.datasets import DATA_VARIABLE
from pyro_ssl.data.newsgroup_files import FILE
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


def test_a_random_split_is_of_all_documents(tmp_path, monkeypatch):
    import sklearn.datasets

    texts = {part: [f"{part}{chr(97 + i)} word" for i in range(20)] for part in ("train", "test")}

    def fetch(subset, **options):
        return Bunch(data=texts[subset], target=np.arange(20) + 20 * (subset == "test"))

    monkeypatch.setattr(sklearn.datasets, "fetch_20newsgroups", fetch)
    monkeypatch.setattr(newsgroups, "checked_home", lambda root: nullcontext(root))
    by_date = load_newsgroups(tmp_path, 3)
    assert by_date.test_ys.tolist() == list(range(20, 40))
    found = [load_newsgroups(tmp_path, 3, test_share=0.25, split_seed=seed) for seed in (0, 0, 1)]
    assert [len(each.test_ys) for each in found] == [10, 10, 10]
    assert found[0].test_ys.tolist() == found[1].test_ys.tolist() != found[2].test_ys.tolist()
    both = torch.cat([found[0].train_ys, found[0].test_ys])
    assert sorted(both.tolist()) == list(range(40))
    # From both parts.
    assert found[0].test_ys.min() < 20 <= found[0].test_ys.max()
    assert found[0].name == "20newsgroups-random0"
    for share in (0.0, 1.0):
        with pytest.raises(ConfigError, match="test_share"):
            load_newsgroups(tmp_path, 3, test_share=share)


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


class Runs:
    """What a pickle can do to whoever loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def archive(train=TRAIN, test=TEST, **beside):
    """A file as scikit-learn makes it, of a few documents."""
    parts = {
        name: Bunch(
            data=list(texts),
            filenames=np.array([f"/home/of/{i}" for i in range(len(texts))]),
            target_names=["a", "b"],
            target=np.arange(len(texts)) % 2,
            DESCR=None,
        )
        for name, texts in (("train", train), ("test", test))
    }
    return zlib.compress(pickle.dumps({**parts, **beside}))


def write(folder, content):
    (folder / FILE).write_bytes(content)
    return folder


@pytest.fixture
def small(monkeypatch):
    """Let the documents of `archive` be those that are expected."""
    raw = pickle.loads(zlib.decompress(archive()))
    monkeypatch.setattr(newsgroup_files, "_DOCUMENTS", newsgroup_files._digest(raw))


def test_a_file_is_read_as_scikit_learn_reads_it(tmp_path, small):
    write(tmp_path, archive())
    found = load_newsgroups(tmp_path, num_words=4)
    texts = [fetch_20newsgroups(data_home=str(tmp_path), subset=s) for s in ("train", "test")]
    parts = [part for each in texts for part in (each.data, each.target)]
    expected = count_words("20newsgroups", *parts, num_words=4)
    assert found.words == expected.words == ("and", "cat", "dog", "the")
    assert torch.equal(found.train_xs, expected.train_xs)
    assert torch.equal(found.train_ys, expected.train_ys)
    assert torch.equal(found.test_ys, expected.test_ys)
    assert [file.name for file in tmp_path.iterdir()] == [FILE]
    # Those that were and will be Python's own.
    raw = pickle.loads(zlib.decompress(archive()))
    for protocol in (3, 5):
        write(tmp_path, zlib.compress(pickle.dumps(raw, protocol=protocol)))
        assert load_newsgroups(tmp_path, num_words=4).words == found.words


@pytest.mark.parametrize("where", ["alone", "beside", "in a text", "in an array"])
def test_nothing_in_a_file_is_run(tmp_path, small, where):
    bad = Runs(tmp_path / "made")
    content = {
        "alone": lambda: zlib.compress(pickle.dumps(bad)),
        "beside": lambda: archive(more=bad),
        "in a text": lambda: archive(train=[*TRAIN, bad]),
        "in an array": lambda: archive(more=np.array([bad], dtype=object)),
    }[where]()
    write(tmp_path, content)
    with pytest.raises(DataError, match=rf"{FILE} was refused: it would have run \w+\.mkdir"):
        load_newsgroups(tmp_path, num_words=4)
    assert not (tmp_path / "made").exists()


def test_other_documents_are_refused_by_their_digest(tmp_path, small):
    write(tmp_path, archive(train=[*TRAIN[:-1], "another text"]))
    with pytest.raises(DataError, match=r"was refused: its documents have the SHA-256 \w{64}, th"):
        load_newsgroups(tmp_path, num_words=4)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zlib",
        archive()[:-20],
        zlib.compress(b"no pickle"),
        zlib.compress(pickle.dumps([1, 2])),
        zlib.compress(pickle.dumps({"train": {}, "test": {}})),
        zlib.compress(bytes(2**27 + 1)),
    ],
    ids=["empty", "no zlib", "cut off", "no pickle", "a list", "no parts", "too large"],
)
def test_damaged_files_are_named(tmp_path, content):
    write(tmp_path, content)
    with pytest.raises(DataError, match=rf"{FILE} cannot be read as .*delete it"):
        load_newsgroups(tmp_path)


def test_what_was_downloaded_is_checked_too(tmp_path, monkeypatch):
    import sklearn.datasets

    def fetch(data_home, **options):
        write(Path(data_home), archive(more=Runs(tmp_path / "made")))

    monkeypatch.setattr(sklearn.datasets, "fetch_20newsgroups", fetch)
    with pytest.raises(DataError, match="was refused"):
        load_newsgroups(tmp_path / "data")
    assert not (tmp_path / "made").exists()

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_ssl.data import split_labels
from pyro_ssl.errors import DataError

YS = np.repeat(np.arange(5), [40, 50, 60, 70, 80])


@given(
    labels=st.integers(0, 150),
    validation=st.integers(0, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_split_is_a_stratified_partition(labels, validation, seed):
    split = split_labels(YS, 5, labels, validation, seed)
    together = np.concatenate([split.labelled, split.unlabelled, split.validation])
    assert sorted(together) == list(range(len(YS)))
    assert len(split.labelled) == labels
    assert len(split.validation) == validation
    for part in (split.labelled, split.validation):
        counts = np.bincount(YS[part], minlength=5)
        assert counts.max() - counts.min() <= 1


def test_seed_decides_and_validation_does_not_depend_on_labels():
    first, again = (split_labels(YS, 5, 20, 30, seed=4) for _ in range(2))
    other, more = split_labels(YS, 5, 20, 30, seed=5), split_labels(YS, 5, 60, 30, seed=4)
    assert first.digest == again.digest
    assert len({first.digest, other.digest, more.digest}) == 3
    assert np.array_equal(first.validation, more.validation)
    assert not np.array_equal(first.validation, other.validation)


def test_digest_is_pinned_across_versions():
    assert split_labels(YS, 5, 20, 30, seed=0).digest == "7140103ce0b08b71"


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(DataError, match=r"from 0 to 4, expected labels in 0..3"):
        split_labels(YS, 4, 20, 30, seed=0)


@pytest.mark.parametrize("labels", [None, 270])
def test_all_rows_can_keep_their_labels(labels):
    split = split_labels(YS, 5, labels, 30, seed=0)
    assert (len(split.labelled), len(split.unlabelled)) == (270, 0)


def test_a_class_with_too_few_rows_keeps_all_its_labels():
    split = split_labels(YS, 5, 242, 30, seed=0)
    # 34, 44, 54, 64 and 74 rows are left; an even share were 48 or 49.
    counts = np.bincount(YS[split.labelled], minlength=5)
    assert counts[:3].tolist() == [34, 44, 54]
    assert sorted(counts[3:].tolist()) == [55, 55]
    assert len(split.unlabelled) == 28


@pytest.mark.parametrize(
    ("labels", "validation", "says"),
    [
        (301, 0, "labels=301, but only 300 rows are left"),
        (271, 30, "labels=271, but only 270"),
        (10, 205, "validation=205 asks for 41 rows of class 0, but only 40 are left"),
        (10, 300, "validation=300 asks for 60 rows of class 0"),
        (-1, 0, "must not be negative"),
    ],
)
def test_too_few_rows_are_an_error(labels, validation, says):
    with pytest.raises(DataError, match=says):
        split_labels(YS, 5, labels, validation, seed=0)

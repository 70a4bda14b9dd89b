"""Folds of labelled rows, beside scikit-learn's own."""

from itertools import chain

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.semi_supervised import SelfTrainingClassifier

from pyro_ssl.estimator.split import SemiSupervisedSplit


@pytest.fixture
def iris():
    xs, ys = load_iris(return_X_y=True)
    partial = np.where(np.random.default_rng(0).random(len(ys)) < 0.3, ys, -1)
    return xs, ys, partial


def test_each_labelled_row_is_tested_once_and_unlabelled_rows_are_always_trained_on(iris):
    xs, _, ys = iris
    tested = []
    for train, test in SemiSupervisedSplit(4, random_state=0).split(xs, ys):
        assert set(np.flatnonzero(ys == -1)) <= set(train)
        assert sorted([*train, *test]) == list(range(len(ys)))
        assert (ys[test] >= 0).all()
        shares = np.bincount(ys[ys >= 0]) / 4
        assert (np.abs(np.bincount(ys[test]) - shares) < 1).all()
        tested += test.tolist()
    assert sorted(tested) == np.flatnonzero(ys >= 0).tolist()


def test_without_unlabelled_rows_folds_are_scikit_learns(iris):
    xs, ys, _ = iris
    ours = SemiSupervisedSplit(3, random_state=7).split(xs, ys)
    theirs = StratifiedKFold(3, shuffle=True, random_state=7).split(xs, ys)
    for pair, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(pair[0], expected[0])
        np.testing.assert_array_equal(pair[1], expected[1])


def test_repeats_differ_and_calls_do_not(iris):
    xs, _, ys = iris
    splitter = SemiSupervisedSplit(3, n_repeats=2, random_state=0)
    first, again = ([test.tolist() for _, test in splitter.split(xs, ys)] for _ in range(2))
    assert first == again
    assert len(first) == splitter.get_n_splits() == 6
    assert first[:3] != first[3:]
    assert sorted(chain(*first[:3])) == sorted(chain(*first[3:]))


def test_unlabelled_strings_and_objects(iris):
    xs, _, ys = iris
    names = np.array(["a", "b", "c", None], dtype=object)[ys]
    expected = list(SemiSupervisedSplit(3, random_state=0).split(xs, ys))
    stated = np.where(ys == -1, "?", names.astype(str))
    for y, marker in ((names, None), (stated, "?")):
        found = SemiSupervisedSplit(3, random_state=0, unlabelled=marker).split(xs, y)
        for pair, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(pair[1], other[1])


def test_scores_of_scikit_learns_self_training_are_those_by_hand(iris):
    xs, _, ys = iris
    model = SelfTrainingClassifier(LogisticRegression(max_iter=500))
    splitter = SemiSupervisedSplit(3, random_state=0)
    scores = cross_val_score(model, xs, ys, cv=splitter)
    by_hand = [
        clone(model).fit(xs[train], ys[train]).score(xs[test], ys[test])
        for train, test in splitter.split(xs, ys)
    ]
    np.testing.assert_array_equal(scores, by_hand)
    # Rows of label -1 in the test part would count as errors.
    assert scores.min() > 0.8
    grid = {"threshold": [0.6, 0.9], "estimator__C": [0.1, 1.0]}
    search = GridSearchCV(model, grid, cv=SemiSupervisedSplit(2, random_state=0)).fit(xs, ys)
    assert search.n_splits_ == 2
    assert search.best_score_ > 0.8


REFUSED = {
    "few labels": (
        {"n_splits": 5},
        [0, 0, 0, 1, 1, 1, -1, -1],
        "n_splits=5 cannot be greater than",
    ),
    "continuous": ({"n_splits": 2}, [0.5, 1.5, 0.5, 1.5], "Got 'continuous' instead"),
    "unknown": ({"n_splits": 2}, [-1, -1], "no known label"),
    "None": ({"n_splits": 2}, None, "should not be None"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_cannot_be_split(case):
    options, y, text = REFUSED[case]
    rows = 3 if y is None else len(y)
    with pytest.raises(ValueError, match=text):
        list(SemiSupervisedSplit(**options).split(np.zeros((rows, 1)), y))


def test_lengths_must_agree_and_rare_classes_warn():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        next(SemiSupervisedSplit(2).split(np.zeros((3, 1)), [0, 1]))
    with pytest.warns(UserWarning, match="least populated class in y has only 1"):
        list(SemiSupervisedSplit(2).split(np.zeros((4, 1)), [0, 0, 1, -1]))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n_splits": 1}, "n_splits is 1, expected a whole number, at least 2"),
        ({"n_repeats": 0}, "n_repeats is 0, expected a whole number, at least 1"),
        ({"n_repeats": 2, "shuffle": False}, "expected n_repeats=1, or shuffle=True"),
        ({"random_state": 0, "shuffle": False}, "random_state"),
    ],
)
def test_options_that_cannot_work(options, text):
    with pytest.raises(ValueError, match=text):
        SemiSupervisedSplit(**options)


def test_its_options_are_shown():
    assert "n_splits=3" in repr(SemiSupervisedSplit(3))

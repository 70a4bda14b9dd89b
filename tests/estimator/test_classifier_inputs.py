"""What `SemiSupervisedVAEClassifier` learns from: kinds of tables, and label sets of odd shapes."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression

from pyro_ssl.errors import DataError
from pyro_ssl.estimator import SemiSupervisedVAEClassifier

pytestmark = pytest.mark.usefixtures("few_steps")

XS, YS = make_blobs(60, n_features=4, centers=3, random_state=0)
PARTLY = np.where(np.arange(60) < 24, YS, -1)


def make(**options):
    defaults = {"max_steps": 3, "min_steps": 1, "members": 2, "random_state": 0}
    linear = {"linear": LogisticRegression(C=0.1)}
    return SemiSupervisedVAEClassifier(**{**defaults, "classifiers": linear, **options})


def check_probabilities(fitted, rows, classes):
    found = fitted.predict_proba(rows)
    assert found.dtype == np.float64
    assert found.shape[1] == len(fitted.classes_) == classes
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-9)
    assert np.isfinite(found).all()
    assert (fitted.predict(rows) == fitted.classes_[found.argmax(1)]).all()


def with_holes(rows):
    found = rows.copy()
    found[::3, 1] = np.nan
    found[5] = np.nan
    return found


def frame(rows):
    return pd.DataFrame(rows, columns=list("abcd"))


TABLES = {
    "float64": XS,
    "float32": XS.astype(np.float32),
    "integers": np.rint(10 * XS).astype(int),
    "booleans": XS.mean(0) < XS,
    "list": XS.tolist(),
    "objects": XS.astype(object),
    "Fortran order": np.asfortranarray(XS),
    "pandas": frame(XS),
    "NaN": with_holes(XS),
    "pandas, NaN": frame(with_holes(XS)),
    "mixed frame": frame(XS).assign(a=np.where(YS == 0, "red", "blue"), b=pd.Categorical(YS)),
    "mixed array": np.column_stack([XS[:, :3].astype(object), np.where(YS == 0, "red", "blue")]),
    "strings": np.where(XS.mean(0) < XS, "high", "low"),
    "csr": sp.csr_matrix(XS),
    "csc": sp.csc_matrix(XS),
    "coo": sp.coo_matrix(XS),
    "csr array": sp.csr_array(XS),
    "csr of counts": sp.csr_matrix(np.rint(np.abs(XS)).astype(int)),
    "one feature": XS[:, :1],
    "more features than rows": np.tile(XS, 20) + np.random.default_rng(0).normal(size=(60, 80)),
    "a constant column": np.c_[XS, np.ones(60)],
    "equal rows": np.repeat(XS[:12], 5, 0),
    "equal columns": XS[:, [0, 0, 1, 1]],
    "huge": 1e8 * XS,
    "tiny": 1e-8 * XS,
}


@pytest.mark.parametrize("name", TABLES)
def test_takes_tables_of_every_kind(name):
    rows = TABLES[name]
    fitted = make().fit(rows, PARTLY)
    check_probabilities(fitted, rows, 3)
    assert fitted.transform(rows).shape == (60, fitted.transform_dim_)


def test_numbers_are_the_same_in_whatever_they_come():
    expected = make().fit(XS, PARTLY).predict_proba(XS)
    for name in ("list", "objects", "Fortran order", "pandas", "csr", "csc", "coo", "csr array"):
        found = make().fit(TABLES[name], PARTLY.tolist()).predict_proba(TABLES[name])
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=name)


def labels_of(*known):
    found = np.full(60, -1)
    found[: len(known)] = known
    return found


LABELS = {
    "all": (YS, 3),
    "all but one": (np.r_[YS[:-1], -1], 3),
    "two": (labels_of(0, 1), 2),
    "one class of one row": (labels_of(0, 0, 0, 0, 1), 2),
    "each class of one row": (labels_of(*range(5)), 5),
    "30 classes": (labels_of(*range(30), *range(30)), 30),
    "30 classes of one row": (labels_of(*range(30)), 30),
    "None": (np.where(PARTLY < 0, None, np.array(list("abc"))[PARTLY]), 3),
    "NaN": (np.where(PARTLY < 0, np.nan, PARTLY), 3),
    "series of strings": (pd.Series(list("abc"))[PARTLY.clip(0)].where(PARTLY >= 0), 3),
    "truth values": (np.array([True, False, None], dtype=object)[PARTLY], 2),
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("members", [1, 3])
def test_takes_labels_of_every_kind(name, members):
    labels, classes = LABELS[name]
    fitted = make(members=members).fit(XS, labels)
    check_probabilities(fitted, XS, classes)
    assert len(fitted.models_) == members


def test_equal_rows_with_different_labels_get_middling_probabilities():
    rows, labels = np.repeat(XS[:2], 20, 0), np.tile([0, 1], 20)
    found = make().fit(rows, labels).predict_proba(XS[:2])
    np.testing.assert_allclose(found, 0.5, atol=0.15)


def test_missing_entries_may_first_come_at_prediction():
    fitted = make().fit(XS, PARTLY)
    check_probabilities(fitted, with_holes(XS), 3)
    check_probabilities(fitted, np.full((2, 4), np.nan), 3)


def test_columns_of_frames_are_found_by_name():
    table = frame(XS)
    fitted = make().fit(table, PARTLY)
    assert fitted.feature_names_in_.tolist() == list("abcd")
    assert fitted.n_features_in_ == 4
    expected = fitted.predict_proba(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (fitted.predict_proba(table.copy()) == expected).all()
    for wrong in (table[list("dcba")], table[list("abc")], table.assign(e=1.0)):
        with pytest.raises(ValueError, match="feature names should match"):
            fitted.predict(wrong)
    with pytest.raises(ValueError, match="3 features, but SemiSupervisedVAEClassifier is expec"):
        fitted.predict(XS[:, :3])


def test_unseen_categories_are_missing_and_named():
    table = TABLES["mixed frame"]
    fitted = make().fit(table, PARTLY)
    with pytest.warns(UserWarning, match=r"column 'a': 'green'"):
        found = fitted.predict_proba(table.assign(a="green"))
    with pytest.warns(UserWarning, match=r"column 'a': 'pink'"):
        assert (fitted.predict_proba(table.assign(a="pink")) == found).all()
    np.testing.assert_allclose(found, fitted.predict_proba(table.assign(a=None)), rtol=1e-9)


REFUSED = {
    "no rows": (XS[:0], PARTLY[:0], "0 sample"),
    "no columns": (XS[:, :0], PARTLY, "0 feature"),
    "one dimension": (XS[:, 0], PARTLY, "Expected 2D array, got 1D array"),
    "infinity": (np.where(XS > 5, np.inf, XS), PARTLY, "inf"),
    "constant columns": (np.ones((60, 2)), PARTLY, "two distinct entries"),
    "fewer labels": (XS, PARTLY[1:], "inconsistent numbers of samples"),
    "nothing labelled": (XS, labels_of(), "no known label among 60"),
    "one class": (XS, labels_of(1, 1), "at least 2 classes"),
    "continuous": (XS, YS + 0.5, "Unknown label type: continuous"),
    "no labels": (XS, None, "requires y to be passed, but the target y is None"),
    "negative weights": (XS, PARTLY, "Negative values", -np.ones(60)),
    "weights of one class": (XS, PARTLY, "at least 2 classes", (PARTLY == 1).astype(float)),
    "too few weights": (XS, PARTLY, "sample_weight", np.ones(59)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_by_name(name):
    rows, labels, message, *weights = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        make().fit(rows, labels, *weights)


def test_labels_of_strings_that_look_unknown_are_refused():
    # As scikit-learn's self-training does: "-1" would be a class of its own.
    labels = np.array([f"c{y}" for y in YS]).astype("<U8")
    labels[20:] = "-1"
    with pytest.raises(DataError, match="y has dtype string and the label '-1'"):
        make().fit(XS, labels)
    fitted = make(unlabelled="-1").fit(XS, labels)
    assert fitted.classes_.tolist() == ["c0", "c1", "c2"]


def test_minus_one_as_one_of_two_classes_is_refused_or_stated():
    labels = np.where(YS == 0, -1, 1)
    with pytest.raises(DataError, match="-1 and missing labels mean unknown: if -1 is a class"):
        make().fit(XS, labels)
    fitted = make(unlabelled="Unknown").fit(XS, labels)
    assert fitted.classes_.tolist() == [-1, 1]
    assert fitted.score(XS, labels) > 0.8


def test_sparse_counts_of_stated_columns_are_a_table():
    rng = np.random.default_rng(0)
    ys = rng.integers(2, size=60)
    counts = rng.poisson(1 + 4 * np.stack([ys, 1 - ys, ys], 1)).astype(float)
    partial = np.where(np.arange(60) < 20, ys, -1)
    options = {"max_steps": 20, "members": 2, "random_state": 0}
    options["columns"] = ["count", "count", None]
    sparse = SemiSupervisedVAEClassifier(**options).fit(sp.csr_matrix(counts), partial)
    dense = SemiSupervisedVAEClassifier(**options).fit(counts, partial)
    assert list(sparse.columns_["family"])[:2] == ["count", "count"]
    # Rows have other hashes, and so another order: the probabilities differ a little.
    found = sparse.predict_proba(sp.csr_matrix(counts))
    np.testing.assert_allclose(found, dense.predict_proba(counts), atol=0.1)
    np.testing.assert_array_equal(found, sparse.predict_proba(counts))
    words = SemiSupervisedVAEClassifier(**options | {"columns": None})
    assert set(words.fit(sp.csr_matrix(counts), partial).columns_["family"]) == {"word"}

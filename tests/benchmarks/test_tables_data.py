"""Data sets of the comparison on tables: which rows are drawn, which labels, which entries."""

import os

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from benchmarks.tables import data
from pyro_ssl.errors import ConfigError, DataError

# Seven classes, as uneven as those of oils: two have 2 and 3 rows.
YS = np.repeat(np.arange(7), [37, 26, 11, 10, 7, 3, 2])
LEFT = np.array([26, 18, 8, 7, 5, 2, 1])


def counts(ys, rows=slice(None)):
    return np.bincount(ys[rows], minlength=7)


@pytest.mark.parametrize("draw", data.DRAWS)
@pytest.mark.parametrize("labels", [5, 10, 25])
def test_each_class_has_test_rows_and_a_known_label(labels, draw):
    for seed in range(20):
        train, test, partial = data.split(YS, labels, draw, seed)
        np.testing.assert_array_equal(np.sort([*train, *test]), np.arange(len(YS)))
        # 0.3 of each class, but one of two rows and one of three.
        np.testing.assert_array_equal(counts(YS, test), [11, 8, 3, 3, 2, 1, 1])
        known = partial >= 0
        np.testing.assert_array_equal(partial[known], YS[train][known])
        assert set(partial[~known]) <= {-1}
        if draw == "even":
            np.testing.assert_array_equal(counts(partial[known]), np.minimum(labels, LEFT))
        else:
            assert known.sum() == min(7 * labels, LEFT.sum())
            assert counts(partial[known]).min() > 0


def test_random_labels_have_the_shares_of_the_classes():
    ys = np.repeat([0, 1], [900, 100])
    known = np.array([counts(p[p >= 0])[:2] for _, _, p in random_draws(ys, 25)])
    assert (known.sum(1) == 50).all()
    # Hypergeometric: 5 of 50 in the mean; the standard error over 400 draws is below 0.11.
    assert known[:, 1].mean() == pytest.approx(5, abs=0.33)
    assert known[:, 1].std() == pytest.approx(np.sqrt(50 * 0.1 * 0.9 * 650 / 699), rel=0.15)


def random_draws(ys, labels):
    return [data.split(ys, labels, "random", seed) for seed in range(400)]


def test_a_class_that_was_not_drawn_gets_one_label():
    ys = np.repeat([0, 1], [990, 10])
    rare = np.array([counts(p[p >= 0])[1] for _, _, p in random_draws(ys, 5)])
    # Of 10 of 700 rows, 7 of them rare: none is drawn with this probability.
    none = np.prod([(693 - i) / (700 - i) for i in range(10)])
    assert rare.min() == 1
    assert np.mean(rare == 1) > none


def test_a_seed_draws_the_same_rows_and_nested_labels():
    few, more, other = (
        data.split(YS, n, d, 3) for n, d in [(5, "even"), (10, "even"), (5, "random")]
    )
    for rows, same in zip(few[:2], more[:2], strict=True):
        np.testing.assert_array_equal(rows, same)
    np.testing.assert_array_equal(few[0], other[0])
    known = few[2] >= 0
    np.testing.assert_array_equal(more[2][known], few[2][known])
    assert (more[2] >= 0).sum() > known.sum()
    assert not np.array_equal(few[0], data.split(YS, 5, "even", 4)[0])


def test_at_most_three_thousand_training_rows_are_kept():
    ys = np.repeat([0, 1, 2], [7000, 2990, 10])
    train, test, _ = data.split(ys, 5, "even", 0)
    assert len(test) == 3000
    assert len(train) == pytest.approx(3000, abs=2)
    np.testing.assert_array_equal(counts(ys, train)[:3], [2100, 897, 3])
    assert not set(train) & set(test)


@pytest.mark.parametrize(
    ("labels", "draw", "told"), [(0, "even", "labels is 0"), (5, "odd", "odd")]
)
def test_labels_that_cannot_be_drawn(labels, draw, told):
    with pytest.raises(ConfigError, match=told):
        data.split(YS, labels, draw, 0)


def test_entries_are_removed_at_random_from_a_copy():
    frame = pd.DataFrame({"a": range(4000), "b": 0.5, "c": "x"})
    removed = data.remove_entries(frame, 0.3, 1)
    # The standard error of a share of 4,000 is 0.0073.
    assert removed.isna().mean().to_numpy() == pytest.approx(0.3, abs=0.03)
    kept = removed["a"].notna()
    pd.testing.assert_series_equal(removed["a"][kept], frame["a"][kept].astype(float))
    assert not frame.isna().any(axis=None)
    assert data.remove_entries(frame, 0, 1) is frame
    array = data.remove_entries(np.ones((4000, 3)), 0.3, 1)
    np.testing.assert_array_equal(np.isnan(array), removed.isna())
    assert not removed.isna().equals(data.remove_entries(frame, 0.3, 2).isna())


def test_counts_have_no_missing_entries():
    with pytest.raises(ConfigError, match="sparse counts"):
        data.remove_entries(sparse.csr_matrix((2, 2)), 0.3, 0)


def test_tables_are_read_without_rows_whose_label_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PYRO_SSL_DATA", str(tmp_path))
    data.load.cache_clear()
    with pytest.raises(DataError, match=r"scat\.csv\.gz is missing.*PYRO_SSL_DATA"):
        data.load("scat")
    (tmp_path / "tabular").mkdir()
    table = pd.DataFrame({"label": ["b", None, "a", "b"], "x": [1, 2, 3, None], "s": list("uvwx")})
    table.to_csv(tmp_path / "tabular" / "scat.csv.gz", index=False)
    inputs, ys = data.load("scat")
    data.load.cache_clear()
    assert ys.tolist() == [1, 0, 1]
    assert list(inputs.columns) == ["x", "s"]
    assert inputs["s"].tolist() == list("uwx")
    with pytest.raises(ConfigError, match="iris"):
        data.load("iris")


def test_data_sets_are_those_of_scikit_learn():
    inputs, ys = data.load("wine")
    assert inputs.shape == (178, 13)
    assert np.bincount(ys).tolist() == [59, 71, 48]


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("oils", (96, 7), 7), ("leaf_id_flavia", (1907, 58), 32), ("newsgroups", (3648, 2000), 4)],
)
def test_real_data(name, shape, classes):
    root = os.environ.get("PYRO_SSL_DATA", "")
    if not os.path.isdir(os.path.join(root, "tabular")):
        pytest.skip("PYRO_SSL_DATA holds no tables: the real ones are not tested")
    inputs, ys = data.load(name)
    assert inputs.shape == shape
    assert set(ys) == set(range(classes))
    assert len(ys) == shape[0]

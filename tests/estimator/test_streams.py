import copy
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy import stats

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator import SemiSupervisedVAEClassifier, streams
from pyro_ssl.estimator.kept_folds import NOWHERE, deal, folds_of, found_again, numbers_of
from pyro_ssl.estimator.members import make_folds
from pyro_ssl.estimator.reservoir import Reservoir
from pyro_ssl.estimator.warm_start import state_of
from tests.slow import slow

# No classifiers of labelled rows, of which most tests are not.
SHORT = {"members": 2, "max_steps": 40, "min_steps": 20, "random_state": 0, "classifiers": {}}


def numbers(rows, seed=0, labelled=4):
    rng = np.random.default_rng(seed)
    ys = rng.integers(0, 3, rows)
    xs = rng.normal(size=(rows, 4)) + 2.0 * np.eye(3, 4)[ys]
    return xs, ys, np.where(np.arange(rows) % labelled == 0, ys, -1)


def test_reservoir_is_a_uniform_sample():
    capacity, parts, runs = 20, (7, 50, 3, 40), 3000
    counts = np.zeros(sum(parts))
    for seed in range(runs):
        kept = Reservoir(capacity, seed)
        start = 0
        for size in parts:
            kept.add(number=np.arange(start, start + size))
            start += size
            assert len(kept) == len(kept["number"]) == min(start, capacity)
        assert len(np.unique(kept["number"])) == capacity
        counts[kept["number"]] += 1
    share = capacity / sum(parts)
    # Rows of one sample exclude each other, which makes chi squared smaller by 1 - share.
    found = ((counts - runs * share) ** 2 / (runs * share * (1 - share))).sum()
    assert 0.001 < stats.chi2.cdf(found, sum(parts) - 1) < 0.999
    # Every single row within 4.5 standard errors.
    assert np.abs(counts / runs - share).max() < 4.5 * np.sqrt(share * (1 - share) / runs)


def test_reservoir_keeps_rows_together_sparse_ones_too():
    kept = Reservoir(5, 0)
    for start in range(0, 60, 6):
        rows = np.arange(start, start + 6)
        kept.add(a=rows, b=sp.csr_matrix(np.outer(rows, [1, 2])), c=np.outer(rows, [3.0]))
    np.testing.assert_array_equal(kept["b"].toarray(), np.outer(kept["a"], [1, 2]))
    np.testing.assert_array_equal(kept["c"][:, 0], 3.0 * kept["a"])
    assert kept.seen == 60


def test_folds_last_and_new_rows_are_dealt_evenly():
    codes = np.array([0, 0, 0, 1, 1, 2])
    rows = np.arange(6)
    folds = make_folds(codes, 3, 0)
    kept = numbers_of(folds, rows)
    assert kept[5] == NOWHERE
    new = np.array([2, 1, 3, 3, 3, 3, 0])
    dealt = deal(codes, kept, new, 3)
    # The first row of a class is held out nowhere, the next ones in different folds.
    assert dealt[2] == NOWHERE
    assert sorted(dealt[3:6]) == [0, 1, 2]
    assert dealt[1] not in kept[3:5]
    everything, where = np.concatenate([codes, new]), np.concatenate([kept, dealt])
    again = folds_of(where, np.arange(13), everything, 3)
    for number, fold in enumerate(again):
        assert set(everything[fold.kept]) == {0, 1, 2, 3}
        assert set(fold.held_out) == set(np.flatnonzero(where == number))
        assert set(folds[number].held_out) <= set(fold.held_out)


def test_rows_are_found_again_by_their_values():
    old = np.array([[1.0], [np.nan], [3.0]])
    new = np.array([[3.0], [4.0], [np.nan], [1.0]])
    found = found_again(old, np.array([0, 1, 0]), new, np.zeros(4, int), 2)
    assert found.tolist() == [0, 1, 1, 0]


def held_out_by(classifier):
    """Numbers of the member that does not see each labelled row, by the row's first value."""
    kept = classifier._labelled
    return dict(zip(kept["xs"][:, 0].tolist(), kept["folds"].tolist(), strict=True))


@slow
def test_a_stream_comes_near_one_fit():
    xs, _, partial = numbers(1000)
    test_xs, test_ys, _ = numbers(1000, seed=1)
    options = SHORT | {"max_steps": 120, "min_steps": 60}
    whole = SemiSupervisedVAEClassifier(**options).fit(xs, partial).score(test_xs, test_ys)
    stream, before = SemiSupervisedVAEClassifier(**options), {}
    for part in np.split(np.arange(1000), 5):
        classes = [0, 1, 2] if not before else None
        stream.partial_fit(xs[part], partial[part], classes=classes)
        now = held_out_by(stream)
        # No member comes to see a row that it is judged by.
        assert before.items() <= now.items()
        before = now
    assert stream._labelled.seen == 250
    assert stream.decision_.held_out_rows.iloc[0] > 230
    # About 2 standard errors of a difference of accuracies near 0.85.
    assert stream.score(test_xs, test_ys) > whole - 0.03
    assert whole > 0.8


def test_later_parts_start_from_the_present_weights(monkeypatch):
    xs, _, partial = numbers(200)
    stream = SemiSupervisedVAEClassifier(**SHORT).partial_fit(xs[:100], partial[:100], [0, 1, 2])
    before = [{k: v.clone() for k, v in state_of(m).items()} for m in stream.models_]
    scaling = stream.inputs_
    monkeypatch.setattr(stream, "learning_rate", 1e-12)
    stream.partial_fit(xs[100:] * 5, partial[100:])
    assert stream.n_iter_ == round(streams.SHARE * 40)
    assert stream.inputs_ is scaling
    for model, state in zip(stream.models_, before, strict=True):
        for name, value in state_of(model).items():
            torch.testing.assert_close(value, state[name], atol=1e-6, rtol=1e-6)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(streams, "LABELLED_ROWS", 30)
    monkeypatch.setattr(streams, "UNLABELLED_ROWS", 50)
    xs, _, partial = numbers(600, labelled=3)
    stream = SemiSupervisedVAEClassifier(**SHORT)
    for part in np.split(np.arange(600), 3):
        stream.partial_fit(xs[part], partial[part], classes=[0, 1, 2])
        assert len(stream._labelled["xs"]) == 30
        assert len(stream._unlabelled["xs"]) == 50
    assert stream._labelled.seen == 200
    assert stream._unlabelled.seen == 400
    # What is said of the labelled rows goes with them.
    code_of = {x: y for x, y in zip(xs.astype(np.float32)[:, 0], partial, strict=True) if y >= 0}
    raw = stream.inputs_.decode(torch.from_numpy(stream._labelled["xs"]))[:, 0]
    nearest = [min(code_of, key=lambda x: abs(x - value)) for value in raw]
    assert [code_of[x] for x in nearest] == stream._labelled["codes"].tolist()


def test_parts_may_lack_labels_classes_and_known_entries():
    xs, ys, _ = numbers(120)
    frame = pd.DataFrame(xs, columns=list("abcd"))
    frame["kind"] = np.where(xs[:, 0] > 0, "x", "y")
    names = np.array(["p", "q", "r"])[ys]
    stream = SemiSupervisedVAEClassifier(**SHORT, class_weight="balanced")
    two = np.where(names[:60] == "r", None, names[:60])
    stream.partial_fit(frame[:60], two, classes=["r", "q", "p"])
    assert stream.classes_.tolist() == ["p", "q", "r"]
    later = frame[60:90].copy()
    later.loc[60, "kind"] = "new"
    with pytest.warns(UserWarning, match="'kind': 'new'"):
        stream.partial_fit(later, [None] * 30)
    stream.partial_fit(frame[90:], names[90:], sample_weight=np.full(30, 2.0))
    assert set(stream.predict(frame)) == {"p", "q", "r"}
    _, codes, used = stream._taught
    codes, used = codes[codes >= 0], used[codes >= 0]
    assert sorted(set(stream._labelled["weights"])) == [1.0, 2.0]
    plain = stream._labelled["weights"]
    factor = plain.sum() / (3 * np.bincount(codes, plain))
    np.testing.assert_allclose(used, plain * factor[codes])


def test_documents_can_be_streamed():
    rng = np.random.default_rng(0)
    ys = rng.integers(0, 2, 80)
    words = sp.csr_matrix(rng.poisson(0.3 + ys[:, None] * (np.arange(40) < 8)))
    stream = SemiSupervisedVAEClassifier(**SHORT)
    for part in np.split(np.arange(80), 2):
        stream.partial_fit(words[part], np.where(part % 3, -1, ys[part]), classes=[0, 1])
    assert sp.issparse(stream._labelled["xs"])
    assert sp.issparse(stream._unlabelled["xs"])
    assert stream.score(words, ys) > 0.8


def test_a_stream_goes_on_from_fit():
    xs, _, partial = numbers(160)
    one = SemiSupervisedVAEClassifier(**SHORT).fit(xs[:80], partial[:80])
    before = held_out_by(one)
    one.partial_fit(xs[80:], partial[80:])
    assert one._labelled.seen == 40
    assert before.items() <= held_out_by(one).items()
    assert one._unlabelled.seen == 60


def test_what_cannot_be_streamed_is_named():
    xs, _, partial = numbers(60)
    stream = SemiSupervisedVAEClassifier(**SHORT)
    with pytest.raises(DataError, match="classes must be passed on the first call"):
        stream.partial_fit(xs, partial)
    with pytest.raises(DataError, match="labels of 0 classes, expected at least 2 in the first"):
        stream.partial_fit(xs, np.full(60, -1), classes=[0, 1, 2])
    with pytest.raises(DataError, match=r"y has the labels \[2\], expected some of classes"):
        stream.partial_fit(xs, partial, classes=[0, 1])
    stream.partial_fit(xs, partial, classes=[0, 1, 2])
    with pytest.raises(DataError, match="is not the same as on last call to partial_fit"):
        stream.partial_fit(xs, partial, classes=[0, 1])
    with pytest.raises(ConfigError, match="since members is 3, was 2: use fit"):
        stream.set_params(members=3).partial_fit(xs, partial)


def test_warm_start_goes_on_and_keeps_the_scaling():
    xs, _, partial = numbers(120)
    one = SemiSupervisedVAEClassifier(**SHORT, warm_start=True).fit(xs, partial)
    first, scaling, folds = one.history_.loss.iloc[0], one.inputs_, held_out_by(one)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "warm_start")
        one.set_params(random_state=5, max_steps=10).fit(xs[::-1], partial[::-1])
    assert one.inputs_ is scaling
    assert held_out_by(one) == folds
    # Five steps from new weights have a higher loss than 40 had on average.
    cold = SemiSupervisedVAEClassifier(**SHORT | {"max_steps": 10}).fit(xs, partial)
    assert one.history_.loss.iloc[0] < first < cold.history_.loss.iloc[0]


@pytest.fixture(scope="module")
def fitted():
    """A classifier of a table whose first column has whole numbers, and the table."""
    xs, _, partial = numbers(60)
    xs[:, 0] = np.rint(xs[:, 0])
    return SemiSupervisedVAEClassifier(**SHORT, warm_start=True).fit(xs, partial), xs, partial


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"members": 3}, "members is 3, was 2"),
        ({"model": "ccvae"}, "the model is CCVAE, was M2"),
        ({"model_options": {"latent_dim": 3}}, "the model has another latent_dim"),
        ({"columns": {0: "ordinal"}}, "column 0 is ordinal, was real: state it in columns"),
    ],
)
def test_warm_start_says_why_it_starts_anew(fitted, change, words):
    one, xs, partial = copy.deepcopy(fitted)
    with pytest.warns(UserWarning, match=f"warm_start=True, but fit starts anew: {words}"):
        one.set_params(**change).fit(xs, partial)


def test_warm_start_starts_anew_for_other_classes(fitted):
    one, xs, partial = copy.deepcopy(fitted)
    with pytest.warns(UserWarning, match="the classes are .*, were"):
        one.fit(xs, np.where(partial >= 0, partial + 5, -1))
    assert set(one.predict(xs)) <= {5, 6, 7}

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier as SklearnMLP

from pyro_ssl.data import load_dataset
from pyro_ssl.errors import DataError
from pyro_ssl.estimator import M2Classifier

SMALL = {"hidden_dims": (64,), "latent_dim": 5, "epochs": 40, "batch_size": 100, "alpha": 1.0}
# Half of 64 pixels would be too many to drop.
SMALL |= {"input_dropout": 0.2}


@pytest.fixture(scope="module")
def digits():
    dataset = load_dataset("digits")
    arrays = (dataset.train_xs, dataset.train_ys, dataset.test_xs, dataset.test_ys)
    xs, ys, test_xs, test_ys = (a.flatten(1).numpy() if a.ndim > 1 else a.numpy() for a in arrays)
    # Labels need not be 0..K-1.
    names = np.array([100, 3, 5, 7, 9, 11, 13, 15, 17, 19])
    partial = names[ys].copy()
    partial[50:] = -1
    return xs, partial, test_xs, names[test_ys]


def test_unlabelled_rows_help_over_the_labelled_alone(digits):
    xs, ys, test_xs, test_ys = digits
    ours = M2Classifier(**SMALL, validation=0).fit(xs, ys).score(test_xs, test_ys)
    theirs = SklearnMLP((64,), max_iter=500, random_state=0).fit(xs[:50], ys[:50])
    assert ours > theirs.score(test_xs, test_ys)
    assert ours > 0.85


def test_one_unlabelled_row_costs_no_accuracy(digits):
    dataset = load_dataset("digits")
    xs, _, test_xs, test_ys = digits
    names, ys = np.unique(test_ys), dataset.train_ys.numpy()
    labels = np.array([100, *names[:-1]])[ys[:301]]
    assert set(labels) == set(test_ys)
    scores = []
    for rows, last in ((300, labels[299]), (301, -1)):
        partial = labels[:rows].copy()
        partial[-1] = last
        estimator = M2Classifier(**SMALL | {"epochs": 15})
        scores.append(estimator.fit(xs[:rows], partial).score(test_xs, test_ys))
    # Batches of a single labelled row, as many as of unlabelled ones, would end near chance.
    assert scores[1] > 0.8
    assert scores[1] > scores[0] - 0.02


def test_probabilities_belong_to_the_classes(digits):
    xs, ys, test_xs, _ = digits
    fitted = M2Classifier(**SMALL | {"epochs": 2}, validation=10).fit(xs, ys)
    assert fitted.classes_.tolist() == [3, 5, 7, 9, 11, 13, 15, 17, 19, 100]
    proba = fitted.predict_proba(test_xs)
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-5)
    assert (fitted.predict(test_xs) == fitted.classes_[proba.argmax(1)]).all()
    assert fitted.history_.selection == "best validation accuracy"


def test_is_a_scikit_learn_citizen(digits):
    xs, ys, *_ = digits
    estimator = M2Classifier(**SMALL | {"epochs": 1})
    assert clone(estimator).get_params() == estimator.get_params()
    labelled = ys != -1
    assert len(cross_val_score(estimator, xs[labelled], ys[labelled], cv=2)) == 2


def test_nothing_labelled_is_an_error(digits):
    xs, ys, *_ = digits
    with pytest.raises(DataError, match="-1 throughout"):
        M2Classifier().fit(xs, np.full_like(ys, -1))

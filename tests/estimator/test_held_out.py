"""What a classifier says of labelled rows that it holds out."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from pyro_ssl.estimator import SemiSupervisedVAEClassifier

pytestmark = pytest.mark.usefixtures("few_steps")
XS, YS = load_iris(return_X_y=True)
PARTLY = np.where(np.random.default_rng(0).random(150) < 0.2, YS, -1)


def fitted(y=PARTLY, **options):
    linear = {"linear": LogisticRegression(max_iter=500)}
    few = {"max_steps": 3, "min_steps": 1, "members": 3, "random_state": 0}
    return SemiSupervisedVAEClassifier(**{**few, "classifiers": linear, **options}).fit(XS, y)


def test_it_is_the_mixture_of_what_each_candidate_says():
    classifier = fitted()
    found, evidence = classifier.held_out_, classifier._weighing.evidence
    table = classifier.decision_.set_index("candidate")
    assert len(found.codes) == table["held_out_rows"].iloc[0] == (PARTLY >= 0).sum()
    expected = 0
    for name, said in evidence.held_out.items():
        even = (0.999 * said + 0.001 / 3) / evidence.implied[name]
        sharp = even ** (1 / table.loc[name, "temperature"])
        expected += table.loc[name, "weight"] * sharp / sharp.sum(1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-9)
    np.testing.assert_array_equal(found.codes, evidence.codes)


def test_of_a_single_candidate_it_has_the_figures_of_the_decision():
    classifier = fitted(model="m2")
    found = classifier.held_out_
    right = (found.probabilities.argmax(1) == found.codes).mean()
    assert right == pytest.approx(classifier.decision_["accuracy"].iloc[0])


def test_it_is_under_the_class_shares_of_predictions():
    even = fitted().held_out_.probabilities
    shares = np.array([0.7, 0.2, 0.1])
    expected = even * shares / (even * shares).sum(1, keepdims=True)
    found = fitted(class_prior=shares).held_out_.probabilities
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_rows_that_are_alone_in_their_class_are_held_out_nowhere():
    single = np.full(150, -1)
    single[[0, 60, 120]] = YS[[0, 60, 120]]
    found = fitted(single).held_out_
    assert found.codes.shape == (0,)
    assert found.probabilities.shape == (0, 3)


def test_files_do_not_hold_it(tmp_path):
    fitted().save(tmp_path)
    assert SemiSupervisedVAEClassifier.load(tmp_path).held_out_ is None

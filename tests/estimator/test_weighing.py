"""Candidates are judged by rows whose labels they have not seen in any way."""

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading

from pyro_ssl.estimator import Columns, SemiSupervisedVAEClassifier
from pyro_ssl.estimator import weighing as module
from pyro_ssl.estimator.candidates import default_classifiers
from pyro_ssl.estimator.class_members import ClassMembers
from pyro_ssl.estimator.inputs import TableInputs
from pyro_ssl.estimator.members import make_folds
from pyro_ssl.estimator.model_choice import make_models
from pyro_ssl.estimator.weighing import BAYES, Q, Weighing
from pyro_ssl.infer.ensemble import EnsembleConfig

RNG = np.random.default_rng(0)
YS = RNG.integers(0, 2, 60)
XS = RNG.normal(size=(60, 4)) + 1.5 * YS[:, None]
CODES = np.where(np.arange(60) < 20, YS, -1)


def holes():
    rows = XS.copy()
    rows[np.random.default_rng(1).random(rows.shape) < 0.2] = np.nan
    return rows


def judged(codes, folds, monkeypatch):
    """What each candidate says of the labelled rows, by models trained on `codes`."""
    inputs = TableInputs(Columns.infer(holes()))
    xs = inputs.encode(holes())
    models = make_models("auto", inputs, 2, {}, range(len(folds)), torch.device("cpu"))
    members = ClassMembers(models, folds)
    weights = np.ones(60)
    members.fit(xs, codes, weights, EnsembleConfig(max_steps=30, min_steps=30))
    for model in models:
        model.double()
    kept = {}

    def spy(said, *others):
        kept.update(said)
        return real(said, *others)

    real = module.decide
    given = default_classifiers(60, None, 0)
    with monkeypatch.context() as patched:
        patched.setattr(module, "decide", spy)
        weighing = Weighing(members, inputs, given, True, 0).fit(xs.double(), codes, weights)
    return kept, weighing, xs.double()


def test_what_is_said_of_a_row_does_not_depend_on_its_label(monkeypatch):
    folds = make_folds(CODES, 3, 0)
    first = judged(CODES, folds, monkeypatch)[0]
    assert list(first) == [Q, BAYES, "logistic regression", "random forest", "label spreading"]
    row = folds[1].held_out[0]
    other = CODES.copy()
    other[row] = 1 - other[row]
    second = judged(other, folds, monkeypatch)[0]
    for name, said in first.items():
        np.testing.assert_array_equal(said[row], second[name][row])
        # The other rows' candidates have seen it.
        assert not np.array_equal(said, second[name])


def test_the_mixture_is_that_of_the_candidates(monkeypatch):
    _, weighing, xs = judged(CODES, make_folds(CODES, 3, 0), monkeypatch)
    said, decision = weighing.say(xs), weighing.decision
    assert set(said) == set(decision.names)
    for each in said.values():
        np.testing.assert_allclose(each.sum(1), 1, rtol=1e-6)
    mixed = sum(
        w * c(said[n])
        for n, c, w in zip(decision.names, decision.calibrations, decision.weights, strict=True)
    )
    np.testing.assert_allclose(weighing.mix(xs), mixed)
    preferred = decision.table.set_index("candidate")["preference"]
    assert preferred[[Q, BAYES]].sum() == preferred["label spreading"] == 2
    assert preferred["random forest"] == preferred["logistic regression"] == 6


def test_missing_entries_are_filled_in_by_expectation(monkeypatch):
    _, weighing, xs = judged(CODES, make_folds(CODES, 3, 0), monkeypatch)
    fills = weighing.members.fills(xs, [False] * 4)
    known = ~xs.isnan().numpy()
    for fill in fills:
        np.testing.assert_array_equal(fill[known], xs.numpy()[known])
    # By hand, for one model and row.
    row = int(np.flatnonzero(~known.all(1))[0])
    model, one = weighing.members.models[0], xs[row : row + 1]
    with torch.no_grad():
        shares = model.class_logits(one).softmax(-1)[0]
        means = []
        for label in range(2):
            ys = torch.tensor([label])
            loc = model._q_z(model._encoded(one), ys).base_dist.loc
            means.append(model._mean_of(model._outputs(loc, ys))[0])
    expected = (shares[0] * means[0] + shares[1] * means[1]).numpy()
    np.testing.assert_allclose(fills[0][row][~known[row]], expected[~known[row]], rtol=1e-9)


@pytest.mark.parametrize("given", [{}, {"bayes": GaussianNB()}])
def test_given_classifiers_are_all_there_are(given, few_steps):
    options = {"max_steps": 10, "members": 2, "random_state": 0}
    fitted = SemiSupervisedVAEClassifier(classifiers=given, **options).fit(XS, CODES)
    assert list(fitted.decision_["candidate"]) == [Q, BAYES, *given]


def test_semi_supervised_classifiers_learn_from_all_rows(few_steps):
    spread = make_pipeline(StandardScaler(), LabelSpreading(kernel="knn", n_neighbors=5))
    options = {"max_steps": 10, "members": 2, "random_state": 0}
    fitted = SemiSupervisedVAEClassifier(classifiers={"mine": spread}, **options).fit(XS, CODES)
    taught = fitted._weighing.propagated["mine"].fitted[-1]
    assert len(taught.transduction_) == 60
    assert list(fitted.decision_["candidate"]) == [Q, BAYES, "mine"]


def test_classes_of_few_rows_are_no_cause_for_a_warning(recwarn):
    codes = np.array([0] * 8 + [1] * 2 + [-1] * 5)
    assert len(make_folds(codes, 5, 0)) == 5
    assert not recwarn.list

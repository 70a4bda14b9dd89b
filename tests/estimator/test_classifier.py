"""`SemiSupervisedVAEClassifier` among scikit-learn's tools, its parameters and its course."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from pyro_ssl.errors import ConfigError
from pyro_ssl.estimator import SemiSupervisedSplit, SemiSupervisedVAEClassifier
from pyro_ssl.estimator.members import make_folds
from pyro_ssl.estimator.rows import row_hashes, training_rows

few_steps = pytest.mark.usefixtures("few_steps")
XS, YS = load_iris(return_X_y=True)
PARTLY = np.where(np.random.default_rng(0).random(150) < 0.2, YS, -1)


def make(**options):
    defaults = {"max_steps": 3, "min_steps": 1, "members": 2, "random_state": 0}
    linear = {"linear": LogisticRegression(max_iter=500)}
    return SemiSupervisedVAEClassifier(**{**defaults, "classifiers": linear, **options})


def test_learns_and_tells_its_course():
    fitted = make(classifiers=None, max_steps=150, min_steps=100).fit(XS, PARTLY)
    unknown = PARTLY < 0
    assert fitted.score(XS[unknown], YS[unknown]) > 0.8
    assert fitted.n_iter_ == fitted.history_["step"].iloc[-1] == 150
    assert fitted.termination_condition_ == "max_steps"
    assert fitted.history_["loss"].iloc[-1] < fitted.history_["loss"].iloc[0]
    assert fitted.decision_["weight"].sum() == pytest.approx(1)
    assert len(fitted.columns_) == fitted.n_features_in_ == 4
    assert not hasattr(fitted, "feature_names_in_")
    assert not hasattr(make(), "decision_")


@few_steps
def test_unknown_rows_do_not_count_in_scores():
    fitted = make().fit(XS, PARTLY)
    known = PARTLY >= 0
    expected = (fitted.predict(XS[known]) == PARTLY[known]).mean()
    assert fitted.score(XS, PARTLY) == pytest.approx(expected)
    weights = np.random.default_rng(1).random(150)
    right = fitted.predict(XS)[known] == PARTLY[known]
    weighted = (weights[known] * right).sum() / weights[known].sum()
    assert fitted.score(XS, PARTLY, weights) == pytest.approx(weighted)
    # By construction at most a fifth, if unknown rows counted as errors.
    assert (cross_val_score(make(), XS, PARTLY, cv=SemiSupervisedSplit(3)) > 0.7).all()
    assert (cross_val_score(make(), XS, PARTLY, cv=3) > 0.7).all()


@few_steps
def test_a_grid_of_steps_is_searched():
    splits = SemiSupervisedSplit(2, random_state=0)
    search = GridSearchCV(make(), {"max_steps": [1, 4]}, cv=splits).fit(XS, PARTLY)
    assert search.best_params_["max_steps"] in (1, 4)
    assert search.best_estimator_.n_iter_ == search.best_params_["max_steps"]
    assert search.best_score_ > 0.7


@few_steps
def test_works_in_a_pipeline():
    pipeline = make_pipeline(MinMaxScaler(), make()).set_output(transform="pandas")
    pipeline.fit(pd.DataFrame(XS, columns=list("abcd")), PARTLY)
    table = pd.DataFrame(XS, columns=list("abcd"))
    assert (pipeline.predict(table) == YS).mean() > 0.8
    latents = pipeline.transform(table)
    names = [f"semisupervisedvaeclassifier{n}" for n in range(latents.shape[1])]
    assert latents.columns.tolist() == pipeline.get_feature_names_out().tolist() == names
    again = pickle.loads(pickle.dumps(pipeline))
    assert (again.predict_proba(table) == pipeline.predict_proba(table)).all()


@pytest.mark.parametrize("recorded", [True, False])
def test_equal_seeds_give_equal_predictions(recorded, request):
    if not recorded:
        request.getfixturevalue("few_steps")
    # The forest has no seed of its own.
    options = {"classifiers": {"forest": RandomForestClassifier(5)}, "max_steps": 5}
    first = make(**options, random_state=7).fit(XS, PARTLY).predict_proba(XS)
    np.random.seed(3)
    again = clone(make(**options, random_state=7)).fit(XS, PARTLY).predict_proba(XS)
    assert (first == again).all()
    if recorded:
        return
    state = np.random.RandomState
    same = [make(**options, random_state=state(7)).fit(XS, PARTLY) for _ in range(2)]
    assert (same[0].predict_proba(XS) == same[1].predict_proba(XS)).all()


@few_steps
def test_no_seed_and_other_seeds_give_other_predictions():
    found = [make(random_state=s).fit(XS, PARTLY).predict_proba(XS) for s in (None, None, 0, 1)]
    for n, one in enumerate(found):
        for other in found[:n]:
            assert np.abs(one - other).max() > 1e-4


@few_steps
@pytest.mark.parametrize("model", ["auto", "m1m2", "rao_blackwell", "ccvae"])
def test_a_rows_prediction_depends_on_no_other_and_on_no_generator(model):
    fitted = make(model=model).fit(XS, PARTLY)
    expected = fitted.predict_proba(XS)
    bounds = fitted.score_samples(XS)
    np.random.seed(1)
    order = np.random.permutation(150)[:40]
    np.testing.assert_allclose(fitted.predict_proba(XS[order]), expected[order], rtol=1e-9)
    np.testing.assert_allclose(fitted.score_samples(XS[order]), bounds[order], rtol=1e-9)


@few_steps
def test_the_order_of_rows_makes_no_difference():
    order = np.random.default_rng(0).permutation(150)
    found = make().fit(XS[order], PARTLY[order]).predict_proba(XS)
    assert (found == make().fit(XS, PARTLY).predict_proba(XS)).all()


@few_steps
@pytest.mark.parametrize("kind", ["array", "frame"])
def test_whole_weights_are_rows_repeated(kind):
    weights = np.random.default_rng(2).integers(0, 3, 150)
    rows = XS if kind == "array" else pd.DataFrame(XS).assign(name=np.array(list("xyz"))[YS])
    rows = rows if kind == "array" else rows.rename(columns=str)
    weighted = make().fit(rows, PARTLY, weights)
    places = np.repeat(np.arange(150), weights)
    repeated = rows[places] if kind == "array" else rows.iloc[places]
    expected = make().fit(repeated, PARTLY[places]).predict_proba(rows)
    assert (weighted.predict_proba(rows) == expected).all()
    assert np.abs(make().fit(rows, PARTLY).predict_proba(rows) - expected).max() > 1e-3


@few_steps
def test_weights_without_a_whole_number_of_copies():
    weights = np.where(YS == 0, 0.25, 1.5)
    fitted = make().fit(XS, PARTLY, weights)
    assert np.abs(fitted.predict_proba(XS) - make().fit(XS, PARTLY).predict_proba(XS)).max() > 1e-3
    # Rows without weight are left out, and so are their classes.
    rows = training_rows(XS, YS, np.arange(3), np.where(YS == 1, 0.0, 0.5))
    assert rows.classes.tolist() == [0, 2]
    assert np.bincount(rows.codes).tolist() == [50, 50]
    assert (rows.weights == 0.5).all()


def test_what_all_rows_repeat_is_left_out():
    distinct = len(np.unique(row_hashes(XS)))
    assert distinct == 149
    for weights in (None, np.full(150, 6)):
        rows = training_rows(XS, YS, np.arange(3), weights)
        assert len(rows.codes) == 150
        assert rows.groups.max() == distinct - 1
    rows = training_rows(np.repeat(XS[:100], 3, 0), np.repeat(YS[:100], 3), np.arange(3), None)
    assert len(rows.codes) == 100


def test_copies_are_held_out_together():
    codes = np.array([0, 0, 0, 1, 1, 1, 0, 1, -1, -1])
    groups = np.array([0, 0, 1, 2, 3, 3, 4, 5, 6, 6])
    folds = make_folds(codes, 3, 0, groups)
    for fold in folds:
        assert not set(groups[fold.kept]) & set(groups[fold.held_out])
        assert sorted([*fold.kept, *fold.held_out]) == list(range(8))
    assert sorted(np.concatenate([fold.held_out for fold in folds])) == list(range(8))


@few_steps
def test_class_weights_are_costs():
    plain = make().fit(XS, PARTLY).predict_proba(XS)
    assert plain[:, 0].mean() < 0.6
    assert (make(class_weight={0: 1e6}).fit(XS, PARTLY).predict(XS) == 0).all()
    balanced = make(class_weight="balanced").fit(XS, PARTLY)
    assert balanced.score(XS, YS) > 0.7


@few_steps
def test_class_prior_is_that_of_predictions():
    fitted = make().fit(XS, PARTLY)
    even = fitted.predict_proba(XS)
    shares = np.array([0.7, 0.2, 0.1])
    found = fitted.set_params(class_prior=shares).predict_proba(XS)
    usual = fitted._less_certain(even, shares, fitted._encoded(XS)) == even
    expected = even * shares / (even * shares).sum(1, keepdims=True)
    rows = usual.all(1)
    assert rows.sum() > 100
    np.testing.assert_allclose(found[rows], expected[rows], rtol=1e-9)


WRONG = {
    "model": ["m3", 5, int],
    "class_prior": ["even", [1, 2], [1, 2, 0], None],
    "class_weight": ["even", {0: -1}, 3],
    "classifiers": [LogisticRegression()],
    "members": [0, 2.5, True, None],
    "model_options": [[1]],
    "max_steps": [0, 10.0],
    "min_steps": [-1],
    "batch_size": [0, "all"],
    "learning_rate": [0, -1.0, np.inf, "auto"],
    "device": ["gpu", None],
    "n_jobs": [0, "all"],
    "verbose": [-1, "yes"],
    "random_state": ["zero"],
}


@few_steps
@pytest.mark.parametrize(("name", "value"), [(n, v) for n, each in WRONG.items() for v in each])
def test_wrong_parameters_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name if name != "random_state" else "seed"):
        make(**{name: value}).fit(XS, PARTLY)


def test_classifiers_without_probabilities_are_refused():
    from sklearn.svm import LinearSVC

    with pytest.raises(ConfigError, match=r"expected classifiers with predict_proba: wrap it in"):
        make(classifiers={"svm": LinearSVC()}, max_steps=1).fit(XS, PARTLY)


@few_steps
def test_progress_is_shown_if_asked_for(capfd):
    make(max_steps=4).fit(XS, PARTLY)
    assert capfd.readouterr() == ("", "")
    steps = make(max_steps=4, verbose=1).fit(XS, PARTLY).n_iter_
    out, err = capfd.readouterr()
    assert out == ""
    assert f"{steps}/{steps}" in err


PARALLEL = """
import os, torch
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from pyro_ssl.estimator import SemiSupervisedVAEClassifier

X, y = load_iris(return_X_y=True)

def threads(estimator, X, y):
    return torch.get_num_threads()

if __name__ == "__main__":
    one = SemiSupervisedVAEClassifier(max_steps=2, members=1, classifiers={}, random_state=0)
    found = cross_val_score(one, X, y, cv=2, n_jobs=2, scoring=threads)
    assert (found <= max(1, os.cpu_count() // 2)).all(), found
"""


def test_processes_of_cross_validation_share_the_cores(tmp_path):
    script = tmp_path / "parallel.py"
    script.write_text(PARALLEL)
    plain = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    path = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, script], check=True, env={**plain, "PYTHONPATH": path})


def test_the_example_of_the_docstring_runs():
    import doctest

    from pyro_ssl.estimator import classifier

    globs = {"SemiSupervisedVAEClassifier": SemiSupervisedVAEClassifier}
    [test] = [
        t
        for t in doctest.DocTestFinder(recurse=True).find(SemiSupervisedVAEClassifier, globs=globs)
        if t.examples
    ]
    assert doctest.DocTestRunner().run(test).failed == 0
    assert classifier.__doc__

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.utils.estimator_checks import check_estimator

from pyro_ssl.errors import CheckpointError, ConfigError, DataError
from pyro_ssl.estimator import SemiSupervisedVAEClassifier, SemiSupervisedVAERegressor
from pyro_ssl.models import M2, RegressionM2
from tests.estimator.regression.conftest import SMALL, table

pytestmark = pytest.mark.usefixtures("few_steps")


@pytest.fixture(scope="module")
def data():
    frame, ys = table()
    known = ys.copy()
    known[25:] = np.nan
    return frame, ys, known


@pytest.fixture
def fitted(data, regressor):
    return regressor.fit(data[0], data[2])


def test_passes_scikit_learns_checks():
    quick = SMALL | {"max_steps": 2, "min_steps": 1}
    estimator = SemiSupervisedVAERegressor(**quick, regressors={"line": Ridge()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # None is expected to fail.
        results = check_estimator(estimator, on_skip=None)
    assert sum(result["status"] == "passed" for result in results) > 45


def test_predicts_in_the_units_of_the_labels(data, fitted):
    frame, ys, known = data
    mean, deviation = fitted.predict(frame, return_std=True)
    np.testing.assert_array_equal(mean, fitted.predict(frame))
    assert fitted.score(frame, ys) > 0.3
    # Rows whose label is unknown do not count.
    assert fitted.score(frame, known) == fitted.score(frame[:25], ys[:25])
    assert 0.6 < np.std((ys - mean) / deviation) < 1.4
    scaling = fitted.scaling_
    assert (scaling.mean, scaling.deviation) == pytest.approx((ys[:25].mean(), ys[:25].std()))
    with pytest.raises(DataError, match="no known label"):
        fitted.score(frame, np.full(60, np.nan))


def test_units_of_the_labels_make_no_difference(data, regressor, fitted):
    frame, _, known = data
    other = clone(regressor).fit(frame, -1000 + 0.01 * known)
    mean, deviation = fitted.predict(frame, return_std=True)
    scaled = other.predict(frame, return_std=True)
    np.testing.assert_allclose(scaled[0], -1000 + 0.01 * mean, atol=2e-3)
    np.testing.assert_allclose(scaled[1], 0.01 * deviation, rtol=2e-2)
    ratio = other.decision_["rmse"] / fitted.decision_["rmse"]
    np.testing.assert_allclose(ratio, 0.01, rtol=2e-2)


def test_unknown_is_none_or_nan_and_order_makes_no_difference(data, regressor, fitted):
    frame, _, known = data
    order = np.random.default_rng(0).permutation(len(frame))
    labels = [None if np.isnan(v) else v for v in known[order]]
    again = clone(regressor).fit(frame.iloc[order], labels)
    np.testing.assert_array_equal(again.predict(frame), fitted.predict(frame))


def test_unlabelled_rows_are_learnt_from(data, regressor, fitted):
    frame, _, known = data
    alone = clone(regressor).fit(frame[:25], known[:25])
    assert not np.allclose(
        alone.models_[0].regressor.layers[0].weight.detach().numpy(),
        fitted.models_[0].regressor.layers[0].weight.detach().numpy(),
    )


def test_decision_shows_what_each_candidate_is_worth(data, regressor, fitted):
    decision = fitted.decision_
    assert decision["candidate"].tolist() == ["q(y|x)", "p(y|x)", "line"]
    assert decision["weight"].sum() == pytest.approx(1)
    assert (decision["held_out_rows"] == 25).all()
    defaults = clone(regressor).set_params(regressors=None).fit(*[part[:30] for part in data[::2]])
    names = ["ridge", "random forest", "Gaussian process"]
    assert defaults.decision_["candidate"].tolist() == ["q(y|x)", "p(y|x)", *names]
    named = clone(regressor).set_params(model="m2").fit(*data[::2])
    assert named.decision_["candidate"].tolist() == ["q(y|x)"]


def test_no_candidate_has_seen_the_rows_it_is_weighed_by(regressor):
    # Labels are noise: whoever has seen one reproduces it.
    class Lookup(Ridge):
        def fit(self, X, y, sample_weight=None):  # noqa: N803
            self.known = {row.tobytes(): label for row, label in zip(X, y, strict=True)}
            return self

        def predict(self, X):  # noqa: N803
            return np.array([self.known.get(row.tobytes(), 9.0) for row in X])

    rng = np.random.default_rng(0)
    xs, ys = rng.standard_normal((40, 3)), rng.standard_normal(40)
    regressor.set_params(regressors={"lookup": Lookup()}).fit(xs, ys)
    rows = regressor._weighing.evidence[0]["lookup"]
    np.testing.assert_array_equal(rows[:, 0], 9.0)


def test_latents_completions_and_bounds(data, fitted):
    frame, ys, _ = data
    assert fitted.transform(frame).shape == (60, fitted.transform_dim_)
    assert len(fitted.get_feature_names_out()) == fitted.transform_dim_
    whole = fitted.impute(frame)
    assert not whole.isna().any(axis=None)
    there = frame.notna()
    pd.testing.assert_frame_equal(whole.where(there), frame, check_dtype=False)
    assert set(whole["kind"]) == {"big", "small"}
    bounds, joint = fitted.score_samples(frame), fitted.score_samples(frame, ys)
    assert np.isfinite(bounds).all()
    assert np.isfinite(joint).all()
    # Far-off labels are less likely; the label's own unit counts.
    assert (fitted.score_samples(frame, ys + 500) < joint).all()
    odd = frame.assign(size=50.0)
    assert fitted.novelty(odd).mean() > fitted.novelty(frame).mean()
    with pytest.raises(DataError, match="all of them known"):
        fitted.score_samples(frame, np.where(np.arange(60) == 3, np.nan, ys))


def test_pickle_clone_and_repeats_predict_the_same(data, regressor, fitted):
    frame, _, known = data
    wanted = fitted.predict(frame, return_std=True)
    for other in (pickle.loads(pickle.dumps(fitted)), clone(regressor).fit(frame, known)):
        np.testing.assert_array_equal(other.predict(frame, return_std=True), wanted)
    assert len(fitted.history_) >= 1
    assert fitted.n_iter_ == 20
    different = clone(regressor).set_params(random_state=1).fit(frame, known)
    assert not np.array_equal(different.predict(frame), wanted[0])


def test_models_of_your_own(data, regressor):
    frame, _, known = data

    class Mine(RegressionM2):
        pass

    mine = clone(regressor).set_params(model=Mine).fit(frame, known)
    assert type(mine.model_) is Mine
    like = clone(regressor).set_params(model=mine.model_, model_options=None).fit(frame, known)
    assert like.model_.options == mine.model_.options
    for model in ("ccvae", M2, 5):
        with pytest.raises(ConfigError, match="class of models of real labels"):
            clone(regressor).set_params(model=model).fit(frame, known)


def test_odd_parameters_and_labels_are_refused(data, regressor):
    frame, ys, _ = data
    with pytest.raises(ConfigError, match="regressors is 3"):
        clone(regressor).set_params(regressors=3).fit(frame, ys)
    wrong = {"classes": LogisticRegression()}
    with pytest.raises(ConfigError, match="expected regressors"):
        clone(regressor).set_params(regressors=wrong).fit(frame, ys)
    with pytest.raises(DataError, match="n_samples = 1 known"):
        clone(regressor).fit(frame, np.where(np.arange(60) == 0, ys, np.nan))


@pytest.mark.parametrize("ys", [[1.0, 2.0], [5.0, 5.0, 5.0]])
def test_few_or_equal_labels_are_enough(ys, regressor):
    frame, _ = table(20)
    labels = np.r_[ys, np.full(20 - len(ys), np.nan)]
    mean, deviation = regressor.fit(frame, labels).predict(frame, return_std=True)
    assert np.isfinite(mean).all()
    assert (deviation > 0).all()


def test_folders_hold_it_whole(data, regressor, tmp_path):
    frame, ys, known = data
    fitted = regressor.set_params(regressors=None).fit(frame, known)
    fitted.save(tmp_path / "model")
    again = SemiSupervisedVAERegressor.load(tmp_path / "model")
    assert again.get_params() == fitted.get_params()
    for name in ("transform", "score_samples", "novelty"):
        np.testing.assert_array_equal(getattr(again, name)(frame), getattr(fitted, name)(frame))
    both = (one.predict(frame, return_std=True) for one in (again, fitted))
    np.testing.assert_array_equal(*both)
    pd.testing.assert_frame_equal(again.impute(frame), fitted.impute(frame))
    pd.testing.assert_frame_equal(again.decision_, fitted.decision_)
    assert again.scaling_ == fitted.scaling_
    assert again.score(frame, ys) == fitted.score(frame, ys)
    assert list(again.feature_names_in_) == list(frame)
    again.save(tmp_path / "again")
    with pytest.raises(CheckpointError, match="'pyro_ssl regressor 1', expected pyro_ssl classif"):
        SemiSupervisedVAEClassifier.load(tmp_path / "model")


def test_cross_validation_counts_known_labels_alone(data, regressor):
    frame, _, known = data
    folds = KFold(3, shuffle=True, random_state=0)
    scores = cross_val_score(regressor, frame, known, cv=folds)
    assert np.isfinite(scores).all()
    train, test = next(folds.split(frame))
    first = clone(regressor).fit(frame.iloc[train], known[train])
    assert scores[0] == pytest.approx(first.score(frame.iloc[test], known[test]))

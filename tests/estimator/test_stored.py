import copy
import json
import pickle
import shutil

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from torch import nn

import pyro_ssl.files
from pyro_ssl.errors import CheckpointError, ConfigError, ResultsError
from pyro_ssl.estimator import SemiSupervisedVAEClassifier
from pyro_ssl.estimator.stored_supervised import supervised_of
from pyro_ssl.models import M2

SHORT = {"members": 2, "max_steps": 40, "min_steps": 20, "random_state": 0}


def numbers(rows, columns, seed=0):
    rng = np.random.default_rng(seed)
    ys = rng.integers(0, 3, rows)
    xs = rng.normal(size=(rows, columns)) + 1.5 * np.eye(3, columns)[ys]
    return xs, np.where(np.arange(rows) < rows // 4, ys, -1)


@pytest.fixture(scope="module")
def table():
    xs, ys = numbers(160, 3)
    frame = pd.DataFrame(xs, columns=["a", "b", "c"])
    frame["kind"] = np.where(xs[:, 0] > 0, "warm", "cold")
    frame["count"] = np.random.default_rng(1).poisson(3 + 4 * (xs[:, 1] > 0))
    frame["when"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(160), unit="D")
    frame.loc[::7, ["a", "kind"]] = np.nan
    labels = np.array(["no", "maybe", "yes", None], dtype=object)[ys]
    return frame, labels


@pytest.fixture(scope="module")
def fitted(table):
    return SemiSupervisedVAEClassifier(**SHORT, class_prior="estimated").fit(*table)


def same(one, other, rows):
    """Check that all methods of two classifiers return the same to the last bit."""
    for name in ("predict_proba", "predict", "transform", "score_samples", "novelty"):
        np.testing.assert_array_equal(getattr(one, name)(rows), getattr(other, name)(rows), name)
    drawn = [c.sample(n=7, random_state=1) for c in (one, other)]
    filled = [c.impute(rows) for c in (one, other)]
    means = [c.reconstruct(rows) for c in (one, other)]
    decoded = [c.inverse_transform(c.transform(rows)) for c in (one, other)]
    for pair in (drawn, filled, means, decoded):
        if isinstance(pair[0], pd.DataFrame):
            pd.testing.assert_frame_equal(*pair, check_exact=True)
        else:
            np.testing.assert_array_equal(*(p.toarray() if sp.issparse(p) else p for p in pair))
    pd.testing.assert_frame_equal(one.decision_, other.decision_, check_exact=True)
    pd.testing.assert_frame_equal(one.history_, other.history_, check_exact=True)
    assert one.classes_.dtype == other.classes_.dtype


@pytest.mark.filterwarnings("ignore:entries that the columns")
def test_a_table_is_the_same_after_load(fitted, table, tmp_path):
    fitted.save(tmp_path / "kept")
    again = SemiSupervisedVAEClassifier.load(tmp_path / "kept")
    rows = table[0].iloc[:60].copy()
    # Rows unlike those of training are told by the bounds kept.
    rows.loc[0, "b"], rows.loc[1, "kind"] = 40.0, "hot"
    same(fitted, again, rows)
    assert again.get_params() == fitted.get_params()
    assert again.feature_names_in_.tolist() == table[0].columns.tolist()
    assert again.n_iter_ == fitted.n_iter_
    assert again.score(*table) == fitted.score(*table)
    pd.testing.assert_frame_equal(again.columns_, fitted.columns_)


def test_documents_are_the_same_after_load(tmp_path):
    rng = np.random.default_rng(0)
    ys = rng.integers(0, 2, 80)
    words = sp.csr_matrix(rng.poisson(0.3 + ys[:, None] * (np.arange(40) < 8)))
    given = {"trees": ExtraTreesClassifier(5, random_state=1)}
    one = SemiSupervisedVAEClassifier(**SHORT, classifiers=given)
    one.fit(words, np.where(np.arange(80) < 30, ys, -1)).save(tmp_path)
    again = SemiSupervisedVAEClassifier.load(tmp_path)
    np.testing.assert_array_equal(one.predict_proba(words), again.predict_proba(words))
    np.testing.assert_array_equal(one.novelty(words), again.novelty(words))
    assert again.classifiers["trees"].n_estimators == 5


@pytest.mark.parametrize("model", ["m1m2", "ccvae", "rao_blackwell"])
def test_other_models_are_the_same_after_load(model, tmp_path):
    xs, ys = numbers(60, 4)
    one = SemiSupervisedVAEClassifier(model, **SHORT).fit(xs, ys)
    one.save(tmp_path)
    same(one, SemiSupervisedVAEClassifier.load(tmp_path), xs)


def test_a_stream_goes_on_after_load(tmp_path):
    xs, ys = numbers(120, 3)
    one = SemiSupervisedVAEClassifier(**SHORT).partial_fit(xs[:60], ys[:60], [0, 1, 2])
    one.save(tmp_path)
    again = SemiSupervisedVAEClassifier.load(tmp_path)
    for classifier in (one, again):
        classifier.partial_fit(xs[60:], ys[60:])
    np.testing.assert_array_equal(one.predict_proba(xs), again.predict_proba(xs))


@pytest.mark.parametrize("way", ["pickle", "joblib", "deepcopy"])
def test_other_copies_are_the_same(fitted, table, way, tmp_path):
    if way == "deepcopy":
        again = copy.deepcopy(fitted)
    elif way == "pickle":
        again = pickle.loads(pickle.dumps(fitted))
    else:
        joblib.dump(fitted, tmp_path / "file")
        again = joblib.load(tmp_path / "file")
    same(fitted, again, table[0].iloc[:40])


def test_files_are_small(tmp_path):
    xs, ys = numbers(500, 30)
    one = SemiSupervisedVAEClassifier(**SHORT | {"members": 5}).fit(xs, ys)
    one.save(tmp_path)
    weights = sum(p.numel() for m in one.models_ for p in m.parameters())
    # Float32, and of 125 labelled rows three forms.
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) < 4 * weights + 400_000 < 5e6
    forest = len(pickle.dumps(supervised_of(one._weighing)))
    # Float64, each weight once.
    assert len(pickle.dumps(one)) < 8 * weights + forest + 600_000


class Wide(M2):
    """A user's model."""

    def __init__(self, factor=2, **options):
        super().__init__(**options | {"hidden_dims": (8 * factor,)})
        self.factor = factor


def test_models_of_your_own_are_given_again(tmp_path):
    xs, ys = numbers(60, 4)
    one = SemiSupervisedVAEClassifier(Wide, **SHORT, model_options={"factor": 3}).fit(xs, ys)
    one.save(tmp_path)
    with pytest.raises(CheckpointError, match=r"SemiSupervisedVAEClassifier.load\(path, model_c"):
        SemiSupervisedVAEClassifier.load(tmp_path)
    again = SemiSupervisedVAEClassifier.load(tmp_path, model_class=Wide)
    assert again.model is Wide
    assert again.model_options == {"factor": 3}
    same(one, again, xs)


def test_networks_of_your_own_are_given_again(tmp_path):
    xs, ys = numbers(60, 4)
    # Beside its value each column says whether it is known.
    options = {"classifier": nn.Linear(8, 3)}
    one = SemiSupervisedVAEClassifier("m2", **SHORT, model_options=options).fit(xs, ys)
    one.save(tmp_path)
    with pytest.raises(ConfigError, match=r"VAEClassifier.load\(path, classifier=Linear"):
        SemiSupervisedVAEClassifier.load(tmp_path)
    again = SemiSupervisedVAEClassifier.load(tmp_path, classifier=nn.Linear(8, 3))
    np.testing.assert_array_equal(one.predict_proba(xs), again.predict_proba(xs))
    # Each member has trained a network of its own.
    first, second = (m.classifier.network.weight for m in again.models_)
    assert not np.allclose(first.detach(), second.detach(), atol=1e-3)


class Mine(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):  # noqa: N803
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):  # noqa: N803
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (Mine(), "Mine, expected classes of scikit-learn alone.*joblib"),
        (make_pipeline(Mine()), "Mine, expected classes of scikit-learn alone"),
        (ExtraTreesClassifier(3), "give it a random_state, or keep the whole by joblib"),
        (make_pipeline(DummyClassifier(), memory="folder"), "has memory='folder', expected None"),
    ],
)
def test_classifiers_that_cannot_be_fitted_again_are_refused(
    fitted, estimator, words, tmp_path, monkeypatch
):
    # A pipeline's memory is a folder in the current one.
    monkeypatch.chdir(tmp_path)
    one = copy.deepcopy(fitted)
    one._weighing.supervised["random forest"].estimator = estimator
    with pytest.raises(ConfigError, match=words):
        one.save(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_estimators_in_pipelines_keep_their_parameters(fitted, tmp_path):
    one = copy.deepcopy(fitted)
    imputer = SimpleImputer(missing_values=np.nan, strategy="median")
    one.classifiers = {"guess": make_pipeline(imputer, DummyClassifier(constant=("a", 1)))}
    one.save(tmp_path)
    again = SemiSupervisedVAEClassifier.load(tmp_path).classifiers["guess"]
    assert again.steps[0][1].strategy == "median"
    assert np.isnan(again.steps[0][1].missing_values)
    assert again.steps[1][1].constant == ("a", 1)


def changed(folder, **values):
    """Change values of a folder, which is then like those of before there was a SHA-256 of them."""
    file = folder / "model.json"
    there = json.loads(file.read_text()) | values
    del there["sha256_of_values"]
    file.write_text(json.dumps(there))


def test_damaged_and_foreign_folders_are_named(fitted, tmp_path):
    fitted.save(tmp_path / "whole")

    def refused(words, change):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "copy")
        change(tmp_path / "copy")
        with pytest.raises(CheckpointError, match=words):
            SemiSupervisedVAEClassifier.load(tmp_path / "copy")

    def shorten(file):
        file.write_bytes(file.read_bytes()[:-100])

    refused("there is no .*model.json", shutil.rmtree)
    refused("truncated or not our file", lambda f: shorten(f / "model.json"))
    refused("truncated or damaged: its SHA-256", lambda f: shorten(next(f.glob("*.npz"))))
    refused("cannot be read", lambda f: next(f.glob("*.npz")).unlink())
    refused("up to 1: upgrade pyro_ssl", lambda f: changed(f, format="pyro_ssl classifier 2"))
    refused("has the format None", lambda f: changed(f, format=None))
    refused("names the weights '../x'", lambda f: changed(f, weights="../x"))
    refused("is damaged, or was written by another version", lambda f: changed(f, plain=None))
    refused("holds a M2Classifier, not a Semi", lambda f: changed(f, **{"class": "M2Classifier"}))
    system = {"estimator": {"class": "os.system", "parameters": {}}}
    refused("names the class os.system", lambda f: changed(f, classifiers={"a": system}))
    system["estimator"]["class"] = "sklearn.utils.Bunch"
    refused("not an estimator of scikit-learn", lambda f: changed(f, classifiers={"a": system}))


def test_another_refit_is_named_with_versions(fitted, tmp_path):
    fitted.save(tmp_path)
    state = json.loads((tmp_path / "model.json").read_text())
    forest = state["classifiers"]["random forest"]["estimator"]["parameters"]
    forest["random_state"] += 1
    changed(tmp_path, **state)
    with pytest.raises(CheckpointError, match=r"'random forest'.*saved, by scikit-learn \d"):
        SemiSupervisedVAEClassifier.load(tmp_path)


def test_a_kill_leaves_the_old_folder_or_the_new_one(fitted, table, tmp_path, monkeypatch):
    other = copy.deepcopy(fitted).set_params(class_prior="uniform")
    other.model_.p_y.logits.data += 0.5
    fitted.save(tmp_path / "kept")
    replace, calls = pyro_ssl.files.os.replace, []

    class Kill(BaseException):
        pass

    for moment in (0, 1):
        calls.clear()

        def killed(*paths, moment=moment):
            if len(calls) == moment:
                raise Kill
            calls.append(paths)
            replace(*paths)

        with monkeypatch.context() as patch:
            patch.setattr(pyro_ssl.files.os, "replace", killed)
            with pytest.raises(Kill):
                other.save(tmp_path / "kept")
        same(fitted, SemiSupervisedVAEClassifier.load(tmp_path / "kept"), table[0].iloc[:20])
    other.save(tmp_path / "kept")
    same(other, SemiSupervisedVAEClassifier.load(tmp_path / "kept"), table[0].iloc[:20])


def test_other_content_is_not_written_over(fitted, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ResultsError, match=r"holds notes\.txt, expected an empty folder"):
        fitted.save(tmp_path)
    with pytest.raises(ResultsError, match="is a file, expected a folder"):
        fitted.save(tmp_path / "notes.txt")

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from pyro_ssl.data import load_dataset
from pyro_ssl.errors import DataError
from pyro_ssl.estimator import M2Classifier, SemiSupervisedVAEClassifier

SHORT = {"members": 2, "max_steps": 40, "min_steps": 20}


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
    options = {"members": 2, "max_steps": 300, "min_steps": 200}
    options |= {"hidden_dims": (64,), "latent_dim": 5}
    # Features need not be in [0, 1].
    scores = [
        M2Classifier(**options).fit(16 * xs[:rows], ys[:rows]).score(16 * test_xs, test_ys)
        for rows in (len(xs), 50)
    ]
    # A standard error of the difference is about 0.02.
    assert scores[0] > scores[1] + 0.02
    assert scores[0] > 0.8


def test_is_an_alias(digits):
    xs, ys, test_xs, _ = digits
    xs, ys = xs[:200], ys[:200]
    former = {"latent_dim": 3, "hidden_dims": (32,), "input_dropout": 0.1, "alpha": 2.0}
    kept = {"batch_size": 30, "learning_rate": 1e-3, "device": "cpu", "random_state": 4}
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        # torch.jit.trace of the training steps.
        warnings.filterwarnings("ignore", "`torch.jit")
        one = M2Classifier(**former, **kept, **SHORT).fit(xs, ys)
    other = SemiSupervisedVAEClassifier("m2", model_options=former, **kept, **SHORT).fit(xs, ys)
    np.testing.assert_array_equal(one.predict_proba(test_xs), other.predict_proba(test_xs))
    assert one.model_.latent_dim == 3
    assert one.model_.alpha == 2.0


def test_what_has_no_effect_is_told_in_one_warning(digits):
    xs, ys, test_xs, _ = digits
    former = {"epochs": 60, "validation": 10, "binarise": False, "batch_norm": True}
    one = M2Classifier(**former, **SHORT)
    with pytest.warns(FutureWarning, match="is now SemiSupervisedVAEClassifier") as told:
        one.fit(xs[:200], ys[:200])
    (said,) = [str(w.message) for w in told if "M2Classifier" in str(w.message)]
    assert "epochs=60 (give max_steps and min_steps" in said
    assert all(f"{name}={value!r} (" in said for name, value in former.items())
    plain = M2Classifier(**SHORT).fit(xs[:200], ys[:200])
    np.testing.assert_array_equal(one.predict_proba(test_xs), plain.predict_proba(test_xs))
    with pytest.warns(FutureWarning, match=r"no effect: epochs=5 \(give max_steps"):
        M2Classifier(epochs=5, **SHORT).partial_fit(xs[:99], ys[:99], np.unique(ys[:50]))


def test_probabilities_belong_to_the_classes(digits, tmp_path):
    xs, ys, test_xs, _ = digits
    fitted = M2Classifier(**SHORT, latent_dim=4).fit(xs[:200], ys[:200])
    assert fitted.classes_.tolist() == [3, 5, 7, 9, 11, 13, 15, 17, 19, 100]
    proba = fitted.predict_proba(test_xs)
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-5)
    assert (fitted.predict(test_xs) == fitted.classes_[proba.argmax(1)]).all()
    fitted.save(tmp_path)
    again = M2Classifier.load(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(test_xs), proba)
    assert again.get_params() == fitted.get_params()


def test_is_a_scikit_learn_citizen(digits):
    xs, ys, *_ = digits
    estimator = M2Classifier(**SHORT, hidden_dims=(16,))
    assert clone(estimator).get_params() == estimator.get_params()
    assert clone(estimator).set_params(latent_dim=2).model_options["latent_dim"] == 2
    labelled = ys != -1
    assert len(cross_val_score(estimator, xs[labelled], ys[labelled], cv=2)) == 2


def test_nothing_labelled_is_an_error(digits):
    xs, ys, *_ = digits
    with pytest.raises(DataError, match="no known label among"):
        M2Classifier().fit(xs, np.full_like(ys, -1))

"""scikit-learn's own checks of an estimator, for every model.

Trainings are of a few steps, but for the checks that ask for accuracy. model="auto" takes all
checks, other models those whose outcome can differ by model; all if PYRO_SSL_ALL_CHECKS is set.
"""

import os
import warnings
from unittest import SkipTest

import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

from pyro_ssl.estimator import SemiSupervisedVAEClassifier
from pyro_ssl.models import M2

EXPECTED = {"check_classifiers_classes": "it trains on -1 as a class, which here means unknown"}
QUICK = {"max_steps": 2, "min_steps": 1, "members": 2, "model_options": {"hidden_dims": (8,)}}
ACCURATE = {"max_steps": 30, "learning_rate": 0.02, "model_options": {"hidden_dims": (32,)}}
ACCURATE_BY_MODEL = {
    "m1m2": {"max_steps": 60, "learning_rate": 0.01, "model_options": {"hidden_dims": (64,)}}
}
ASK_FOR_ACCURACY = ("check_classifiers_train", "check_class_weight_classifiers")
DIFFER_BY_MODEL = {
    *ASK_FOR_ACCURACY,
    "check_classifiers_one_label_sample_weights",
    "check_dict_unchanged",
    "check_estimators_dtypes",
    "check_estimators_pickle",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_sample_weight_equivalence_on_dense_data",
    "check_transformer_general",
}
ALL = bool(os.environ.get("PYRO_SSL_ALL_CHECKS"))


@pytest.fixture(autouse=True)
def _quick(few_steps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_auto_passes_scikit_learns_checks():
    classifiers = {"linear": LogisticRegression(), "forest": RandomForestClassifier(3)}
    estimator = SemiSupervisedVAEClassifier(**QUICK, classifiers=classifiers)
    results = check_estimator(estimator, expected_failed_checks=EXPECTED, on_skip=None)
    assert sum(result["status"] == "passed" for result in results) > 50


@pytest.mark.parametrize(
    ("model", "chosen"),
    [
        ("m2", DIFFER_BY_MODEL),
        ("m1m2", DIFFER_BY_MODEL),
        ("rao_blackwell", DIFFER_BY_MODEL),
        ("ccvae", DIFFER_BY_MODEL),
        (M2, {"check_estimators_pickle", "check_fit_idempotent"}),
    ],
)
def test_every_model_passes_scikit_learns_checks(model, chosen):
    estimator = SemiSupervisedVAEClassifier(model, **QUICK)
    passed = set()
    for one, check in estimator_checks_generator(estimator):
        name = check.func.__name__
        # Variants of a check, with memory that cannot be written, are of the same name.
        if name in EXPECTED or (not ALL and (name not in chosen or name in passed)):
            continue
        if name in ASK_FOR_ACCURACY:
            one.set_params(**ACCURATE_BY_MODEL.get(model, ACCURATE))
        try:
            check(one)
            passed.add(name)
        except SkipTest:
            pass
        except Exception as error:
            raise AssertionError(f"{name} fails for model={model!r}") from error
    assert passed >= chosen

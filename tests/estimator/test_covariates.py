"""Columns of tables that are conditioned on and not modelled."""

import numpy as np
import pandas as pd
import pytest
import torch

from pyro_ssl.errors import DataError
from pyro_ssl.estimator import Columns, SemiSupervisedVAEClassifier
from pyro_ssl.estimator.inputs import TableInputs
from pyro_ssl.likelihoods import Categorical, Conditional, Mixed

STATED = {"site": "covariate", "age": "covariate"}


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    rows = 60
    return pd.DataFrame(
        {
            "site": rng.choice(["north", "south", "west"], rows),
            "length": rng.normal(size=rows),
            "age": rng.normal(40, 10, rows),
            "colour": rng.choice(["red", "green", "blue"], rows),
        }
    )


def test_covariates_come_last_and_have_no_density(frame):
    columns = Columns.infer(frame, STATED)
    likelihood = columns.likelihood
    assert isinstance(likelihood, Conditional)
    plain = Columns.infer(frame[["length", "colour"]])
    assert likelihood.likelihood == plain.likelihood
    assert [type(c).__name__ for c in likelihood.covariates] == ["Gaussian", "Categorical"]
    values = columns.encode(frame)
    assert columns.modelled.tolist() == [1, 3, 2, 0]
    np.testing.assert_array_equal(values[:, :2], plain.encode(frame[["length", "colour"]]))
    np.testing.assert_allclose([values[:, 2].mean(), values[:, 2].std()], [0, 1], atol=1e-12)
    kinds = dict(zip(["north", "south", "west"], range(3), strict=True))
    np.testing.assert_array_equal(values[:, 3], frame["site"].map(kinds))
    pd.testing.assert_frame_equal(columns.decode(values), frame)
    jacobian = plain.log_jacobian(plain.encode(frame[["length", "colour"]]))
    np.testing.assert_allclose(columns.log_jacobian(values), jacobian)
    assert columns.to_frame()["family"].tolist() == [
        "covariate categorical", "real", "covariate real", "categorical"
    ]  # fmt: skip
    assert Columns.from_dict(columns.to_dict()) == columns
    assert TableInputs(columns).continuous
    assert not TableInputs(Columns.infer(frame, STATED | {"length": "covariate"})).continuous


def test_few_whole_numbers_are_codes_and_many_are_numbers(frame):
    few = frame.assign(site=np.arange(60) % 4)
    assert Columns.infer(few, STATED).likelihood.covariates[1] == Categorical(4)
    many = frame.assign(site=np.arange(60))
    assert type(Columns.infer(many, STATED).likelihood.covariates[0]).__name__ == "Gaussian"
    two = frame.assign(site=np.arange(60) % 2)
    assert Columns.infer(two, STATED).likelihood.covariates[1] == Categorical(2)


def test_a_constant_covariate_is_left_out_and_covariates_alone_are_refused(frame):
    one = Columns.infer(frame.assign(site="north"), {"site": "covariate"})
    assert isinstance(one.likelihood, Mixed)
    with pytest.raises(DataError, match="expected one that is not a covariate"):
        Columns.infer(frame, dict.fromkeys(frame, "covariate"))


def test_other_classifiers_see_covariates_too(frame):
    columns = Columns.infer(frame, STATED)
    design = columns.design(columns.encode(frame))
    plain = Columns.infer(frame)
    np.testing.assert_array_equal(design, plain.design(plain.encode(frame)))


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("model", ["m2", "m1m2", "ccvae"])
def test_a_classifier_conditions_on_a_covariate(frame, model, tmp_path):
    y = np.where(np.arange(60) < 20, np.where(frame["length"] > 0, "long", "short"), None)
    frame.loc[3, "site"], frame.loc[4, "age"], frame.loc[5, "length"] = None, np.nan, np.nan
    classifier = SemiSupervisedVAEClassifier(
        model, columns=STATED, members=2, max_steps=20, random_state=0
    ).fit(frame, y)
    probabilities = classifier.predict_proba(frame)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    moved = frame.assign(site="west", age=80.0)
    assert np.abs(classifier.predict_proba(moved) - probabilities).max() > 1e-6
    # Rows keep their covariates: what is made of them is given these.
    again = classifier.reconstruct(frame)
    known = frame["age"].notna()
    np.testing.assert_allclose(again["age"][known], frame["age"][known], rtol=1e-5)
    assert again["site"].isna().tolist() == frame["site"].isna().tolist()
    filled = classifier.impute(frame)
    assert not filled["length"].isna().any()
    assert filled["site"].isna().tolist() == frame["site"].isna().tolist()
    assert set(classifier.sample(n=8)["site"]) <= {"north", "south", "west"}
    latents = classifier.transform(frame)
    label = ["long"] * len(frame)
    here = classifier.inverse_transform(latents, label, like=frame.iloc[:1])
    there = classifier.inverse_transform(latents, label, like=moved.iloc[:1])
    assert (here["site"] == frame["site"][0]).all()
    assert (there["site"] == "west").all()
    assert np.abs(here["length"] - there["length"]).max() > 1e-6
    with pytest.raises(DataError, match="like is None, but the model conditions on covariates"):
        classifier.inverse_transform(latents)
    classifier.save(tmp_path / "kept")
    loaded = SemiSupervisedVAEClassifier.load(tmp_path / "kept")
    np.testing.assert_array_equal(loaded.predict_proba(frame), probabilities)
    assert np.isfinite(classifier.score_samples(frame)).all()


@pytest.mark.usefixtures("few_steps")
def test_with_a_covariate_that_is_the_same_everywhere_predictions_are_as_without(frame):
    y = np.where(np.arange(60) < 20, np.where(frame["length"] > 0, "long", "short"), None)
    options = {"members": 2, "max_steps": 10, "random_state": 0}
    with_one = frame.assign(site="north")
    plain = SemiSupervisedVAEClassifier("m2", **options).fit(with_one, y)
    stated = SemiSupervisedVAEClassifier("m2", columns={"site": "covariate"}, **options)
    found = stated.fit(with_one, y).predict_proba(with_one)
    np.testing.assert_array_equal(found, plain.predict_proba(with_one))


def test_the_bound_is_conditional(frame):
    """A covariate that no value depends on has no part in log p(x|c)."""
    columns = Columns.infer(frame, {"site": "covariate"})
    xs = torch.from_numpy(columns.encode(frame))
    shape = (xs.shape[1],)
    family = columns.likelihood
    outputs = torch.zeros(len(xs), *family.output_shape(shape)).double()
    shared = torch.zeros(family.num_shared(shape)).double()
    found = family.distribution(outputs, shape, shared, xs[:, -1:]).log_prob(xs)
    alone = family.likelihood.distribution(outputs, (shape[0] - 1,), shared).log_prob(xs[:, :-1])
    torch.testing.assert_close(found, alone)

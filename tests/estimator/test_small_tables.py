"""With its defaults the classifier is not below its labels on small tables."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pyro_ssl.estimator import SemiSupervisedVAEClassifier


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer])
def test_tenth_of_the_labels(load):
    xs, ys = load(return_X_y=True)
    known = np.random.default_rng(0).random(len(ys)) < 0.1
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    theirs = linear.fit(xs[known], ys[known]).score(xs[~known], ys[~known])
    ours = SemiSupervisedVAEClassifier(random_state=0).fit(xs, np.where(known, ys, -1))
    assert ours.score(xs[~known], ys[~known]) >= theirs - 0.015
    assert ours.decision_["held_out_rows"].iloc[0] == known.sum()

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from pyro_ssl.estimator import SemiSupervisedVAERegressor
from tests.estimator.conftest import few_steps  # noqa: F401

SMALL = {"max_steps": 20, "min_steps": 5, "members": 2, "model_options": {"hidden_dims": (8,)}}


def table(rows=60, missing=0.1, seed=0):
    """A table of a number, a category and a count, and labels that follow from them."""
    rng = np.random.default_rng(seed)
    ys = 100 + 30 * rng.standard_normal(rows)
    latent = (ys - 100) / 30
    frame = pd.DataFrame(
        {
            "size": latent + 0.5 * rng.standard_normal(rows),
            "kind": np.where(latent + rng.standard_normal(rows) > 0, "big", "small"),
            "weight": np.exp(0.5 * latent + rng.standard_normal(rows)),
        }
    )
    return frame.mask(rng.random(frame.shape) < missing), ys


@pytest.fixture
def regressor():
    """An estimator that is quick to fit."""
    return SemiSupervisedVAERegressor(**SMALL, regressors={"line": Ridge()}, random_state=0)

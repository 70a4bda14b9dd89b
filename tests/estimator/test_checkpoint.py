"""A training that was cut short goes on from its file."""

from contextlib import contextmanager

import numpy as np
import pytest

from pyro_ssl.errors import CheckpointError
from pyro_ssl.estimator import SemiSupervisedVAEClassifier

RNG = np.random.default_rng(0)
YS = RNG.integers(0, 2, 60)
XS = RNG.normal(size=(60, 3)) + 2 * YS[:, None]
PARTLY = np.where(np.arange(60) < 12, YS, -1)


class Killed(BaseException):
    pass


@contextmanager
def killing(steps, verbose):
    def on_check(made):
        if made == 200:
            raise Killed

    yield on_check


def test_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    options = {"max_steps": 300, "members": 2, "classifiers": {}, "random_state": 0}
    file = tmp_path / "state.pt"
    whole = SemiSupervisedVAEClassifier(**options).fit(XS, PARTLY)
    again = SemiSupervisedVAEClassifier(**options, checkpoint=file)
    with monkeypatch.context() as patched:
        patched.setattr("pyro_ssl.estimator.training.progress_bar", killing)
        with pytest.raises(Killed):
            again.fit(XS, PARTLY)
    assert file.exists()
    other = SemiSupervisedVAEClassifier(**options | {"random_state": 1}, checkpoint=file)
    with pytest.raises(CheckpointError):
        other.fit(XS, PARTLY)
    again.fit(XS, PARTLY)
    assert not file.exists()
    assert again.n_iter_ == whole.n_iter_
    assert again.history_["loss"].equals(whole.history_["loss"])
    np.testing.assert_array_equal(again.predict_proba(XS), whole.predict_proba(XS))

"""Trials of the decision: what each one decides, and that none sees a test table."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.tables import tuning
from benchmarks.tables.fits import Fit, part_of
from benchmarks.tables.tuning import Trial
from pyro_ssl.estimator import SemiSupervisedVAEClassifier
from pyro_ssl.estimator.decision import decide
from pyro_ssl.estimator.weighing import Weighing


@pytest.fixture(scope="module")
def weighing():
    part, _ = part_of(Fit("wine", 5, "even", 0.0, 10, "ours"))
    options = {"max_steps": 20, "min_steps": 10, "members": 3, "random_state": 10}
    return SemiSupervisedVAEClassifier(**options).fit(part.train, part.partial)._weighing


def test_the_trial_without_options_is_the_classifiers_own_decision(weighing):
    found = tuning.decided(weighing, Trial())
    assert found.names == weighing.decision.names
    np.testing.assert_array_equal(found.weights, weighing.decision.weights)
    assert [c.temperature for c in found.calibrations] == [
        c.temperature for c in weighing.decision.calibrations
    ]


def test_each_option_changes_the_decision(weighing):
    plain = tuning.decided(weighing, Trial())
    names = plain.names
    for trial in tuning.trials(names):
        found = tuning.decided(weighing, trial)
        if trial.alone:
            assert (found.names, list(found.weights)) == ((trial.alone,), [1.0])
        elif trial.without:
            assert found.names == tuple(n for n in names if n != trial.without)
        elif trial != Trial():
            assert not np.allclose(found.weights, plain.weights)
    said, codes, implied = weighing.evidence
    by_hand = dict.fromkeys(names, 1.0) | {"q(y|x)": 2.0, "p(y|x)": 2.0, "label spreading": 4.0}
    hot = dict.fromkeys(("q(y|x)", "p(y|x)"), 1.0)
    expected = decide(said, codes, implied, by_hand, hot)
    np.testing.assert_array_equal(
        tuning.decided(weighing, Trial(1.0, 4.0)).weights, expected.weights
    )


def test_the_summary_by_hand():
    rows = []
    for split, (alone, mixed) in enumerate([(0.8, 0.9), (0.6, 0.5)]):
        for setting, worse in (("wine", 0.0), ("oils", 0.2)):
            cell = {"dataset": setting, "labels": 5, "draw": "even", "missing": 0.0}
            other = {"split": split, "log_loss": 1.0, "ece": 0.1, "commit": "abc"}
            for name, value in (("random forest", alone), ("", mixed - worse)):
                trial = vars(Trial(alone=name))
                rows.append({**cell, **other, **trial, "balanced_accuracy": value})
    found = tuning.summarise(pd.DataFrame(rows)).set_index("alone")
    assert found.loc["", "balanced_accuracy"] == pytest.approx((0.7 + 0.5) / 2)
    assert found.loc["", "worst_margin"] == pytest.approx(0.5 - 0.7)
    assert found.loc["random forest", "worst_margin"] == 0
    assert list(found["settings"]) == [2, 2]


def test_one_file_has_all_trials(tmp_path, monkeypatch, capsys):
    fit = SemiSupervisedVAEClassifier.fit

    def briefly(self, *args):
        return fit(self.set_params(max_steps=5, min_steps=2, members=2), *args)

    monkeypatch.setattr(SemiSupervisedVAEClassifier, "fit", briefly)
    arguments = "--datasets wine --labels 5 --draws random --missing 0 --splits 11".split()
    tuning.main([*arguments, "--output", str(tmp_path)])
    rows = pd.read_csv(tmp_path / "tables.csv")
    assert set(rows["split"]) == {11}
    assert rows["balanced_accuracy"].between(0, 1).all()
    summary = pd.read_csv(tmp_path / "tables_summary.csv")
    assert len(summary) == len(rows) == len(list(tuning.trials(["a"] * 5)))
    assert "worst_margin" in capsys.readouterr().out


def test_test_tables_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Weighing, "fit", lambda *_: pytest.fail("fitted"))
    with pytest.raises(SystemExit, match="scat: nothing is chosen on test tables"):
        tuning.main(["--datasets", "wine", "scat", "--output", str(tmp_path)])

"""What is hidden from a classifier, and how its guesses are measured."""

import numpy as np
import pytest

from pyro_ssl.report.restored import check_imputation
from pyro_ssl.report.rows import choose_rows
from tests.report.pages import EVIL, make, table

pytestmark = pytest.mark.usefixtures("few_steps")


@pytest.fixture
def fitted():
    return make(*table(), columns={"number": "count"})


def test_a_tenth_of_the_known_entries_is_hidden(fitted, monkeypatch):
    frame, labels = table()
    asked = []
    monkeypatch.setattr(
        fitted, "impute", lambda rows, random_state: asked.append(rows) or rows.ffill().bfill()
    )
    frame[f"kind {EVIL}"] = frame[f"kind {EVIL}"].replace({"no": "yes"})
    rows = choose_rows(fitted, frame, labels, None)
    checks = {check.column: check for check in check_imputation(fitted, rows)}
    assert set(checks) == set(frame) - {"same"}
    (given,) = asked
    whole = rows.X.reset_index(drop=True)
    for name, check in checks.items():
        known = whole[name].notna()
        hidden = known & given[name].isna()
        assert check.hidden == hidden.sum() == np.ceil(known.sum() / 10)
        # Nothing else was changed.
        rest = given[name].notna()
        assert not (rest & ~known).any()
        if name == f"kind {EVIL}":
            assert given[name][rest].tolist() == whole[name][rest].tolist()
        else:
            np.testing.assert_allclose(given[name][rest], whole[name][rest].astype(float), 1e-5)


def test_who_knows_all_makes_no_errors_and_the_mean_makes_some(fitted, monkeypatch):
    frame, labels = table()
    rows = choose_rows(fitted, frame, labels, None)
    whole = rows.X.reset_index(drop=True)
    monkeypatch.setattr(fitted, "impute", lambda rows, random_state: whole)
    for check in check_imputation(fitted, rows):
        assert check.coded == check.column.startswith("kind")
        assert check.model == pytest.approx(1.0 if check.coded else 0.0, abs=1e-6)
        assert check.simple < 1 if check.coded else 0.3 < check.simple < 3


def test_errors_are_in_standard_deviations(fitted, monkeypatch):
    frame, labels = table()
    rows = choose_rows(fitted, frame, labels, None)
    whole = rows.X.reset_index(drop=True)
    off = whole.assign(
        width=whole["width"] + 2 * frame["width"].std(ddof=0),
        price=whole["price"] * np.exp(0.5 * np.log(frame["price"]).std(ddof=0)),
    )
    monkeypatch.setattr(fitted, "impute", lambda rows, random_state: off)
    checks = {check.column: check for check in check_imputation(fitted, rows)}
    assert checks["width"].model == pytest.approx(2, rel=1e-3)
    # A positive column of such a spread is modelled by its logarithm.
    assert checks["price"].model == pytest.approx(0.5, rel=1e-3)


def test_of_single_known_entries_none_is_hidden(fitted):
    frame, labels = table(6)
    frame["width"] = np.where(np.arange(6) == 3, 1.0, np.nan)
    found = check_imputation(fitted, choose_rows(fitted, frame, labels, None))
    assert "width" not in {check.column for check in found}
    assert {check.hidden for check in found} == {1}

"""Summary of the comparison on tables, against numbers by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.tables import data, fits, summary


def rows_of(scores, **cell):
    """Rows of one setting: a method's balanced accuracies in splits 0, 1, ..."""
    cell = {"dataset": "wine", "labels": 5, "draw": "even", "missing": 0.0} | cell
    same = {"labelled": 15, "unlabelled": 110, "accuracy": 0.5, "log_loss": 1.0, "ece": 0.1}
    return pd.DataFrame(
        [
            cell | same | {"split": i, "method": method, "balanced_accuracy": score, "seconds": 2.0}
            for method, values in scores.items()
            for i, score in enumerate(values)
        ]
    )


FOREST, LINEAR, SPREADING = "random forest", "logistic regression", "label spreading"
# Behind the best, label spreading, by 0.02 in the mean, with a standard error of 0.02 / sqrt(3).
BEHIND = rows_of(
    {
        "ours": [0.80, 0.70, 0.60],
        "ours, estimated shares": [0.99, 0.99, 0.99],
        SPREADING: [0.82, 0.74, 0.60],
        FOREST: [0.7, 0.7, 0.7],
        LINEAR: [0.6, 0.8, 0.73],
    }
)
# Behind by 0.02 too, but with differences -0.06, 0.01 and -0.01: the variance is 0.0013.
CLOSE = rows_of(
    {"ours": [0.80, 0.70, 0.60], SPREADING: [0.86, 0.69, 0.61], FOREST: [0.5, 0.6, 0.7]},
    missing=0.3,
)
AHEAD = rows_of({"ours": [0.9, 0.9], SPREADING: [0.5, 0.7], FOREST: [0.8, 0.8]}, dataset="scat")
COUNTS = rows_of({"ours": [0.1], LINEAR: [0.3], FOREST: [0.2]}, dataset="newsgroups")
ROWS = pd.concat([BEHIND, CLOSE, AHEAD, COUNTS])


def test_means_deviations_and_intervals():
    table = summary.summarise(BEHIND).set_index("method")
    ours = table.loc["ours"]
    assert ours["n"] == 3
    assert ours["balanced_accuracy"] == pytest.approx(0.7)
    assert ours["balanced_accuracy_std"] == pytest.approx(0.1)
    # Student's t with two degrees of freedom: 4.3027.
    reach = 4.302653 * 0.1 / math.sqrt(3)
    assert ours["balanced_accuracy_low"] == pytest.approx(0.7 - reach)
    assert ours["balanced_accuracy_high"] == pytest.approx(0.7 + reach)
    assert (ours["labelled"], ours["unlabelled"], ours["seconds"]) == (15, 110, 2)
    one = summary.summarise(COUNTS)
    assert one["balanced_accuracy_std"].isna().all()
    assert one["balanced_accuracy_low"].isna().all()
    assert set(fits.MEASURES) <= set(one)


def test_settings_are_compared_with_paired_differences():
    table = summary.compare(ROWS).set_index(["dataset", "missing"]).sort_index()
    behind, close = table.loc[("wine", 0.0)], table.loc[("wine", 0.3)]
    assert behind["best"] == close["best"] == SPREADING
    assert [behind["lead"], close["lead"]] == pytest.approx([-0.02, -0.02])
    assert behind["error"] == pytest.approx(0.02 / math.sqrt(3))
    assert close["error"] == pytest.approx(math.sqrt(0.0013 / 3))
    assert not behind["close"]
    assert close["close"]
    # Better of the two means, 0.7 and 0.71.
    assert behind["margin"] == pytest.approx(-0.01)
    ahead = table.loc[("scat", 0.0)]
    assert ahead["best"] == FOREST
    assert [ahead["lead"], ahead["margin"]] == pytest.approx([0.1, 0.1])
    assert ahead["close"]
    assert table.loc[("newsgroups", 0.0), "margin"] == pytest.approx(-0.2)


def test_splits_that_ours_lacks_do_not_count():
    fewer = BEHIND[(BEHIND["method"] != "ours") | (BEHIND["split"] > 0)]
    table = summary.compare(fewer)
    assert table["splits"].item() == 2
    assert table["best"].item() == LINEAR
    assert table["lead"].item() == pytest.approx(0.65 - 0.765)
    # Nor does a baseline that lacks one of its splits.
    fewer = fewer[(fewer["method"] != LINEAR) | (fewer["split"] > 1)]
    assert summary.compare(fewer)["best"].item() == FOREST
    assert summary.compare(BEHIND[BEHIND["method"] != "ours"]).empty


def test_means_over_settings_are_of_means_over_splits():
    table = summary.means(ROWS).set_index("method")
    assert table.loc["ours", "balanced_accuracy"] == pytest.approx((0.7 + 0.7 + 0.9 + 0.1) / 4)
    assert table.loc[SPREADING, "settings"] == 3
    assert table.loc[SPREADING, "ours_minus_it"] == pytest.approx((-0.02 - 0.02 + 0.3) / 3)
    assert table["balanced_accuracy"].is_monotonic_decreasing
    assert table.loc["ours", "ours_minus_it"] == 0


def test_leads_leave_out_what_cannot_be_missing():
    table = summary.leads(ROWS).set_index("missing")
    # Without missing entries: spreading 0.72 and 0.6, forest 0.7 and 0.8, logistic regression 0.71.
    assert table.loc[0.0, "settings"] == 2
    assert table.loc[0.0, "best_baseline"] == FOREST
    assert table.loc[0.0, "lead"] == pytest.approx((0.0 + 0.1) / 2)
    assert table.loc[0.0, "lead_over_best_of_each"] == pytest.approx((-0.02 + 0.1) / 2)
    assert table.loc[0.3, "lead"] == pytest.approx(-0.02)


def test_the_report_tells_the_groups_apart():
    tuning, test, both = summary.report(ROWS).split("\n## ")
    assert "in 1 of 2 settings (50%); best in 0." in tuning
    assert "-1.0 points (dataset wine, labels 5, draw even, missing 0.0)" in tuning
    assert "in 1 of 2 settings (50%); best in 1." in test
    assert "-20.0 points (dataset newsgroups, labels 5, draw even, missing 0.0)" in test
    assert "of 4 settings" in both
    assert "no fit of 'ours' yet" in summary.report(BEHIND[BEHIND["method"] == FOREST])


def test_tuning_and_test_tables_are_the_twelve():
    assert len(set(data.TUNING) | set(data.TEST)) == len(data.DATASETS) == 12
    assert not set(data.TUNING) & set(data.TEST)
    assert np.isin(data.COUNTS, data.TEST).all()


def test_the_short_form_has_methods_with_all_splits_of_ours():
    # Of the forest a split is missing where nothing is removed; one of the line's is too many.
    more = rows_of({LINEAR: [0.1, 0.2, 0.3, 0.9]}, dataset="oils")
    less = rows_of({"ours": [0.4, 0.6], LINEAR: [0.5, 0.5]}, dataset="oils", labels=10)
    found = summary.short(pd.concat([BEHIND, CLOSE, more, less])).set_index("method")
    # There is nothing about test tables, nor about all.
    assert list(found) == ["tuning tables", "tuning tables, 30% missing"]
    # Settings count the same, whatever their splits: wine and oils.
    assert found.loc["ours", "tuning tables"] == 60.0
    assert found.loc[LINEAR, "tuning tables"] == pytest.approx(100 * (0.71 + 0.5) / 2, abs=0.051)
    assert np.isnan(found.loc[FOREST, "tuning tables"])
    assert found.loc[FOREST, "tuning tables, 30% missing"] == 60.0
    assert np.isnan(found.loc[LINEAR, "tuning tables, 30% missing"])
    tested = rows_of({"ours": [0.9]}, dataset="scat")
    both = summary.short(pd.concat([BEHIND, CLOSE, tested])).set_index("method")
    assert [c for c in both if "missing" not in c] == ["tuning tables", "test tables", "all"]

import numpy as np
import pandas as pd
import pytest

from pyro_ssl.command.casting import TextType, as_text, blanked, cast


def column(*entries):
    return pd.Series([*entries], dtype=object, name="c")


def type_of(*parts):
    found = TextType()
    for part in parts:
        found.look(column(*part))
    return found.found


@pytest.mark.parametrize(
    ("entries", "kind"),
    [
        (["1", "-2", "+3"], "whole"),
        (["1", "2.0"], "number"),
        (["1", "1e5"], "number"),
        (["inf", "1"], "number"),
        (["1", "007"], "text"),
        (["0", "0.5"], "number"),
        (["00", "1"], "text"),
        (["1", "1,5"], "text"),
        (["1_000", "2"], "text"),
        (["0x10", "2"], "text"),
        # More digits than a float64 holds.
        (["12345678901234567890", "1"], "number"),
        (["2024-05-31", "2024-06-01 10:30"], "time"),
        (["2024-05-31T10:30:00Z", "2024-05-31T10:30:00+02:00"], "time UTC"),
        (["2024-05-31T10:30:00Z", "2024-05-31"], "text"),
        (["2024-13-31"], "text"),
        (["31/05/2024"], "text"),
        (["20240531"], "whole"),
        (["True", "False"], "text"),
        ([np.nan, np.nan], "number"),
        ([np.nan, "3"], "whole"),
    ],
)
def test_the_type_of_text_is_that_of_all_its_entries(entries, kind):
    assert type_of(entries) == kind


def test_all_parts_decide_on_a_type():
    assert type_of(["1", "2"], [np.nan], ["3.5"]) == "number"
    assert type_of(["1"] * 100, ["n/a"]) == "text"
    assert type_of(["1"] * 100 + ["x"]) == "text"


def test_missing_entries_are_blanked_in_columns_of_each_type():
    text = blanked(column("", "?", "a", None), ("?",))
    assert text.isna().tolist() == [True, True, False, True]
    assert text.dtype == object
    numbers = blanked(pd.Series([-999.0, 1.0]), ("?", "-999"))
    assert numbers.isna().tolist() == [True, False]
    whole = blanked(pd.Series([-999, 1], dtype="Int64"), ("-999",))
    assert whole.isna().tolist() == [True, False]
    assert whole.dtype == "Int64"
    levels = blanked(pd.Series(pd.Categorical(["a", "?"])), ("?",))
    assert levels.isna().tolist() == [False, True]
    # A 0 that stands for a missing entry is no False.
    assert not blanked(pd.Series([True, False]), ("0", "1")).isna().any()


def test_numbers_are_read_and_others_among_them_stay():
    whole = cast(column("1", np.nan, " 3 "), "whole")
    assert whole.dtype == "Int64"
    assert whole.tolist() == [1, pd.NA, 3]
    assert cast(column("1.5", "2"), "whole").tolist() == [1.5, 2.0]
    mixed = cast(column("1.5", "abc", np.nan), "number")
    assert mixed.tolist()[:2] == [1.5, "abc"]
    assert mixed.isna().tolist() == [False, False, True]
    assert cast(pd.Series([1, 2]), "whole").dtype == "Int64"


def test_dates_are_read_and_others_are_missing_with_a_warning():
    with pytest.warns(UserWarning, match=r"column 'c' has dates, but 1 entries.*'soon'"):
        found = cast(column("2024-05-31", "soon", np.nan), "time")
    assert found[0] == pd.Timestamp("2024-05-31")
    assert found.isna().tolist() == [False, True, True]
    zoned = cast(column("2024-05-31T10:00:00+02:00"), "time UTC")
    assert zoned[0] == pd.Timestamp("2024-05-31T08:00:00Z")
    # The other kind of date than that of training.
    assert cast(zoned, "time")[0] == pd.Timestamp("2024-05-31T08:00:00")
    assert cast(column("2024-05-31"), "time UTC")[0] == pd.Timestamp("2024-05-31T00:00:00Z")


def test_truth_values_and_text():
    assert cast(column("true", "False", np.nan), "truth").tolist() == [True, False, pd.NA]
    assert cast(column("true", "perhaps"), "truth").tolist() == [True, "perhaps"]
    assert as_text(pd.Series([1.0, 2.5, np.nan])).tolist()[:2] == ["1", "2.5"]
    assert as_text(pd.Series([7], dtype="Int64")).tolist() == ["7"]
    assert as_text(pd.Series([True])).tolist() == ["True"]
    assert cast(pd.Series(["a", None], dtype="string"), "text").isna().tolist() == [False, True]

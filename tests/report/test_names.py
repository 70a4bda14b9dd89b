from types import SimpleNamespace

import numpy as np
import pytest

from pyro_ssl.report.names import class_names, shortened


def named(*names):
    return SimpleNamespace(classes_=np.array(names, dtype=object))


@pytest.mark.parametrize(
    "names", [[0, 1], list(range(40)), ["a name", "another"], [f"name {n}" for n in range(20)]]
)
def test_names_that_have_room_stay_as_they_are(names):
    assert class_names(named(*names)) == ([str(n) for n in names],) * 2


def test_names_that_have_none_are_numbered():
    assert class_names(named("x", "a" * 17)) == (["1. x", "2. " + "a" * 17], ["1", "2"])
    names, short = class_names(named(*[f"name {n}" for n in range(21)]))
    assert (names[20], short[20]) == ("21. name 20", "21")


def test_both_ends_of_a_name_are_kept():
    assert shortened("of ten letters", 14) == "of ten letters"
    found = shortened("beginning of something of kind 17", 15)
    assert len(found) == 15
    assert found.startswith("beginning")
    assert found.endswith("17")

import numpy as np
import pytest

from pyro_ssl.report import rows as module
from pyro_ssl.report.rows import choose_rows, first_rows
from tests.report.pages import make, table

pytestmark = pytest.mark.usefixtures("few_steps")


@pytest.fixture
def fitted():
    return make(*table())


@pytest.mark.parametrize(
    ("labelled", "expected"), [(0, 0), (7, 7), (30, 10), (70, 10), (75, 15), (80, 20)]
)
def test_labelled_rows_are_half_unless_others_lack(fitted, monkeypatch, labelled, expected):
    monkeypatch.setattr(module, "_ROWS", 20)
    monkeypatch.setattr(module, "_LEAST", 1)
    frame, _ = table()
    codes = np.arange(80) % 2
    y = np.where(np.arange(80) < labelled, fitted.classes_[codes], None)
    found = choose_rows(fitted, frame, y, None)
    assert (found.total, len(found.codes), found.kept) == (80, 20, False)
    assert (found.codes >= 0).sum() == expected
    # Labels stay with their rows, and no row comes twice.
    index = found.X.index.to_numpy()
    assert len(set(index)) == 20
    np.testing.assert_array_equal(found.codes, np.where(index < labelled, codes[index], -1))
    assert first_rows(found, 5).index.tolist() == index[:5].tolist()


def test_wide_rows_are_fewer(fitted, monkeypatch):
    monkeypatch.setattr(module, "_VALUES", 61 * 4)
    frame, y = table()
    assert fitted.inputs_.input_shape == (4,)
    assert len(choose_rows(fitted, frame, y, None).codes) == 61
    monkeypatch.setattr(module, "_VALUES", 1)
    assert len(choose_rows(fitted, frame, y, None).codes) == 50


def test_rows_that_the_classifier_kept_are_those_of_training(fitted):
    frame, _ = table()
    found = choose_rows(fitted, None, None, None)
    # No candidate learnt from all rows: the labelled ones were kept.
    assert found.kept
    assert found.total is None
    assert len(found.codes) == (fitted._taught[1] >= 0).sum()
    prices = np.sort(found.X["price"])
    assert np.isclose(prices[:, None], frame["price"].to_numpy(), rtol=1e-5).any(1).all()

"""Reports on classifiers of all kinds."""

import re

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from pyro_ssl.errors import DataError, ResultsError
from pyro_ssl.estimator import SemiSupervisedVAEClassifier
from pyro_ssl.report import REPORT, write_report
from tests.report.pages import EVIL, Checked, arrays, documents, make, partly, table

pytestmark = pytest.mark.usefixtures("few_steps")

ALWAYS = ["The decision", "Class shares", "Training", "Novelty", "Settings and versions"]
HELD_OUT = ["Which classes are confused", "How far its probabilities can be believed"]
MAP, FILLED, PICTURES = "A map of the latent space", "Filling in missing entries", "Reconstructions"


def report(folder, *arguments, **options):
    path = write_report(folder, *arguments, **options)
    assert path.stat().st_size < 2_000_000
    page = path.read_text(encoding="utf-8")
    return Checked(page), page


def titles(page):
    return {text for level, text in page.headings if level == 2}


CASES = {
    "a table": (table, "auto", [FILLED]),
    "documents": (documents, "auto", []),
    "grey images": (lambda: arrays(1, 6, 6), "auto", [PICTURES]),
    "colour images": (lambda: arrays(3, 6, 6), "m2", [PICTURES]),
    "images of two channels": (lambda: arrays(2, 6, 6), "m2", [PICTURES]),
    "signals": (lambda: arrays(2, 16), "ccvae", [PICTURES]),
}


@pytest.mark.parametrize("kind", CASES)
def test_every_kind_of_rows_has_its_parts(kind, tmp_path):
    data, model, own = CASES[kind]
    xs, y = data()
    fitted = make(xs, y, model=model)
    page, _ = report(tmp_path, fitted, xs, y)
    assert titles(page) >= {*ALWAYS, *HELD_OUT, MAP, *own}
    assert titles(page).isdisjoint({FILLED, PICTURES} - set(own))
    # What the classifier kept serves as well.
    assert titles(report(tmp_path, fitted)[0]) == titles(page)


def test_everything_from_the_data_is_escaped(tmp_path):
    xs, y = table()
    page, raw = report(tmp_path, make(xs, y, columns={f"kind {EVIL}": "categorical"}), xs, y)
    # `Checked` refuses elements of scripts; here the names are to be seen as they are.
    assert "<script" not in raw
    assert page.tables["Classes and their shares"][1][0] == f"1. {EVIL}"
    listed = [row[0] for row in page.tables["Columns, in their order"]]
    assert f"kind {EVIL}" in listed
    # Were it to happen, nothing would run.
    assert "default-src 'none'" in raw
    assert not re.search(r"https?://", raw)


def test_figures_are_those_of_held_out_rows(tmp_path):
    xs, y = table()
    fitted = make(xs, y)
    page, _ = report(tmp_path, fitted, xs, y)
    codes, said = fitted.held_out_
    guesses = said.argmax(1)
    assert len(codes) == sum(label is not None for label in y)
    matrix = page.tables["Rows: label. Columns: decision"]
    for label in range(2):
        for guess in range(2):
            rows = int(((codes == label) & (guesses == guess)).sum())
            assert matrix[1 + label][1 + guess] == (str(rows) if rows else "·")
    right = f"{100 * (codes == guesses).mean():.0f}\u00a0%"
    assert f"right for {right} of {len(codes)} rows" in page.text
    assert "slightly optimistic" in page.text
    mixture = page.tables[f"Candidates, judged by {len(codes)} held-out labelled rows"][-1]
    assert mixture[0] == "the decision, their mixture"
    assert mixture[2] == right
    losses = -np.log(said[np.arange(len(codes)), codes])
    assert mixture[4] == f"{np.mean([losses[codes == k].mean() for k in (0, 1)]):.2f}"


def test_class_shares_of_predictions_are_those_of_the_figures(tmp_path):
    xs, y = table()
    shares = [0.999, 0.001]
    page, _ = report(tmp_path, make(xs, y, class_prior=shares), xs, y)
    matrix = page.tables["Rows: label. Columns: decision"]
    # Nearly all rows are decided for the first class.
    assert int(matrix[2][1].replace("·", "0")) > int(matrix[2][2].replace("·", "0"))
    assert "under the class shares and costs" in page.text
    assert "equally frequent, so do not count" not in page.text


def test_a_single_candidate_is_no_mixture(tmp_path):
    xs, y = table()
    page, _ = report(tmp_path, make(xs, y, model="m2"), xs, y)
    assert "One candidate decides" in page.text
    assert "their mixture" not in page.text


def test_where_nothing_was_held_out_no_figure_is_made_up(tmp_path):
    xs, y = arrays(1, 4, 4, classes=2)
    single = np.full(60, -1)
    single[:2] = [0, 1]
    page, _ = report(tmp_path, make(xs, single), xs, single)
    assert titles(page).isdisjoint(HELD_OUT)
    assert "no class has two labelled rows" in page.text
    assert "held-out accuracy" not in page.text
    page, _ = report(tmp_path, make(xs, y, members=1), xs, y)
    assert "members=5" in page.text
    assert "no class has two" not in page.text


def test_a_loaded_classifier_says_what_it_lacks(tmp_path):
    xs, y = table()
    fitted = make(xs, y)
    fitted.save(tmp_path)
    loaded = SemiSupervisedVAEClassifier.load(tmp_path)
    page, _ = report(tmp_path, loaded)
    assert titles(page).isdisjoint(HELD_OUT)
    assert titles(page) >= {*ALWAYS, MAP, FILLED}
    assert "loaded from files" in page.text
    # The folder can still be replaced.
    fitted.save(tmp_path)


def test_a_stream_has_a_report(tmp_path):
    xs, y = table()
    stream = SemiSupervisedVAEClassifier(
        max_steps=20, min_steps=5, members=2, classifiers={}, random_state=0
    )
    classes = [EVIL, "b & c"]
    for start in (0, 40):
        stream.partial_fit(xs[start : start + 40], y[start : start + 40], classes)
    page, _ = report(tmp_path, stream)
    assert titles(page) >= {*ALWAYS, *HELD_OUT, MAP}
    assert "not kept" in page.text
    assert "1,234,567" in report(tmp_path, stream, xs, y, rows=1_234_567)[0].text


def test_forty_classes_of_long_names(tmp_path):
    rng = np.random.default_rng(0)
    codes = np.arange(240) % 40
    names = np.array([f"class-{k}-" + "of_a_name_without_end" * 4 for k in range(40)], dtype=object)
    xs = rng.normal(size=(240, 5)) + codes[:, None] / 8
    y = partly(names[codes], 0.5)
    page, _ = report(tmp_path, make(xs, y), xs, y)
    matrix = page.tables["Rows: label. Columns: decision"]
    assert len(matrix) == 41
    assert {len(row) for row in matrix} == {43}


@pytest.mark.parametrize("columns", [1, 300])
def test_narrow_and_wide_tables(columns, tmp_path):
    rng = np.random.default_rng(0)
    codes = np.arange(50) % 2
    xs = rng.normal(size=(50, columns)) + codes[:, None]
    page, _ = report(tmp_path, make(xs, partly(codes, 0.4)), xs)
    assert "None of these rows has a known label" in page.text
    one = "There is one latent dimension" in page.text
    assert one == (columns == 1)
    assert len(page.tables["Columns, in their order"]) == min(columns, 200) + 1
    assert ("The first 200 are listed" in page.text) == (columns == 300)


def test_equal_classifiers_have_equal_reports(tmp_path):
    xs, y = arrays(1, 6, 6)
    fitted = make(xs, y)
    pages = [write_report(tmp_path / name, fitted, xs, y).read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]


def test_what_cannot_be_reported_on(tmp_path):
    xs, y = table()
    with pytest.raises(NotFittedError):
        write_report(tmp_path, SemiSupervisedVAEClassifier(), xs, y)
    fitted = make(xs, y)
    with pytest.raises(DataError, match="without X"):
        write_report(tmp_path, fitted, None, y)
    with pytest.raises(DataError, match="10 labels"):
        write_report(tmp_path, fitted, xs, y[:10])
    with pytest.raises(DataError, match="no rows"):
        write_report(tmp_path, fitted, xs[:0])
    with pytest.raises(DataError, match="another"):
        write_report(tmp_path, fitted, xs, ["another"] * len(xs))
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="file"):
        write_report(tmp_path / "file", fitted, xs, y)
    assert not (tmp_path / REPORT).exists()

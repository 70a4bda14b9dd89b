"""What pages show between marks, and that README.md and docs/ show what `results/` holds."""

import subprocess
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import experiments
from experiments.engine import marks, tables
from experiments.engine.marks import docstring, filled
from experiments.engine.results import summarise
from experiments.engine.tables import PUBLISHED
from experiments.report import markdown_files
from pyro_ssl import load_summary, models
from pyro_ssl.errors import ResultsError
from tests.pages import PAGES, name_of

ROOT = Path(experiments.__file__).parent.parent


@cache
def committed() -> pd.DataFrame:
    """Summary of the runs that are committed."""
    return summarise(committed_seeds())


@cache
def committed_seeds() -> pd.DataFrame:
    """Final figures of the runs that are committed; others may lie beside them."""
    listing = ["git", "-C", str(ROOT), "ls-files", "results"]
    tracked = subprocess.run(listing, capture_output=True, text=True).stdout.split()
    runs = {Path(f).relative_to("results").parent.as_posix() for f in tracked if "seed_" in f}
    if not runs:
        pytest.skip("NO COMMITTED RESULTS to compare pages with")
    results = load_summary(ROOT / "results")
    return results[results["run"].isin(runs)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_shows_the_committed_results(page):
    text = page.read_text()
    assert filled(text, committed(), ROOT / "results") == text, (
        "run python -m experiments.report --pages README.md docs"
    )
    for name, shown in marks._MARKED.findall(text):
        # A table without rows, of a pattern that no run is like, has two lines.
        assert shown.count("\n") > 2, f"{name} of {name_of(page)} shows nothing"


def test_a_page_that_differs_from_the_results_is_found():
    page = ROOT / "docs" / "models" / "m2.md"
    text = page.read_text()
    for old, new in (("94.77±1.33", "95.77±1.33"), ("sum_y q(y|x)", "sum_y q(x|y)")):
        assert old in text
        wrong = text.replace(old, new)
        assert filled(wrong, committed(), ROOT / "results") == text


def test_a_docstring_is_shown_up_to_what_the_reference_has():
    for name in ("ADGM", "SDGM", "M2", "CCVAE"):
        shown = docstring(getattr(models, name))
        assert "**Source:**" in shown
        assert not [word for word in ("Args:", "Raises:", "Attributes:") if word in shown]


def test_trials_are_shown_by_what_differs_in_them(tmp_path):
    path = tmp_path / "tuning" / "some.csv"
    path.parent.mkdir()
    path.write_text(
        "trial,model,dataset,labels,seed,epochs,steps_per_epoch,validation_accuracy,"
        "last_validation_accuracy,config_alpha,config_epochs,config_rate,config_new\n"
        "a,m2,digits,50,1,2,10,0.5,0.4,1.0,2,0.1,\n"
        "b,m2,digits,50,1,3,10,0.7,0.6,2.0,3,0.1,True\n"
        "b,m2,digits,50,2,3,10,0.8,0.8,2.0,3,0.1,True\n"
        "c,m2,digits,50,1,3,10,0.9,0.9,2.0,3,0.2,True\n"
    )
    page = "<!-- trials some: begin -->\n<!-- trials some: end -->\n"
    shown = filled(page, pd.DataFrame({"run": []}), tmp_path).splitlines()
    assert shown[3:-1] == [
        "| m2 | digits | 50 | alpha 1, new none | 20 | 50.00 | 40.00 | 1 |",
        "| m2 | digits | 50 |  | 30 | 75.00 | 70.00 | 1, 2 |",
        "| m2 | digits | 50 | rate 0.2 | 30 | 90.00 | 90.00 | 1 |",
    ]
    # What is not there yet is left as it is.
    other = page.replace("some", "other")
    assert filled(other, pd.DataFrame({"run": []}), tmp_path) == other


def test_every_published_figure_of_a_run_stands_beside_ours():
    figures = pd.read_csv(PUBLISHED, dtype=str, keep_default_na=False)
    assert set(figures["run"]) - {""} <= set(committed()["run"])
    lines = filled(EMPTY, committed(), ROOT / "results").splitlines()[3:-1]
    for name, theirs in zip(figures["name"], figures["published"], strict=True):
        shown = [line for line in lines if line.startswith(f"| {name} |")]
        compared = (figures["run"][figures["name"] == name] != "").all()
        assert any(theirs.replace(" ± ", "±") in line for line in shown) == compared, name


EMPTY = "<!-- published: begin -->\n<!-- published: end -->\n"

RUNS = pd.DataFrame(
    {
        "run": ["a/m2-x-100", "a/vae-x", "mnist_label_treatments/m2-mnist-100"],
        "dataset": ["x", "x", "mnist"],
        "labels": [100, "", 100],
        "test_accuracy_%": ["90.00 +- 1.00", "", "80.00"],
        "seconds_per_epoch": [1.0, 1.0, 2.0],
        "seeds": [5, 5, 1],
    }
)


def between(name: str, root: Path, old: str = "old\n") -> list[str]:
    text = f"before\n<!-- {name}: begin -->\n{old}<!-- {name}: end -->\nafter\n"
    lines = filled(text, RUNS, root).splitlines()
    assert [lines[0], lines[-1]] == ["before", "after"]
    return lines[2:-2]


def test_patterns_choose_runs(tmp_path):
    everything = between("results", tmp_path)
    assert [line.split(" | ")[0] for line in everything[2:]] == ["| a/m2-x-100"]
    assert everything[2] == "| a/m2-x-100 | 100 | 90.00±1.00 | 5 |"
    both = between("results of a/*, mnist_*/m2-*", tmp_path)
    assert [line.split(" | ")[0] for line in both[2:]] == [
        "| a/m2-x-100", "| mnist_label_treatments/m2-mnist-100",
    ]  # fmt: skip
    # Nothing to show: the page keeps what it has.
    assert between("results of b/*", tmp_path) == ["old"]
    assert between("treatments of b/*", tmp_path) == ["old"]
    assert between("sweep", tmp_path) == between("benchmark step", tmp_path) == ["old"]
    (treated,) = between("treatments of */m2-*", tmp_path)[2:]
    assert treated.startswith("| M2 | 80.00 |")


def test_published_figures_stand_beside_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "PUBLISHED", tmp_path / "published.csv")
    (tmp_path / "published.csv").write_text(
        "name,labels,run,measure,published,source,address,note\n"
        "M2,100,a/m2-x-100,test_accuracy,88.00 ± 2.00,A,https://a,\n"
        "M2,100,a/m2-x-100,test_accuracy,89,B,,bigger\n"
        "M2,100,a/m2-x-100,test_elbo,-5,not measured here,,\n"
        "M3,100,c/not-ours,test_accuracy,99,C,https://c,\n"
        "M4,100,,test_accuracy,99,no run is like it,https://c,\n"
    )
    lines = between("published of a/*", tmp_path)
    assert lines[2:] == [
        "| M2 | 100 | test_accuracy_% | 90.00±1.00 | 88.00±2.00 | [A](https://a) |",
        "| M2 | 100 | test_accuracy_% | 90.00±1.00 | 89 | B (bigger) |",
    ]
    assert between("published of b/*", tmp_path) == ["old"]


@pytest.mark.parametrize(
    "text",
    [
        "<!-- results: begin -->\n",
        "<!-- results: end -->\n<!-- results: begin -->\n",
        "<!-- results: begin -->\n<!-- bounds: end -->\n",
        "<!-- resluts: begin -->\n<!-- resluts: end -->\n",
        "<!-- docstring M3: begin -->\n<!-- docstring M3: end -->\n",
    ],
)
def test_marks_that_mean_nothing_are_refused(text, tmp_path):
    with pytest.raises(ResultsError, match=r"expected"):
        filled(text, RUNS, tmp_path)


def test_a_docstring_becomes_text_with_its_formulas_apart():
    class Model:
        """A model.

        Guide and more, ::

            q(y|x) = Categorical(x)    q(z|x) = Normal(x,    1)
              + c

        as said::

            f(x)

        Differs from the paper: not at all.

        Args:
            x: no formula::
        """

    assert docstring(Model) == (
        "A model.\n\nGuide and more:\n\n```text\nq(y|x) = Categorical(x)\n"
        "q(z|x) = Normal(x,    1)\n  + c\n```\n\nas said:\n\n```text\nf(x)\n```\n\n"
        "**Differs from the paper:** not at all.\n"
    )


def test_files_and_folders_are_pages(tmp_path):
    (tmp_path / "docs" / "models").mkdir(parents=True)
    for name in ("README.md", "docs/b.md", "docs/models/a.md", "docs/c.py"):
        (tmp_path / name).touch()
    found = markdown_files([tmp_path / "README.md", tmp_path / "docs"])
    assert [f.name for f in found] == ["README.md", "b.md", "a.md"]

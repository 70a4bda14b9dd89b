"""The page about all results."""

import base64
import hashlib
import importlib
import importlib.util
import json
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tyro
from scipy import stats

import experiments
from experiments import draw
from experiments.engine.page import commands
from experiments.engine.page.document import results_page
from experiments.engine.page.tables import mean_cell, published
from experiments.engine.results import MEASURES
from pyro_ssl import load_summary
from tests.report.browser import CHROMIUM, open_browser
from tests.report.pages import EVIL, Checked

ROOT = Path(experiments.__file__).parent.parent
SECTIONS = [
    "Beside published figures", "Accuracy", "Treatments of the missing label", "More labels",
    "Curves", "Calibration", "Samples", "Analogies", "Manifolds", "Interventions", "Bounds",
    "What the KL is for", "Approximation error", "Hashing", "Speed", "Estimators on tables",
]  # fmt: skip
# Runs of earlier versions, which no command of today repeats exactly.
FORMER = {"mnist_m2/m2-mnist-100-plain", "mnist_m2/m2-mnist-100-fast"}

needs_committed = pytest.mark.skipif(
    not (ROOT / "results/mnist_m2/m2-mnist-100").exists(), reason="NO COMMITTED RESULTS to show"
)


class Page(Checked):
    """A page that may have a script of its own, and links to sources."""

    def _check(self, tag, given):
        if tag == "a" and given["href"].startswith("https://"):
            return
        super()._check("style" if tag == "script" else tag, given)

    def handle_data(self, data):
        if "script" not in self._open:
            super().handle_data(data)


@cache
def committed_runs() -> set[str]:
    listing = ["git", "-C", str(ROOT), "ls-files", "results/*/*/seed_*.json"]
    found = subprocess.run(listing, capture_output=True, text=True).stdout.split()
    return {Path(f).relative_to("results").parent.as_posix() for f in found}


@pytest.fixture(scope="module")
def whole():
    """The page of the committed results."""
    results = load_summary(ROOT / "results")
    return results_page(ROOT / "results", results[results["run"].isin(committed_runs())])


def of(page):
    return Page(page), page


def leave(root, run, seed=0, rows=3, **result):
    folder = root / run
    folder.mkdir(parents=True, exist_ok=True)
    result = {"experiment": folder.parent.name, "seed": seed, "validation_rows": 3, **result}
    (folder / f"seed_{seed}.json").write_text(json.dumps(result))
    table = pd.DataFrame({"epoch": range(rows), "validation_accuracy": 0.5 + 0.1 * seed})
    table.to_csv(folder / f"seed_{seed}.csv", index=False)


def test_an_interval_is_students_and_one_seed_has_none():
    values = pd.Series([0.91, 0.94, 0.92, np.nan, 0.95])
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values.dropna()))
    assert 0.01 < high - low < 0.1
    half = f"{50 * (high - low):.2f}"
    mean = 100 * values.mean()
    assert mean_cell(values, "test_accuracy") == (
        f'<td data-sort="{mean}">{mean:.2f} ± {half} (4 of 5 seeds)</td>'
    )
    assert mean_cell(pd.Series([-2.5]), "test_elbo") == '<td data-sort="-2.5">\u22122.500</td>'
    assert mean_cell(pd.Series([np.nan]), "test_elbo") == "<td></td>"
    # Of the time of an epoch, the median: a busy machine does not shift it.
    assert ">2.00<" in mean_cell(pd.Series([1.0, 2.0, 90.0]), "seconds_per_epoch")


def test_every_published_figure_has_a_source_and_a_run_of_ours_or_none():
    found = published()
    assert (found["source"].str.len() > 5).all()
    assert found["published"].str.match(r"-?\d+(\.\d+)?( ± \d+\.\d+)?$").all()
    assert set(found["measure"]) <= {name for name, _, _ in MEASURES}
    assert found["address"].str.match("https://|$").all()
    if committed_runs():
        assert set(found["run"]) - {""} <= committed_runs()
    # What has no run of ours is said to have none.
    theirs = found[found["run"] == ""]
    assert theirs["note"].str.contains("not in this library|not yet trained here").all()


def test_the_commands_make_the_committed_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    made = set()
    each = [c for name, c in vars(commands).items() if name.isupper() and isinstance(c, str)]
    for command in [
        c for c in (*each, *commands.ALL_CODES, *commands.ALL_RECORDS) if c.startswith("python")
    ]:
        python, m, module, *arguments = shlex.split(command)
        assert (python, m) == ("python", "-m")
        module = importlib.import_module(module)
        default = getattr(module, "scheduled", lambda words, kind=module.Config: kind())(arguments)
        config = tyro.cli(module.Config, args=arguments, default=default)
        if hasattr(module, "comparison"):
            comparison = module.comparison(config)
            made |= {
                comparison.path(m).relative_to("results").as_posix() for m in comparison.models
            }
        else:
            assert command == commands.SWEEP
            made |= {run for run in committed_runs() if run.endswith("-sweep")}
    # With other numbers of labels, and two of its models' narrower.
    assert committed_runs() - made == FORMER & committed_runs()


@needs_committed
def test_the_page_has_every_part_and_is_small(whole):
    page, raw = of(whole)
    assert [text for level, text in page.headings if level == 2] == SECTIONS
    assert len(raw.encode()) < 5_000_000
    assert len(page.images) > 20
    # Nothing is loaded, and no script runs but the page's own.
    (script,) = re.findall(r"<script>(.*?)</script>", raw, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src " \
        f"'sha256-{digest}'" in raw  # fmt: skip
    # A row for each committed run, somewhere.
    rows = {row[0] for table in page.tables.values() for row in table}
    for run in committed_runs():
        swept = run.endswith("-sweep") or "autoencoder_2d" in run
        assert swept or {run, run.split("/")[1]} & rows, run
    names = {m[1] for m in re.finditer(r"python -m (benchmarks\.\w+)", page.text)}
    assert {"benchmarks.step", "benchmarks.retrieval", "benchmarks.estimators"} <= names
    for name in names:
        assert importlib.util.find_spec(name)


@needs_committed
def test_our_figures_stand_beside_theirs(whole):
    page, _ = of(whole)
    found = page.tables["Ours with 95 % intervals, theirs as published"]
    accuracies = load_summary(ROOT / "results/mnist_m2/m2-mnist-100")["test_accuracy"] * 100
    half = stats.t.ppf(0.975, 4) * accuracies.std() / 5**0.5
    ours = f"{accuracies.mean():.2f} ± {half:.2f}"
    assert ["M2", "100", ours, "88.03 ± 1.71", "Test accuracy %", "5"] in [r[:6] for r in found]
    assert len(found) == len(published()) + 1


@needs_committed
def test_figures_name_the_command_that_draws_them_again(whole):
    again = re.findall(r"<code>python -m experiments\.draw (\S+) --figure (\w+)</code>", whole)
    assert {"analogies", "manifolds", "interventions", "reliability"} <= {name for _, name in again}
    for checkpoint, name in again:
        config = tyro.cli(draw.Config, args=[checkpoint, "--figure", name])
        run = Path(config.checkpoint).parent
        assert (run / f"{Path(checkpoint).stem}_{name}.png").exists()
        assert (run / "config.json").exists()


def test_results_of_others_are_shown_as_they_are(tmp_path):
    common = {"dataset": "mine", "labels": 7, "model": "net"}
    for seed in (0, 1):
        run = f"mnist_m2/net-mine-7-{EVIL.replace('/', '')}"
        leave(tmp_path, run, seed, test_accuracy=0.5, test_ece=0.1, **common)
    leave(tmp_path, "other/net", rows=0, test_elbo=-3.0, **{**common, "labels": None})
    (tmp_path / "other/net/seed_0_samples.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"seed_0_samples.png is left out"):
        page, raw = of(results_page(tmp_path, load_summary(tmp_path)))
    assert [text for level, text in page.headings if level == 2] == [
        "Accuracy", "Curves", "Bounds",
    ]  # fmt: skip
    assert raw.count("<script>") == 1
    assert EVIL.replace("/", "") in page.text
    assert "50.00 ± 0.00" in page.text
    assert "\u22123.000" in page.text


@needs_committed
@pytest.mark.skipif(not CHROMIUM, reason="PAGE NOT LOOKED AT: there is no Chromium")
def test_in_a_browser_it_fits_has_no_errors_and_is_sorted_by_clicks(whole, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(whole, encoding="utf-8")
    with open_browser(tmp_path / "profile") as browser:
        for width, dark in ((390, True), (1280, False)):
            browser.open(path, width, dark)
            assert browser.value("document.documentElement.scrollWidth") <= width
            assert browser.complaints == []
            assert [u for u in browser.requests if not u.startswith("data:")] == [path.as_uri()]
            assert browser.value("[...document.images].every(i => i.naturalWidth > 100)")
            assert browser.value("[...document.images].every(i => i.alt.length > 20)")
            cut = "[...document.querySelectorAll('p, li, dd, h1, h2')]"
            assert (
                browser.value(f"{cut}.filter(e => e.scrollWidth > e.clientWidth + 1).length") == 0
            )
        column = """(() => {
            const table = document.querySelector("#published table");
            const head = table.tHead.rows[0].cells[2];
            const before = head.getAttribute("aria-sort");
            head.querySelector("button").click();
            return [before, head.getAttribute("aria-sort"),
                    [...table.tBodies[0].rows].map(row => row.cells[2].textContent)];
        })()"""
        before, falling, shown = browser.value(column)
        assert (before, falling) == (None, "descending")
        _, rising, again = browser.value(column)
        assert rising == "ascending"
        numbers = [float(s.split(" ")[0].replace("\u2212", "-")) for s in shown if s]
        assert numbers == sorted(numbers, reverse=True)
        # Those without a figure of ours are last both times.
        empty = [s for s in shown if not s]
        assert empty
        assert shown[-len(empty) :] == again[-len(empty) :] == empty
        assert [float(s.split(" ")[0].replace("\u2212", "-")) for s in again if s] == numbers[::-1]

"""The notebooks: each runs as it is, and shows what it says."""

import importlib.util
import re
import tempfile
import warnings
from unittest.mock import patch

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from pyro_ssl.likelihoods.base import FAMILIES
from tests.pages import DOCS, NOTEBOOKS, ROOT, anchors

# What Python does not show a user unless asked to.
UNSEEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


@pytest.fixture
def pages():
    """The module that runs notebooks, for the site too."""
    spec = importlib.util.spec_from_file_location("notebook_pages", DOCS / "notebook_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_m2(scope):
    assert (scope["again"].predict_proba(scope["digits"].test_xs)).equal(scope["probabilities"])
    # Ten classes.
    assert scope["rows"]["M2"]["accuracy"] > 0.7


def check_data(scope):
    assert scope["right"].mean() > 0.8
    assert scope["classifier"].novelty(scope["odd"])[0] == 100
    assert not scope["classifier"].impute(scope["table"]).isna().any(axis=None)
    assert scope["table"].isna().any(axis=None)


def check_model(scope):
    assert scope["losses"][-1] < scope["losses"][0]
    for row in scope["rows"].values():
        assert row["accuracy in %"] > 50
    # It has a latent beside the class.
    bounds = {name: row["bound on log p(x), nats"] for name, row in scope["rows"].items()}
    assert max(bounds, key=bounds.get) == "M2"


def check_results(scope):
    summary = pd.read_csv(ROOT / "results" / "summary.csv", index_col="run")
    for model in ("m1m2", "m2"):
        run = f"mnist_{model}/{model}-mnist-100"
        found = scope["table"].loc[(f"mnist_{model}", model)]
        accuracy = f"{found['mean']:.2f} +- {found['std']:.2f}"
        assert summary.loc[run, "test_accuracy_%"] == accuracy
        assert accuracy.split(" +- ") == [f"{x:.2f}" for x in scope["means"].loc[run]]
    assert scope["found"]["from"] < scope["found"]["mean"] < scope["found"]["to"]
    assert scope["mine"]["epoch"].tolist() == list(range(5))


CHECKS = {
    "m2_in_ten_minutes": (check_m2, 5),
    "your_own_data": (check_data, 0),
    "your_own_model": (check_model, 1),
    "analyse_results": (check_results, 3),
}


def test_all_are_checked():
    assert {script.stem for script in NOTEBOOKS} == CHECKS.keys()


@pytest.mark.parametrize("name", CHECKS)
def test_it_runs_and_leaves_nothing(name, pages, monkeypatch, tmp_path, capfd):
    """Without an error or a warning, from any folder."""
    temporary, here = tmp_path / "temporary", tmp_path / "here"
    temporary.mkdir()
    here.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(here)
    before = {*(ROOT / "results").rglob("*"), *(ROOT / "notebooks").rglob("*")}
    check, pictures = CHECKS[name]
    scope = {}
    # A likelihood of the notebook's is no family of other tests.
    with patch.dict(FAMILIES), warnings.catch_warnings():
        warnings.simplefilter("error")
        for category in UNSEEN:
            warnings.simplefilter("ignore", category)
        page, drawn = pages.run(ROOT / "notebooks" / f"{name}.py", scope)
        check(scope)
    assert capfd.readouterr().err == ""
    # torch's own cache, of the whole process.
    left = {*temporary.iterdir(), *here.iterdir()} - {*temporary.glob("torchinductor_*")}
    assert left == set()
    assert before == {*(ROOT / "results").rglob("*"), *(ROOT / "notebooks").rglob("*")}
    assert len(drawn) == pictures
    assert set(re.findall(r"!\[[^\]]{4,}\]\((\w+\.png)\)", page)) == drawn.keys()


@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda script: script.stem)
def test_its_text_has_live_links_and_no_typed_figures(script, pages):
    for is_text, cell in pages.cells(script):
        if not is_text:
            assert cell
            continue
        for link in re.findall(r"\]\(([^)\s]+)\)", cell):
            path, _, anchor = link.partition("#")
            if path.startswith("https://"):
                continue
            target = (script.parent / path).resolve()
            assert target.is_file(), link
            assert target.is_relative_to(ROOT)
            assert not anchor or anchor in anchors(target), link
        said = re.sub(r"\]\([^)]*\)|95 % interval", "", cell)
        assert re.findall(r"\d+\.\d+|\d+ ?%", said) == []


def test_a_page_shows_what_cells_print_give_and_draw(pages, tmp_path):
    script = tmp_path / "little.py"
    script.write_text(
        "# %% [markdown]\n# # Title\n#\n#     p(x)\n\n"
        "# %%\nimport pandas as pd\nfrom matplotlib import pyplot as plt\nprint('printed')\n\n"
        "# %%\nx = 6\nx + 1\n\n"
        "# %%\npd.DataFrame({'a<b': [x]})\n\n"
        "# %%\nfigure, axes = plt.subplots()\naxes.set_title('drawn')\nplt.show()\n\n"
        "# %%\nx = None\nx\n\n"
        "# %%\naxes.set(title='', xlabel='x', ylabel='y')\nfigure\n"
    )
    page, pictures = pages.run(script)
    assert page.startswith("# Title\n\n    p(x)\n\n")
    assert "``` { .text .output }\nprinted\n```" in page
    assert "``` { .text .output }\n7\n```" in page
    assert '<table>\n  <thead>\n    <tr style="text-align: right;">' in page
    assert "<th>a&lt;b</th>" in page
    assert "![drawn](little_1.png)" in page
    assert "![y over x](little_2.png)" in page
    assert page.count(".output") == 2
    assert list(pictures) == ["little_1.png", "little_2.png"]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())
    assert plt.get_fignums() == []

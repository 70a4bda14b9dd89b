"""README.md and the pages of docs/: code that runs, commands and links that lead somewhere."""

import importlib
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import matplotlib
import pytest
import tyro

import pyro_ssl
from pyro_ssl import models
from tests.pages import (
    DOCS,
    NOTEBOOKS,
    PAGES,
    README,
    ROOT,
    Block,
    anchors,
    block,
    blocks,
    commands,
    name_of,
    prose,
    small,
)

DATA, SVI = DOCS / "your-own-data.md", DOCS / "own-svi.md"

# Blocks that other tests run: README's and what goes on from it in test_readme.py, AnnData objects
# and the two ways to train below, files of examples/ in test_examples*.py.
ELSEWHERE = (
    "load_wine(", "classifier.impute(", "svi.step(", "import anndata", "mnist.train_ys",
    'history.to_frame()["validation_accuracy"]\n', "--8<--",
)  # fmt: skip


def own_blocks(page: Path) -> list[Block]:
    return [b for b in blocks(page, "python") if not any(mark in b.text for mark in ELSEWHERE)]


WITH_CODE = [page for page in PAGES if own_blocks(page)]


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_python_runs_as_printed(page, monkeypatch, tmp_path):
    """All blocks in one scope, in their order: a block may use what those above it define."""
    monkeypatch.chdir(tmp_path)
    Path("results").symlink_to(ROOT / "results")
    matplotlib.use("agg")
    scope = {"__name__": "page"}
    for part in own_blocks(page):
        # A traceback names the page and its line.
        code = "\n" * part.line + small(part.text)
        exec(compile(code, str(page), "exec"), scope)


def test_blocks_that_run_elsewhere_are_these():
    for mark, page in zip(ELSEWHERE[:-1], (README, DATA, README, DATA, SVI, SVI), strict=True):
        assert any(mark in part.text for part in blocks(page, "python")), mark
    for page in set(PAGES) - {README, DATA, SVI, DOCS / "write-your-own.md"}:
        assert own_blocks(page) == blocks(page, "python")


def test_both_ways_to_train_learn():
    scope = {}
    for way in ("fit(m2", "svi.step"):
        code = block(SVI, "load_dataset("), block(SVI, way)
        assert sum(text.count("\n") for text in code) <= 25
        for text in code:
            exec(small(text), scope)
        assert len(scope["accuracies"]) == 2
        # Ten classes.
        assert list(scope["accuracies"])[-1] > 0.3


def test_the_benchmark_of_defaults_finds_its_blocks():
    from benchmarks.defaults import PAGE, WAYS, with_seed
    from benchmarks.defaults import block as found

    assert PAGE == SVI
    for mark in ("load_dataset(", *WAYS.values()):
        assert found(mark) == block(PAGE, mark)
    assert "seed=3" in with_seed(found("load_dataset("), 3)
    assert "seed=3" in with_seed(found("fit(m2"), 3)


def test_single_cells_are_annotated_as_printed():
    pytest.importorskip("anndata", reason="anndata is not installed: pip install '.[cells]'")
    scope = {}
    exec(small(block(DATA, "from_anndata(")), scope)
    written = scope["adata"]
    assert set(written.obs["pyro_ssl_label"]) <= set(written.obs["type"])
    assert written.obs["pyro_ssl_probability"].between(0, 1).all()
    assert len(written.obsm["X_pyro_ssl"]) == 1000


def test_examples_on_pages_are_files_that_tests_run():
    tests = "".join(file.read_text() for file in (ROOT / "tests").glob("test_examples*.py"))
    shown = set()
    for page in PAGES:
        for part in blocks(page, "python"):
            for path in re.findall(r'--8<-- "(.*)"', part.text):
                assert part.text == f'--8<-- "{path}"\n'
                assert f'"{Path(path).stem}"' in tests
                shown.add(path)
    assert shown == {f"examples/{file.name}" for file in (ROOT / "examples").glob("*.py")}


def test_commands_exist():
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        text = page.read_text()
        for target in re.findall(r"(?:^|`)make ([\w-]+)\b", text, re.MULTILINE):
            assert f"\n{target}:" in makefile, (page, target)
        for module in re.findall(r"python -m ((?:experiments|benchmarks|pyro_ssl)[\w.]*)", text):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=name_of)
def test_options_of_commands_exist(page, monkeypatch, capsys):
    from pyro_ssl.command.main import main

    for line in commands(page):
        program, *arguments = shlex.split(line)
        if program == "pyro-ssl":
            with pytest.raises(SystemExit, match="0"):
                main([arguments[0], "--help"])
            known = set(re.findall(r"(?<!\w)--?[\w-]+", capsys.readouterr().out))
            assert {a for a in arguments if a.startswith("-")} <= known, line
        if program == "python" and arguments[1].startswith("experiments."):
            module = importlib.import_module(arguments[1])
            if "--help" not in arguments:
                config = tyro.cli(module.Config, args=arguments[2:])
                assert isinstance(config, module.Config)


def links(page: Path) -> list[str]:
    """Addresses of a page's links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", prose(page))


OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=name_of)
def test_links_lead_somewhere(page):
    for link in filter(None, (a or b for a, b in links(page))):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{link}: no such file"
        assert target.is_relative_to(ROOT), f"{link}: outside of the repository"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


def test_every_page_can_be_reached_and_every_picture_has_words():
    listed = re.findall(r"([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    cards = {f"cards/{a or b}" for a, b in links(DOCS / "cards" / "index.md") if "/" not in a}
    own = {p.relative_to(DOCS).as_posix() for p in PAGES[1:]}
    made = {f"notebooks/{script.stem}.md" for script in NOTEBOOKS}
    assert {*listed, *cards} == own | made | {"CONTRIBUTING.md"}
    assert len(listed) == len(set(listed))
    for page in PAGES:
        for words in re.findall(r"!\[(.*?)\]\(", page.read_text()):
            assert len(words) > 3, page


def test_every_model_has_a_page():
    text = {page: page.read_text() for page in PAGES if page.parent.name == "models"}
    for name in models.__all__:
        if not isinstance(getattr(models, name), type) or name in ("PyroModel", "SSLModel"):
            continue
        (page,) = (p for p, t in text.items() if f"<!-- docstring {name}: begin -->" in t)
        assert f"::: pyro_ssl.models.{name}\n" in text[page]
        for heading in ("## In Python", "## What it reaches", "## Reference"):
            assert heading in text[page], (name, heading)


def test_every_export_is_in_the_reference():
    """What `pyro_ssl` exports is in a module or class that a page documents."""
    pages = "".join(page.read_text() for page in PAGES)
    documented = set(re.findall(r"^::: (pyro_ssl[\w.]*)$", pages, re.MULTILINE))
    for name, module in pyro_ssl._MODULE_OF.items():
        places = {module, f"{module}.{name}", getattr(pyro_ssl, name).__module__}
        assert places & documented, name


@pytest.fixture
def hooks(monkeypatch):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install '.[docs]'")
    monkeypatch.syspath_prepend(DOCS)
    yield importlib.import_module("hooks")
    del sys.modules["hooks"]


def test_links_out_of_the_site_lead_to_copies(hooks):
    page = SimpleNamespace(file=SimpleNamespace(src_uri="models/m2.md"))
    text = (
        "[a](../../CHANGELOG.md#b) [c](../index.md#d) [e](https://f.org) [g](../../no.md) [h](#i)"
    )
    shown = hooks.on_page_markdown(text, page=page)
    assert shown == text.replace("../../CHANGELOG", "../CHANGELOG")


def test_links_to_and_from_notebooks_lead_to_their_pages(hooks):
    for source, text, expected in (
        ("index.md", "[a](../notebooks/your_own_data.py)", "[a](notebooks/your_own_data.md)"),
        ("notebooks/a.md", "[a](your_own_data.py)", "[a](your_own_data.md)"),
        ("notebooks/a.md", "[a](../docs/models/m2.md#b)", "[a](../models/m2.md#b)"),
        ("notebooks/a.md", "![a](a_1.png) [b](../LICENSE)", "![a](a_1.png) [b](../LICENSE)"),
    ):
        page = SimpleNamespace(file=SimpleNamespace(src_uri=source))
        assert hooks.on_page_markdown(text, page=page) == expected


def test_docstrings_are_tidy_in_the_reference(hooks):
    assert hooks.on_page_content("<p>Guide::</p><p>a::b</p>") == "<p>Guide:</p><p>a::b</p>"
    tidy = hooks.WithoutDescription()
    for text, shown in (
        ("A.\n\nB.\n\nDiffers from C: D.\n\nArgs:\n    e: f.", "A.\n\nArgs:\n    e: f."),
        ("A.\n\nDiffers from C: D.", "A.\n"),
        ("A.\n\nB.\n\nArgs:\n    e: f.", "A.\n\nB.\n\nArgs:\n    e: f."),
    ):
        model = SimpleNamespace(docstring=SimpleNamespace(value=text))
        tidy.on_class(cls=model)
        assert model.docstring.value == shown

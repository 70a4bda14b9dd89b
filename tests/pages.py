"""README.md, the pages of docs/ and the notebooks: what tests look for in them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Attributes:
        language: what is written behind the fence, "" for commands.
        line: the page's line that it begins in.
    """

    language: str
    text: str
    line: int


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[Block]:
    text = page.read_text()
    found = [Block(m[1], m[2], text[: m.start()].count("\n") + 1) for m in _FENCE.finditer(text)]
    return [block for block in found if block.language == language]


def block(page: Path, mark: str) -> str:
    """The one Python block of a page that contains `mark`."""
    (only,) = (b.text for b in blocks(page, "python") if mark in b.text)
    return only


def commands(page: Path) -> list[str]:
    """The lines of a page's blocks of commands, without comments."""
    lines = [line for b in blocks(page, "") for line in b.text.splitlines()]
    return [line.partition("#")[0].strip() for line in lines if line.partition("#")[0].strip()]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """What links can lead to in a page, as GitHub and Python-Markdown name it."""
    found = set()
    for title in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title).replace("`", "").lower()
        found.add(re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text)))
    return found


def small(code: str) -> str:
    """A page's code on data that needs no download, and trained for next to nothing."""
    for printed, tested in (
        ('load_dataset("mnist")', 'load_dataset("digits")'),
        ("validation=10_000", "validation=300"),
        ("labels=100", "labels=50"),
        ("epochs=20", "epochs=2"),
        ("epochs=50", "epochs=2"),
        ("in range(20)", "in range(2)"),
        ("in range(100)", "in range(3)"),
        # After so few steps no latent is in use.
        ("active_latents(vae, data.unlabelled_xs)", "(0, 1, 2)"),
        ("(random_state=0)", "(random_state=0, max_steps=40, members=2)"),
    ):
        code = code.replace(printed, tested)
    return code

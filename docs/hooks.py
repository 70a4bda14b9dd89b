"""What the site needs beside MkDocs and its plugins: files outside of this folder, tidy docstrings.

Pages are read on the repository, too: their links to results, examples and files of the root are
relative to the page. The site gets copies of these files, as if they lay in this folder.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"(?<=\]\()[^)#\s]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside of this folder that pages link to."""
    for page in [*files.documentation_pages()]:
        for link in _LINK.findall(page.content_string):
            path = _on_site(page.src_uri, link)
            if path is not None and path not in files.src_uris:
                files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to files outside of this folder lead to their copies, or pages."""
    folder = posixpath.dirname(page.file.src_uri) or "."

    def inside(match: re.Match[str]) -> str:
        path = _on_site(page.file.src_uri, match[0])
        return match[0] if path is None else posixpath.relpath(path, folder)

    return _LINK.sub(inside, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """End what introduces a formula in a docstring, "objective::", in one colon."""
    return html.replace("::</p>", ":</p>")


def _on_site(page: str, link: str) -> str | None:
    """Return where the site has a link's file, None if it is no file. Notebooks have pages."""
    folder = "" if page.startswith("notebooks/") else "docs"
    path = posixpath.normpath(posixpath.join(folder, posixpath.dirname(page), link))
    if not (ROOT / path).is_file():
        return None
    return re.sub(r"^(notebooks/\w+)\.py$", r"\1.md", path.removeprefix("docs/"))


class WithoutDescription(griffe.Extension):
    """Leaves out of a model's docstring what its page has above: p, q, objective, differences."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Keep the first line and the sections of a docstring that says how a model differs."""
        if cls.docstring and "\nDiffers from" in cls.docstring.value:
            text, heading, sections = cls.docstring.value.partition("\nArgs:\n")
            cls.docstring.value = text.partition("\n")[0] + "\n" + heading + sections

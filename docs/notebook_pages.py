"""The pages of notebooks/: each script is run, cell by cell, and shown with what its cells give.

The scripts are in jupytext's percent format: `# %%` begins a cell of code, `# %% [markdown]` one of
text. As in Jupyter, a cell shows what it prints, the value of its last line, and its figures.
"""

import ast
import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

FOLDER = Path(__file__).parent.parent / "notebooks"
_CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add a page for each script, and its figures."""
    # Tests run notebooks without MkDocs.
    from mkdocs.structure.files import File

    for script in sorted(FOLDER.glob("*.py")):
        page, pictures = run(script)
        files.append(File.generated(config, f"notebooks/{script.stem}.md", content=page))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    return files


def cells(script: Path) -> list[tuple[bool, str]]:
    """Return the cells of a script: whether it is one of text, and what it says."""
    _, *parts = _CELL.split(script.read_text())
    marked = zip(parts[::2], parts[1::2], strict=True)
    return [(bool(m), re.sub("(?m)^# ?", "", cell) if m else cell.strip()) for m, cell in marked]


def run(script: Path, scope: dict[str, Any] | None = None) -> tuple[str, dict[str, bytes]]:
    """Run a script; return its page, Markdown, and the page's pictures by their names.

    Args:
        script: the file.
        scope: gets the names that the script defines.
    """
    matplotlib.use("agg")
    plt.close("all")
    scope = {} if scope is None else scope
    scope["__name__"] = "__main__"
    parts, pictures = [], {}
    for is_text, cell in cells(script):
        if is_text:
            parts.append(cell)
            continue
        printed, value = _run_cell(cell, scope)
        shown, figures = _shown(value)
        text = f"``` {{ .text .output }}\n{printed.rstrip()}\n```" if printed else ""
        parts += [f"```python\n{cell}\n```", text, shown]
        for figure in figures:
            name = f"{script.stem}_{len(pictures) + 1}.png"
            pictures[name] = _png(figure)
            parts.append(f"![{_words(figure)}]({name})")
    return "\n\n".join(filter(None, parts)), pictures


def _run_cell(cell: str, scope: dict[str, Any]) -> tuple[str, Any]:
    """Return what a cell prints, and the value of its last line, None if that is no expression."""
    body = ast.parse(cell).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(ast.Module(body, []), "<cell>", "exec"), scope)
        value = None
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), scope)
    return printed.getvalue(), value


def _shown(value: Any) -> tuple[str, list[Figure]]:
    """Return a value as Markdown, and the figures to show: those of pyplot, and the value."""
    figures = [plt.figure(number) for number in plt.get_fignums()]
    plt.close("all")
    if isinstance(value, pd.DataFrame):
        # The theme has a style of its own for tables without a class.
        return value.to_html(border=0).replace(' class="dataframe"', ""), figures
    if isinstance(value, Figure):
        return "", [*figures, value]
    return "" if value is None else f"``` {{ .text .output }}\n{value!r}\n```", figures


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


def _words(figure: Figure) -> str:
    """Return a figure's title, or what its axes are, for those who cannot see it."""
    axes = figure.axes[0]
    title = figure.get_suptitle() or axes.get_title()
    return (title or f"{axes.get_ylabel()} over {axes.get_xlabel()}").replace("\n", ", ")

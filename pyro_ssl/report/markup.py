"""HTML in which every text is escaped, whatever its origin."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Elements without content.
_VOID = ("br", "img")
# Dots per inch of bitmap pictures.
_DPI = 144


class Html(str):
    """Text that is already HTML; any other text is escaped."""

    __slots__ = ()


def escaped(value: Any) -> Html:
    """Return a value as HTML that shows it."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def element(tag: str, *children: Any, **attributes: Any) -> Html:
    """Return an element.

    Args:
        tag: name of the element.
        children: its content: HTML, or values that are escaped.
        attributes: attributes, with "_" for "-" in their names, which may end in "_"; attributes
            that are None are left out.
    """
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    shown = "".join(f' {k}="{escaped(v)}"' for k, v in named.items() if v is not None)
    if tag in _VOID:
        return Html(f"<{tag}{shown}>")
    return Html(f"<{tag}{shown}>{joined(children)}</{tag}>")


def joined(parts: Iterable[Any]) -> Html:
    """Return the parts joined together."""
    return Html("".join(map(escaped, parts)))


def section(name: str, title: str, *parts: Any) -> Html:
    """Return a section of the page.

    Args:
        name: target of links.
        title: heading of the section.
        parts: content of the section; texts become paragraphs.
    """
    heading = f"{name}-title"
    paragraphs = [p if isinstance(p, Html) else element("p", p) for p in parts if p]
    title_ = element("h2", title, id=heading)
    return element("section", title_, *paragraphs, id=name, aria_labelledby=heading)


def table(caption: str, head: Sequence[Any], rows: Iterable[Sequence[Any]], kind: str = "") -> Html:
    """Return a table, in a box that scrolls if the table is wide.

    Args:
        caption: caption of the table.
        head: headings of the columns.
        rows: cells of each row; the first one is the row's heading. Cells may be `cell`s.
        kind: a CSS class.
    """
    top = element("tr", *[element("th", name, scope="col") for name in head])
    body = [
        # The box of names breaks only names that are too long.
        element("tr", element("th", element("span", first), scope="row"), *map(_cell, rest))
        for first, *rest in rows
    ]
    whole = element(
        "table",
        element("caption", caption),
        element("thead", top),
        element("tbody", *body),
        class_=kind or None,
    )
    return scrolling(whole, caption)


def scrolling(content: Html, label: str) -> Html:
    """Return wide content in a box that scrolls, also by keyboard."""
    return element("div", content, class_="wide", role="region", tabindex="0", aria_label=label)


def _cell(value: Any) -> Html:
    return value if isinstance(value, Html) and value.startswith("<td") else element("td", value)


def bar(share: float, shown: str) -> Html:
    """Return a number with a bar, as wide as a share in [0, 1] of the cell."""
    length = element("span", class_="bar", style=f"width:{100 * share:.1f}%")
    return element("td", shown, element("span", length, class_="track", aria_hidden="true"))


def picture(figure: Figure, alt: str, caption: str, pixels: bool = False) -> Html:
    """Return a figure embedded in the page.

    Args:
        figure: the figure.
        alt: description of the figure, for people who cannot see it.
        caption: text below it.
        pixels: whether it is a bitmap, not a line drawing.
    """
    buffer = io.BytesIO()
    # Equal figures give equal files.
    with matplotlib.rc_context({"svg.hashsalt": "pyro_ssl"}):
        if pixels:
            figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
        else:
            figure.savefig(buffer, format="svg", metadata={"Date": None})
    kind = "png" if pixels else "svg+xml"
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return embedded(buffer.getvalue(), kind, (width, height), alt, caption)


def embedded(content: bytes, kind: str, size: tuple[int, int], alt: str, caption: Any) -> Html:
    """Return an image file embedded in the page.

    Args:
        content: the file's bytes.
        kind: format of the file: png, svg+xml.
        size: width and height in CSS pixels.
        alt: description of the image, for people who cannot see it.
        caption: text below it.
    """
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    image = element("img", src=source, alt=alt, width=size[0], height=size[1])
    return element("figure", image, element("figcaption", caption))


def percent(share: float) -> str:
    """Return a share as a percentage; only 0 and 1 give 0 % and 100 %, a missing one a dash."""
    if share != share:
        return "\u2013"
    whole = f"{100 * share:.0f}"
    if whole == "0" and share > 0:
        whole = "<\u00a01"
    if whole == "100" and share < 1:
        whole = ">\u00a099"
    return f"{whole}\u00a0%"


def number(value: float, digits: int = 2) -> str:
    """Return a number with `digits` decimals; a missing one gives a dash."""
    return "\u2013" if value != value else f"{value:.{digits}f}".replace("-", "\u2212")


def count(rows: int, noun: str = "row") -> str:
    """Return a number of rows in words, such as "1 row" or "2,000 rows"."""
    plural = noun if rows == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{rows:,} {plural}"

"""Common parts of the page's sections."""

from collections.abc import Iterable

import pandas as pd

from pyro_ssl.report.markup import Html, element, scrolling, section


def part(name: str, title: str, text: str, commands: Iterable[str], *shown: Html) -> Html:
    """Return a section with its commands, or nothing if it has nothing to show."""
    if not any(shown):
        return Html("")
    lines = "\n".join(commands)
    made_by = scrolling(element("pre", element("code", lines)), f"Commands of “{title}”")
    return section(
        name, title, text, *[Html(s) for s in shown if s], element("p", "Made by:"), made_by
    )


def figures(*pictures: Html) -> Html:
    """Return pictures side by side, if there is room."""
    return element("div", *pictures, class_="figures") if any(pictures) else Html("")


def swept(results: pd.DataFrame) -> "pd.Series[bool]":
    """Return which runs belong to the sweep over numbers of labels."""
    return results["run"].str.match(r"(mnist_conv_m2|mnist_ccvae)/.*-sweep$")

"""A page of sections in one file, which loads nothing else."""

import base64
import hashlib
import re
from collections.abc import Iterable
from string import Template

from pyro_ssl.report.markup import Html, element, joined
from pyro_ssl.report.style import CSS

# Nothing may be loaded, and no code may run but the page's own, whatever the data holds.
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'$allowed">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>$title</title>
<style>$css</style>
</head>
<body>
$header
$contents
<main>
$sections
</main>
$script
</body>
</html>
""")
_HEADING = re.compile(r'<section id="([a-z]+)"[^>]*><h2[^>]*>(.*?)</h2>')


def document(
    title: str, header: Html, sections: Iterable[Html], css: str = "", script: str = ""
) -> str:
    """Return a page: header, links to its sections, and the sections.

    Args:
        title: title of the window.
        header: the top of the page.
        sections: the sections, see `markup.section`; empty ones are left out.
        css: additional style rules, beside those of every report.
        script: JavaScript of the page; no other code runs.
    """
    body = Html("\n".join(part for part in sections if part))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _PAGE.substitute(
        title=title,
        css=CSS + css,
        header=header,
        contents=_contents(body),
        sections=body,
        allowed=f"; script-src 'sha256-{digest}'" if script else "",
        script=f"<script>{script}</script>" if script else "",
    )


def _contents(body: Html) -> Html:
    """Return links to the sections."""
    links = [
        element("li", element("a", Html(title), href=f"#{name}"))
        for name, title in _HEADING.findall(body)
    ]
    return element("nav", element("ul", joined(links)), aria_label="Contents")

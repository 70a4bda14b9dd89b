"""Pages as a browser shows them, on wide and on narrow screens."""

import numpy as np
import pytest

from pyro_ssl.report import write_report
from tests.report.browser import CHROMIUM, open_browser
from tests.report.pages import EVIL, arrays, make, partly

pytestmark = [
    pytest.mark.usefixtures("few_steps"),
    pytest.mark.skipif(not CHROMIUM, reason="PAGES NOT LOOKED AT: there is no Chromium"),
]

WIDTH = "document.documentElement.scrollWidth"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def many_classes():
    """Rows of forty classes, whose names are long and have no place to be broken at."""
    codes = np.arange(160) % 40
    names = np.array([f"{EVIL}{k}" + "of_a_name_without_end" * 4 for k in range(40)], dtype=object)
    xs = np.random.default_rng(0).normal(size=(160, 30)) + codes[:, None] / 8
    return xs, partly(names[codes], 0.6)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("data", [many_classes, lambda: arrays(1, 6, 6)], ids=["many", "images"])
def test_a_page_fits_and_has_no_errors(browser, data, width, tmp_path):
    xs, y = data()
    path = write_report(tmp_path, make(xs, y, model="m2", classifiers=None), xs, y)
    browser.open(path, width)
    assert browser.value(WIDTH) <= width
    assert browser.complaints == []
    others = [url for url in browser.requests if not url.startswith("data:")]
    assert others == [path.as_uri()]
    assert browser.value("[...document.images].every(i => i.naturalWidth > 100)")
    # No text is cut off but in boxes that scroll, or with dots.
    cut = "[...document.querySelectorAll('p, li, dd, h1, h2, figcaption')]"
    assert browser.value(f"{cut}.filter(e => e.scrollWidth > e.clientWidth + 1).length") == 0


def test_what_is_wrong_would_be_seen(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(
        '<div style="width:500px">wide</div><img src="http://127.0.0.1:9/x.png">'
        "<script>console.error('loud'); nothing.at.all</script>"
    )
    browser.open(path, 390)
    assert browser.value(WIDTH) >= 500
    assert any("loud" in text for text in browser.complaints)
    assert any("ReferenceError" in text for text in browser.complaints)
    assert "http://127.0.0.1:9/x.png" in browser.requests
    with pytest.raises(AssertionError, match="ERR_FILE_NOT_FOUND"):
        browser.open(tmp_path / "none.html", 390)

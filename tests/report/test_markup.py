import pytest

from pyro_ssl.report.markup import Html, bar, count, element, number, percent, table


def test_all_but_html_is_escaped():
    found = element("p", "a < b", element("b", '"&"'), title='x" onclick="y', class_=None)
    expected = '<p title="x&quot; onclick=&quot;y">a &lt; b<b>&quot;&amp;&quot;</b></p>'
    assert found == expected
    assert isinstance(found, Html)
    # HTML and text together are text, which is escaped again rather than not at all.
    assert element("p", found + "<").count("&lt;p") == 1


def test_names_of_attributes():
    assert element("td", class_="wide", aria_label="x") == '<td class="wide" aria-label="x"></td>'
    assert element("br") == "<br>"


def test_cells_that_only_look_like_cells_are_escaped():
    found = table("caption", ("a", "b"), [("<td>", "<td>"), ("x", bar(0.5, "half"))])
    assert found.count("&lt;td&gt;") == 2
    assert found.count("<td") == 2
    assert "width:50.0%" in found


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0 %"), (0.001, "< 1 %"), (0.005, "< 1 %"), (0.006, "1 %"), (0.994, "99 %"),
        (0.996, "> 99 %"), (1, "100 %"), (float("nan"), "\u2013"),
    ],
)  # fmt: skip
def test_percentages(share, shown):
    assert percent(share).replace("\u00a0", " ") == shown


def test_numbers():
    assert [number(v) for v in (1.005, -2, float("nan"))] == ["1.00", "\u22122.00", "\u2013"]
    assert [count(n, "class") for n in (1, 2000)] == ["1 class", "2,000 classes"]
    assert count(0) == "0 rows"

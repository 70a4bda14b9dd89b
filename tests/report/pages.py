"""Small classifiers of all kinds of rows, and what a page has to be."""

from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from pyro_ssl.estimator import SemiSupervisedVAEClassifier

EVIL = "<script>alert('&\"')</script>"
VOID = ("meta", "link", "img", "br", "wbr")


def make(xs, y, **options):
    linear = {"linear": LogisticRegression(max_iter=200)}
    few = {"max_steps": 20, "min_steps": 5, "members": 2, "random_state": 0, "device": "cpu"}
    return SemiSupervisedVAEClassifier(**{**few, "classifiers": linear, **options}).fit(xs, y)


def table(rows=80):
    """A table of columns of several kinds, with missing entries, and labels of two classes."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, rows)
    frame = pd.DataFrame(
        {
            "width": rng.normal(size=rows) + 2 * codes,
            "price": np.exp(2 * rng.normal(size=rows)),
            "number": rng.poisson(5 + 10 * codes),
            f"kind {EVIL}": np.where(rng.random(rows) < 0.3, EVIL, np.array(["no", "yes"])[codes]),
            "same": 1,
        }
    )
    frame["width"] = frame["width"].mask(rng.random(rows) < 0.2)
    return frame, partly(np.array(["b & c", EVIL], dtype=object)[codes], 0.5)


def partly(labels, share):
    """Labels of which some are unknown; of each class at least two are known."""
    known = np.random.default_rng(1).random(len(labels)) < share
    for label in set(labels.tolist()):
        known[np.flatnonzero(labels == label)[:2]] = True
    return np.where(known, labels.astype(object), None)


def arrays(*shape, classes=3, rows=60):
    """Images or signals, and labels."""
    rng = np.random.default_rng(0)
    codes = np.arange(rows) % classes
    levels = codes.reshape(-1, *[1] * len(shape)) / classes
    return 0.3 * rng.random((rows, *shape)) + levels, partly(codes, 0.5)


def documents(rows=60):
    """Documents of counts, and labels."""
    rng = np.random.default_rng(0)
    codes = np.arange(rows) % 2
    counts = rng.poisson(np.where(codes[:, None] == np.arange(12) % 2, 2.0, 0.3))
    return sp.csr_matrix(counts), partly(codes, 0.5)


class Checked(HTMLParser):
    """Reads a page, and checks that it is whole, self-contained and accessible.

    Attributes:
        text: all text.
        headings: levels and texts.
        images: alternative texts.
        tables: texts of cells, row by row, by caption.
    """

    def __init__(self, page):
        super().__init__()
        self.text, self.headings, self.images, self.tables = "", [], [], {}
        self._open, self._ids, self._links, self._rows = [], [], [], []
        self.feed(page)
        self.close()
        assert not self._open, self._open
        assert len(self._ids) == len(set(self._ids))
        assert set(self._links) <= set(self._ids)
        levels = [level for level, _ in self.headings]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b <= a + 1 for a, b in pairwise(levels))

    def handle_starttag(self, tag, attrs):
        self._check(tag, dict(attrs))
        self._ids += [value for name, value in attrs if name == "id"]
        self._links += [value[1:] for name, value in attrs if name == "href" and value[0] == "#"]
        if tag == "img":
            self.images.append(dict(attrs)["alt"])
        if tag in ("h1", "h2", "h3"):
            self.headings.append((int(tag[1]), ""))
        if tag == "table":
            self._caption, self._rows = "", []
        if tag == "tr":
            self._rows.append([])
        if tag in ("th", "td"):
            self._rows[-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def _check(self, tag, given):
        assert tag not in ("script", "iframe", "object", "form"), tag
        assert not [name for name in given if name.startswith("on")], given
        assert given.get("href", "#")[0] == "#" or given["href"] == "data:,"
        if tag == "html":
            assert given["lang"] == "en"
        if tag == "img":
            assert given["src"].startswith("data:image/")
            assert len(given["alt"]) > 20
        if tag == "th":
            assert given["scope"] in ("row", "col")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.text += data
        if "caption" in self._open:
            self._caption += data
        elif {"th", "td"} & set(self._open):
            self._rows[-1][-1] += data
        if self._open and self._open[-1] in ("h1", "h2", "h3"):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

"""The page about all results, one file that needs no network."""

from pathlib import Path

import pandas as pd

from experiments.engine.page.sections import all_sections
from experiments.engine.page.style import CSS, SCRIPT
from pyro_ssl.report.document import document
from pyro_ssl.report.markup import Html, count, element


def results_page(root: Path, results: pd.DataFrame) -> str:
    """Return the page.

    Args:
        root: the results folder, with the files of runs and of benchmarks.
        results: the final figures in it, as returned by `load_summary`.
    """
    return document(
        "Results of pyro_ssl", header(results), all_sections(root, results), CSS, SCRIPT
    )


def header(results: pd.DataFrame) -> Html:
    """Return the top of the page: its subject, and how to read it."""
    facts = [
        ("finished runs", f"{len(results):,}"),
        ("configurations", f"{results['run'].nunique():,}"),
        ("experiments", f"{results['experiment'].nunique():,}"),
        ("data sets", f"{results['dataset'].nunique():,}"),
    ]
    pairs = [element("div", element("dt", k), element("dd", v)) for k, v in facts]
    lead = (
        f"Results of {count(results['experiment'].nunique(), 'experiment')} on semi-supervised "
        "learning with deep generative models, each with the command that reproduces it."
    )
    reading = (
        "A figure is the mean over seeds ± half the 95 % interval of that mean, by Student's t "
        "distribution; a single seed has no interval. With two or three seeds such an interval is "
        "very wide. It says nothing about other data. A click on a column's name sorts a table. "
        "Written by "
    )
    command = element("code", "python -m experiments.report")
    return element(
        "header",
        element("h1", "Results of pyro_ssl"),
        element("p", lead, class_="lead"),
        element("dl", *pairs, class_="facts"),
        element("p", reading, command, ".", class_="note"),
    )

"""A report on a fitted classifier as one page, which needs no network and runs no code."""

from pathlib import Path
from typing import Any

from sklearn.utils.validation import check_is_fitted

from pyro_ssl.files import write_bytes
from pyro_ssl.report.closing import limits, settings
from pyro_ssl.report.document import document
from pyro_ssl.report.held_out import confusions, reliability
from pyro_ssl.report.latents import latent_map, novelty
from pyro_ssl.report.restored import restored
from pyro_ssl.report.rows import choose_rows
from pyro_ssl.report.summary import decision, headline
from pyro_ssl.report.training import class_shares, columns, course

REPORT = "report.html"


def write_report(
    folder: str | Path,
    classifier: Any,
    X: Any = None,  # noqa: N803
    y: Any = None,
    rows: int | None = None,
) -> Path:
    """Write `report.html`, a description of a fitted classifier, into a folder.

    The report has the decision's accuracy on held-out labelled rows, its candidates, a confusion
    matrix and a reliability diagram of these rows, class shares, learning curves, the columns as
    read, a map of the latents, reconstructions or an imputation check, novelty, limits, settings
    and versions. Parts for which the classifier lacks data are left out; a classifier that was
    loaded from files lacks its predictions for held-out rows. **Rows of the data can be seen in the
    report.**

    Args:
        folder: folder of the report, such as one that `save` wrote; a former report is replaced.
        classifier: a fitted `SemiSupervisedVAEClassifier`.
        X: the rows that it learnt from, or some of them; at most 1,000 are used. None for the rows
            that the classifier kept.
        y: their labels, `[N]`, some of them unknown; None if all are.
        rows: number of rows that it learnt from, if X has only some of them.

    Returns:
        The path of the report.

    Raises:
        DataError: if rows or labels are invalid.
        ResultsError: if the file cannot be written.
    """
    check_is_fitted(classifier)
    chosen = choose_rows(classifier, X, y, rows)
    held_out = classifier.held_out_
    sections = [
        decision(classifier, held_out),
        confusions(classifier, held_out),
        reliability(held_out),
        class_shares(classifier),
        course(classifier),
        columns(classifier),
        latent_map(classifier, chosen),
        restored(classifier, chosen),
        novelty(classifier),
        settings(classifier),
        limits(classifier),
    ]
    header = headline(classifier, chosen, held_out)
    page = document("Report on a classifier", header, sections)
    path = Path(folder) / REPORT
    # Lone surrogates, which names may contain, cannot be encoded.
    write_bytes(page.encode("utf-8", "replace"), path)
    return path

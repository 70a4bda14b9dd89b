"""The top of a report: results, and how decisions are made."""

from typing import Any

import numpy as np

from pyro_ssl.estimator.probabilities import class_balanced, log_loss
from pyro_ssl.estimator.weighing import BAYES, HeldOut, Q
from pyro_ssl.report.intervals import Estimate, accuracy, balanced_accuracy
from pyro_ssl.report.markup import Html, bar, count, element, number, percent, section, table
from pyro_ssl.report.rows import ReportRows

# Descriptions of the model's two rules.
_RULES = {
    Q: "the model's own classifier, which was trained together with it",
    BAYES: "the model's densities of each class, by Bayes' rule",
}
# Number of held-out rows below which an interval says more than the figure itself.
FEW = 50


def headline(classifier: Any, rows: ReportRows, held_out: HeldOut | None) -> Html:
    """Return the first lines of the page: the amount of data, and the quality of decisions."""
    classes = len(classifier.classes_)
    labelled = int((classifier._taught[1] >= 0).sum())
    total = "not kept" if rows.total is None else f"{rows.total:,}"
    facts = [("rows", total), ("labelled rows", f"{labelled:,}"), ("classes", f"{classes:,}")]
    if held_out is None or not len(held_out.codes):
        why = _why_no_figures(classifier, held_out)
        return element("header", _title(classes), element("p", why, class_="lead"), _facts(facts))
    guesses = held_out.probabilities.argmax(1)
    plain, balanced = (f(held_out.codes, guesses) for f in (accuracy, balanced_accuracy))
    most = float(np.bincount(held_out.codes).max() / len(guesses))
    present = len(np.unique(held_out.codes))
    facts += [
        ("held-out accuracy", _shown(plain)),
        ("held-out balanced accuracy", _shown(balanced)),
    ]
    lead = (
        f"The decision was right for {percent(plain.value)} of {count(len(guesses))} with a known "
        f"label that the judging model did not see (95 % interval: {_between(plain)})."
    )
    against = (
        f"Always predicting the most frequent class would be right for {percent(most)} of them, "
        f"with a balanced accuracy of {percent(1 / present)}."
    )
    return element(
        "header",
        _title(classes),
        element("p", lead, class_="lead"),
        _facts(facts),
        element("p", against),
        element("p", _caveats(classifier, held_out), class_="note"),
    )


def decision(classifier: Any, held_out: HeldOut | None) -> Html:
    """Return the candidates, their figures, and their weights."""
    found = classifier.decision_
    order = found["weight"].argsort()[::-1]
    rows = [
        [
            row["candidate"],
            bar(row["weight"], percent(row["weight"])),
            percent(row["accuracy"]),
            percent(row["balanced_accuracy"]),
            number(row["log_loss"]),
            number(row["temperature"]),
        ]
        for row in found.iloc[order].to_dict("records")
    ]
    if held_out is not None and len(held_out.codes) and len(found) > 1:
        rows.append(["the decision, their mixture", "", *_figures(held_out), ""])
    names = found["candidate"].tolist()
    heads = ("Candidate", "Weight", "Accuracy", "Balanced accuracy", "Log-loss", "Temperature")
    judged_by = count(int(found["held_out_rows"].iloc[0]), "held-out labelled row")
    return section(
        "decision",
        "The decision",
        _meaning(found),
        table(f"Candidates, judged by {judged_by}", heads, rows),
        element("p", " ".join(_explained(names, _is_even(classifier))), class_="note"),
    )


def _title(classes: int) -> Html:
    return element("h1", f"Report on a classifier of {classes:,} classes")


def _why_no_figures(classifier: Any, held_out: HeldOut | None) -> str:
    if held_out is None:
        return (
            "This classifier was loaded from files, which do not hold its predictions for held-out "
            "rows. The figures of its candidates, from the fit, are under “The decision”."
        )
    if len(classifier.models_) == 1:
        return (
            "How good this classifier is cannot be told: its single model learnt from all labelled "
            "rows, so that none was held out. Use members=5."
        )
    return (
        "How good this classifier is cannot be told: no class has two labelled rows, so that none "
        "could be held out. Label more rows."
    )


def _facts(facts: list[tuple[str, Any]]) -> Html:
    pairs = [element("div", element("dt", k), element("dd", v)) for k, v in facts]
    return element("dl", *pairs, class_="facts")


def _shown(found: Estimate) -> Html:
    interval = element("small", _between(found))
    return element("span", percent(found.value), " ", interval)


def _between(found: Estimate) -> str:
    return f"{percent(found.low)} to {percent(found.high)}"


def _caveats(classifier: Any, held_out: HeldOut) -> str:
    """Return the scope of the figures, and reasons why they may be too high or too low."""
    codes, absent = held_out.codes, len(classifier.classes_) - len(np.unique(held_out.codes))
    chosen = (
        "the length of training"
        if len(classifier.decision_) == 1
        else ("the candidates' weights and the length of training")
    )
    parts = [
        "Each of these rows was judged by a model and by classifiers that were trained without it.",
        "The balanced accuracy is the mean of the classes' own accuracies. Intervals are Wilson's; "
        "that of the balanced accuracy counts rows by Kish's effective number.",
        f"Temperatures, {chosen} were chosen by these same rows. Those are few numbers, so the "
        "figures are slightly optimistic.",
        "They hold for rows like the labelled ones, drawn in the same way.",
    ]
    if absent:
        parts.append(
            f"{count(absent, 'class')} with fewer than two labelled rows could not be held out and "
            f"{'is' if absent == 1 else 'are'} not counted."
        )
    if len(codes) < FEW:
        parts.insert(0, f"With {count(len(codes))} the interval says more than the figure.")
    return " ".join(parts)


def _meaning(found: Any) -> str:
    if len(found) == 1:
        return (
            f"One candidate decides, {found['candidate'].iloc[0]}: no other was weighed against "
            "it. Its probabilities are calibrated by a temperature."
        )
    best = found.loc[found["weight"].idxmax()]
    return (
        "Probabilities are a weighted mean of those of the candidates, each calibrated by its "
        f"temperature; {best['candidate']} weighs most, with {percent(best['weight'])}."
    )


def _is_even(classifier: Any) -> bool:
    """Return whether predictions assume that all classes are equally frequent."""
    prior = classifier._prior()
    return bool(np.allclose(prior, 1 / len(prior)))


def _explained(names: list[str], even: bool) -> list[str]:
    known = [f"{name} is {_RULES[name]}." for name in names if name in _RULES]
    others = [name for name in names if name not in _RULES]
    if others:
        known.append(f"The others are scikit-learn's: {', '.join(others)}.")
    if not even:
        known.append(
            "Candidates are judged as if all classes were equally frequent, their mixture under "
            "the class shares and costs of predictions."
        )
    return [
        *known,
        "Log-loss is the mean of \u2212log p of the true class in nats, classes counting the same; "
        "lower is better. A temperature above 1 means that a candidate was too sure.",
    ]


def _figures(held_out: HeldOut) -> list[str]:
    """Return the mixture's accuracy, balanced accuracy and log-loss."""
    codes, said = held_out
    guesses = said.argmax(1)
    loss = log_loss(said, codes, class_balanced(codes, said.shape[1]))
    shares = [percent(f(codes, guesses).value) for f in (accuracy, balanced_accuracy)]
    return [*shares, number(loss)]

"""Sections on classifiers: their accuracy, beside published figures and over epochs."""

from pathlib import Path

import pandas as pd

from experiments.engine.page import commands
from experiments.engine.page.part import figures, part, swept
from experiments.engine.page.pictures import broad, curves, left_by_runs
from experiments.engine.page.tables import benchmark, beside_published, by_labels, measured
from experiments.engine.results import display_name
from pyro_ssl import plots
from pyro_ssl.report.markup import Html


def published(root: Path, results: pd.DataFrame) -> Html:
    """Return our figures beside those of others."""
    text = (
        "Figures that others published, or that their code gives, beside ours for the same model; "
        "beside the residual M2, those of other methods for the same task. Splits, numbers of "
        "validation rows and ways to choose differ, as the notes say. Ours: the epoch is chosen on "
        "10,000 labelled validation rows of MNIST that are never trained on, and the test set is "
        "read once. Methods that this library does not have are listed last."
    )
    by = (
        commands.M2,
        commands.M1M2,
        commands.MORE_LABELS,
        *commands.ALL_RECORDS,
        commands.ADGM,
        commands.SVM,
        commands.TREATMENTS,
        commands.SWEEP,
        commands.HASHING,
    )
    return part("published", "Beside published figures", text, by, beside_published(results))


def accuracy(root: Path, results: pd.DataFrame) -> Html:
    """Return accuracies and calibration errors of all other classifiers."""
    apart = results["experiment"].isin(("mnist_label_treatments", "shapes_ccvae"))
    others = results[~apart & ~swept(results)]
    measures = ("test_accuracy", "test_ece", "seconds_per_epoch")
    text = (
        "Classifiers with few labels. Accuracy and expected calibration error (15 bins) are on the "
        "test set. Runs tagged plain and fast are 40 epochs of M2: in float32 with Pyro's own "
        "TraceEnum_ELBO, and in bfloat16, compiled, with our ELBO."
    )
    by = (
        commands.M2,
        commands.RAO_BLACKWELL,
        commands.TWO_D,
        commands.M1M2,
        commands.MORE_LABELS,
        *commands.ALL_RECORDS,
        commands.ADGM,
        commands.SVM,
        commands.CIFAR,
    )
    table = measured(others, measures, "Test accuracy and calibration error in percent")
    rules = (
        "test_bayes_accuracy", "test_weighted_bayes_accuracy", "test_accuracy", "test_bayes_ece",
        "test_weighted_bayes_ece", "test_ece",
    )  # fmt: skip
    caption = "By Bayes' rule from bounds, from importance-weighted ones, and by q(y|x), in percent"
    return part("accuracy", "Accuracy", text, by, table, measured(others, rules, caption))


def treatments(root: Path, results: pd.DataFrame) -> Html:
    """Return the gains and costs of treatments of the missing label."""
    rows = results[results["experiment"] == "mnist_label_treatments"]
    measures = (
        "test_accuracy", "validation_accuracy", "test_ece", "test_elbo", "seconds_per_epoch",
        "peak_memory_mib",
    )  # fmt: skip
    text = (
        "Treatments of the missing label, with the same networks, rows, splits and schedule. The "
        "second table shows them as estimators of the gradient of M2's bound with respect to "
        "q(y|x): relative bias with its 95 % limits, and the variance of a draw in multiples of "
        "the sum over all classes, also at equal numbers of labels visited."
    )
    columns = (
        "estimator", "q_y", "temperature", "straight_through", "labels", "bias", "bias_low",
        "bias_high", "times_sum", "cost_times_sum",
    )  # fmt: skip
    found = measured(rows, measures, "Accuracies and errors in percent, bounds in nats a row")
    if not found:
        return Html("")
    return part(
        "treatments", "Treatments of the missing label", text,
        (f"{commands.TREATMENTS} --jobs 2", "python -m benchmarks.estimators"), found,
        benchmark(root, "estimators", columns, "Bias and variance of gradients, on digits"),
    )  # fmt: skip


def labels(root: Path, results: pd.DataFrame) -> Html:
    """Return the sweep over numbers of labels."""
    rows = results[swept(results)]
    if rows.empty or "test_ece" not in rows:
        return Html("")
    named = rows.assign(model=rows["model"].map(display_name), labels=rows["labels"].astype(int))
    title = f"{rows['dataset'].iloc[0]}, 95 % intervals"
    text = (
        "M2 (Rao-Blackwellised), CCVAE and the classifier of the labelled rows alone, all with the "
        "same convolutions and steps, by the number of labelled rows."
    )
    alt = "Curves of test accuracy and calibration error against the number of labelled rows."
    figure = broad(plots.by_label_fraction(named, title), alt, f"Label sweep, {title}.")
    return part("labels", "More labels", text, (commands.SWEEP,), by_labels(rows), figure)


def course(root: Path, results: pd.DataFrame) -> Html:
    """Return curves over epochs."""
    compared = [
        curves(root, results, experiment, "validation_accuracy")
        for experiment in ("mnist_m2", "mnist_m1m2", "mnist_label_treatments")
    ]
    compared += [curves(root, results, "mnist_label_treatments", "unlabelled_kl_z")]
    compared += [curves(root, results, "mnist_m1", "validation_elbo")]
    text = "Each run's CSV has a row an epoch; pyro_ssl.load_results reads all of them at once."
    return part(
        "curves",
        "Curves",
        text,
        (commands.M2, commands.M1M2, commands.TREATMENTS, commands.M1),
        *compared,
    )


def calibration(root: Path, results: pd.DataFrame) -> Html:
    """Return reliability diagrams."""
    runs = ("mnist_m2/m2-mnist-100", "mnist_m2/mlpclassifier-mnist-100")
    text = "How often the most probable class is right, by the model's confidence in it."
    shown = figures(left_by_runs(root, "reliability", runs))
    return part("calibration", "Calibration", text, (commands.M2,), shown)

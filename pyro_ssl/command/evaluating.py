"""The command `evaluate`: predictions compared with labels."""

import json
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyro_ssl.command.labels import are_known, check_codes, codes_of
from pyro_ssl.command.model_folder import checked_output, load_model
from pyro_ssl.command.options import Evaluate
from pyro_ssl.command.parts import Part
from pyro_ssl.command.sources import open_for_model
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.files import write_text

Floats = NDArray[np.floating[Any]]

_BINS = 15
# Largest number of classes whose confusion matrix is printed.
_SHOWN = 20


def run(options: Evaluate) -> None:
    """Compare predictions for a file with its labels; print the figures, and write them as JSON.

    Raises:
        PyroSSLError: if options, model, data or output are invalid.
    """
    if options.out is not None:
        checked_output(options.out, options.data)
        if options.out.suffix.lower() != ".json":
            raise ConfigError(f"out is {options.out}, expected a name that ends with .json")
    classifier, recipe = load_model(options.model)
    source = open_for_model(recipe, options, options.labels)
    figures = Figures(len(classifier.classes_))
    rows = 0
    for part in source.parts():
        _check_label_column(part, source.recipe.label_column, options)
        rows += len(part)
        known = are_known(part.labels, recipe.unlabelled)
        if known.any():
            labels = part.labels[known]
            codes = codes_of(labels, classifier.classes_)
            check_codes(codes, labels, classifier.classes_)
            figures.add(classifier.predict_proba(_rows(part.rows, known)), codes)
    if not figures.rows:
        where = source.recipe.label_column
        raise DataError(
            f"{options.data} has no known label among {rows} rows, expected some"
            + (f" in the column {where!r}" if where else ": .npy data needs --labels")
        )
    found = {"rows": figures.rows, "rows_without_label": rows - figures.rows, **figures.found()}
    found["classes"] = classifier.classes_.tolist()
    _show(found)
    if options.out is not None:
        write_text(json.dumps(found, indent=1) + "\n", options.out)


class Figures:
    """Figures for predictions that come in parts.

    Args:
        classes: number of classes K.
    """

    def __init__(self, classes: int) -> None:
        self.confusion = np.zeros((classes, classes), dtype=np.int64)
        self._loss = 0.0
        # For each bin of confidence: rows, sum of confidences, correct rows.
        self._bins = np.zeros((3, _BINS))

    @property
    def rows(self) -> int:
        """Rows so far."""
        return int(self.confusion.sum())

    def add(self, probabilities: Floats, codes: NDArray[np.int64]) -> None:
        """Add rows.

        Args:
            probabilities: `[N, K]`.
            codes: their true classes, `[N]`.
        """
        guesses = probabilities.argmax(1)
        np.add.at(self.confusion, (codes, guesses), 1)
        truth = probabilities[np.arange(len(codes)), codes]
        self._loss -= float(np.log(np.maximum(truth, np.finfo(np.float64).tiny)).sum())
        confidence = probabilities.max(1)
        # The bins are ]0, 1/15], ]1/15, 2/15], ...
        bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
        for place, values in enumerate((np.ones_like(confidence), confidence, guesses == codes)):
            self._bins[place] += np.bincount(bins, values, minlength=_BINS)

    def found(self) -> dict[str, Any]:
        """Return the figures.

        These are accuracy; balanced accuracy, the mean recall of the classes that occur; log loss
        in nats per row; the expected calibration error of the most probable class (Guo et al. 2017,
        eq. 3, 15 bins); and the confusion matrix, true classes by predicted ones.
        """
        counts = self.confusion.sum(1)
        right = self.confusion.diagonal()
        present = counts > 0
        _, confidence, correct = self._bins
        return {
            "accuracy": float(right.sum() / counts.sum()),
            "balanced_accuracy": float((right[present] / counts[present]).mean()),
            "log_loss": self._loss / self.rows,
            "calibration_error": float(np.abs(confidence - correct).sum() / self.rows),
            "confusion": self.confusion.tolist(),
        }


def _check_label_column(part: Part, name: str | None, options: Evaluate) -> None:
    if part.raw is not None and name not in part.raw.columns:
        raise DataError(
            f"{options.data} has no column {name!r} of labels: name it by --label-column"
        )


def _rows(rows: Any, chosen: NDArray[np.bool_]) -> Any:
    return rows[chosen].reset_index(drop=True) if hasattr(rows, "columns") else rows[chosen]


def _show(found: dict[str, Any]) -> None:
    print(f"rows              {found['rows']} ({found['rows_without_label']} without a label)")
    print(f"accuracy          {found['accuracy']:.4f}")
    print(f"balanced accuracy {found['balanced_accuracy']:.4f}")
    print(f"log loss          {found['log_loss']:.4f} nats a row")
    print(f"calibration error {found['calibration_error']:.4f}")
    names = found["classes"]
    if len(names) > _SHOWN:
        print(f"confusion         of {len(names)} classes: write it with -o FILE.json")
        return
    print("confusion, rows true, columns predicted:")
    print(pd.DataFrame(found["confusion"], index=names, columns=names).to_string())

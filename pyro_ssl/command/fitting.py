"""The command `fit`: from a file to a model folder."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pyro_ssl.command.digests import digest_of
from pyro_ssl.command.families import families_of
from pyro_ssl.command.formats import format_of
from pyro_ssl.command.labels import are_known, check_no_fractions, marker_among
from pyro_ssl.command.model_folder import fit_folder
from pyro_ssl.command.options import Fit
from pyro_ssl.command.sources import Source, open_for_training
from pyro_ssl.command.tables import warn_of_ids
from pyro_ssl.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pyro_ssl.estimator import SemiSupervisedVAEClassifier

# Options that do not affect the result.
_FREE = ("data", "out", "labels", "resume", "overwrite", "quiet", "jobs")


def run(options: Fit) -> None:
    """Fit a classifier to data, and write its folder.

    Raises:
        PyroSSLError: if options, data or the folder are invalid.
    """
    with fit_folder(options.out, options.resume, options.overwrite) as folder:
        source = open_for_training(options, options.data)
        in_table = source.recipe.kind == "table" or source.recipe.image_column is not None
        if in_table and options.label_column is None:
            raise ConfigError(
                f"{options.data} is a table: name the column with the labels by --label-column"
            )
        digest = digest_of(source.files, source.root)
        said = {name: v for name, v in asdict(options).items() if name not in _FREE}
        folder.begin({**said, "data": digest["sha256"]})
        rows = _Counted(source)
        marker = marker_among(source, options.unlabelled)
        classifier = make_classifier(options, source.recipe.kind, marker)
        classifier.set_params(checkpoint=folder.state)
        fit_in_parts(classifier, rows)
        # Neither belongs to the model, and a path would be wrong elsewhere.
        classifier.set_params(checkpoint=None, verbose=0, n_jobs=None)
        digest["format"] = format_of(options.data)
        about = {"data": digest, "rows": rows.rows, "labelled_rows": rows.labelled}
        folder.finish(classifier, source.recipe, about)
    print(f"{options.out}: a model of {rows.rows} rows, {rows.labelled} of them labelled,")
    shown = ", ".join(map(str, classifier.classes_[:20].tolist()))
    print(f"of {len(classifier.classes_)} classes: {shown}")


def make_classifier(options: Fit, kind: str, unlabelled: Any) -> "SemiSupervisedVAEClassifier":
    """Return the classifier that options describe.

    Args:
        options: the options.
        kind: the kind of rows, see `Recipe`.
        unlabelled: the marker of unknown labels, as in the data; None for none.

    Raises:
        ConfigError: if an option is invalid.
    """
    from pyro_ssl.estimator import SemiSupervisedVAEClassifier

    return SemiSupervisedVAEClassifier(
        options.model,
        columns=families_of(options.columns, kind),
        unlabelled=unlabelled,
        class_prior=_prior(options.class_prior),
        members=options.members,
        max_steps=options.max_steps,
        max_rows=options.max_rows,
        device=options.device,
        n_jobs=options.jobs,
        random_state=options.seed,
        verbose=0 if options.quiet else 1,
    )


def fit_in_parts(classifier: "SemiSupervisedVAEClassifier", rows: "_Counted") -> None:
    """Fit a classifier to rows that come in parts."""
    classifier.fit_parts(rows)


class _Counted:
    """Rows and labels in parts, and their numbers."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.rows = self.labelled = 0

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        self.rows = self.labelled = 0
        for part in self._source.parts():
            if not self.rows and self._source.recipe.kind == "table":
                warn_of_ids(part.rows)
            self.rows += len(part)
            known = are_known(part.labels, self._source.recipe.unlabelled)
            self.labelled += int(known.sum())
            check_no_fractions(part.labels[known], self._source.recipe.label_column)
            yield part.rows, part.labels
        if not self.labelled:
            raise DataError(
                f"no label is known among {self.rows} rows, expected some of each class: labels "
                "are empty where unknown"
            )


def _prior(stated: tuple[str, ...]) -> Any:
    if len(stated) == 1 and stated[0] in ("uniform", "estimated"):
        return stated[0]
    try:
        return np.array([float(share) for share in stated])
    except ValueError:
        raise ConfigError(
            f"class_prior is {' '.join(stated)!r}, expected uniform, estimated, or a number for "
            "each class, in the sorted order of the labels"
        ) from None

"""Continued fitting: from the weights of an earlier fit, and over the parts of a stream."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_consistent_length
from torch import Tensor

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator.inputs import DocumentInputs, infer_inputs
from pyro_ssl.estimator.kept_folds import deal, folds_of, found_again, numbers_of
from pyro_ssl.estimator.labels import codes_among
from pyro_ssl.estimator.learning import LearningMethods
from pyro_ssl.estimator.members import Codes, Floats, Fold, make_folds
from pyro_ssl.estimator.reservoir import Reservoir, as_dense, as_rows
from pyro_ssl.estimator.rows import class_weighted
from pyro_ssl.estimator.warm_start import changed_data, changed_model
from pyro_ssl.infer.devices import resolve_device

# Largest numbers of rows that `partial_fit` keeps.
LABELLED_ROWS = 10_000
UNLABELLED_ROWS = 10_000
# Number of steps of each later call of `partial_fit`, as a share of those of a fit.
SHARE = 0.3


class StreamMethods(LearningMethods):
    """Methods with which a classifier continues to learn; see `SemiSupervisedVAEClassifier`."""

    # Parameters.
    columns: Any
    unlabelled: Any
    class_weight: Any
    device: Any
    members: int
    random_state: Any
    warm_start: bool

    # Set by `fit`. Labelled rows: inputs "xs", "codes", sample "weights", "folds".
    _labelled: Reservoir
    # Rows without labels that `partial_fit` keeps: "xs" and "weights".
    _unlabelled: Reservoir | None

    def partial_fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
    ) -> Any:
        """Learn from one part of a stream, continuing from the present weights.

        The first call, or `fit` before it, decides the content of columns, their scaling and the
        classes; later entries that do not fit are treated as in `predict`. Up to 10,000 labelled
        and 10,000 unlabelled rows of all parts are kept; of more rows, a uniform sample. Each call
        trains on the rows kept, the first one as long as `fit`, later ones 0.3 times as long, and
        then weighs the candidates anew. A labelled row stays held out of the same model in all
        calls.

        After `fit`, the rows kept are its labelled ones.

        Args:
            X: rows, as for `fit`.
            y: labels `[N]`; none need be known after the first call.
            classes: all labels that the stream will hold, at the first call.
            sample_weight: weights of the rows, `[N]`.

        Raises:
            DataError: if a label is not among the classes, if classes are missing at the first call
                or differ later, or if the first part has labels of fewer than two classes.
            ConfigError: if the model's options have changed.
        """
        first = not hasattr(self, "models_")
        known = self._stream_classes(classes, first)
        X = self._checked(X, reset=first)  # noqa: N806
        codes = codes_among(y, known, self.unlabelled)
        check_consistent_length(X, codes)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if first:
            self._begin_stream(X, codes, known)
        self._start = None if first else self.models_
        if not first and (why := changed_model(self, self.inputs_, known)):
            raise ConfigError(f"partial_fit cannot go on, since {why}: use fit, or clone first")
        self._add(X, codes, weights, first)
        self._learn_kept(1.0 if first else SHARE)
        return self

    def _begin(self, X: Any, classes: NDArray[Any]) -> None:  # noqa: N803
        """Set classes and inputs for `fit`, and decide whether it starts from an earlier fit."""
        inputs = infer_inputs(X, self.columns)
        self._start = self._unlabelled = None
        if self.warm_start and hasattr(self, "models_"):
            why = changed_data(self, inputs, classes) or changed_model(self, self.inputs_, classes)
            if why:
                warnings.warn(f"warm_start=True, but fit starts anew: {why}", stacklevel=3)
            else:
                self._start, inputs = self.models_, self.inputs_
        self.classes_, self.inputs_, self.columns_ = classes, inputs, inputs.to_frame()

    def _keep_labelled(
        self, xs: Tensor, codes: Codes, weights: Floats, groups: Codes
    ) -> list[Fold]:
        """Keep the labelled rows for later, and return the folds of a fit.

        Args:
            xs: encoded rows.
            codes: their labels.
            weights: weights of the rows, without those of classes.
            groups: numbers of the rows, equal for copies.
        """
        rows = np.flatnonzero(codes >= 0)
        values = xs[torch.from_numpy(rows).to(xs.device)].cpu().numpy()
        if self._start is None:
            copies = groups if self.inputs_.continuous else None
            folds = make_folds(codes, self.members, self._seed, copies)
            numbers = numbers_of(folds, rows)
        else:
            old = self._labelled
            numbers = found_again(
                as_dense(old["xs"]), old["folds"], values, codes[rows], self.members
            )
            folds = folds_of(numbers, rows, codes[rows], self.members)
        self._labelled = Reservoir(max(LABELLED_ROWS, len(rows)), self._seed)
        self._labelled.add(
            xs=as_rows(values, isinstance(self.inputs_, DocumentInputs)),
            codes=codes[rows],
            weights=weights[rows],
            folds=numbers,
        )
        return folds

    def _stream_classes(self, classes: Any, first: bool) -> NDArray[Any]:
        """Return the classes of a stream, `[K]`, sorted."""
        if classes is None:
            if first:
                raise DataError(
                    "classes must be passed on the first call to partial_fit: give all labels that "
                    "the stream will hold"
                )
            return self.classes_
        found = np.unique(classes)
        if not first and not np.array_equal(found, self.classes_):
            raise DataError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r}: leave it out after the first call"
            )
        if len(found) < 2:
            raise DataError(f"classes is {classes!r}, expected at least 2 different labels")
        return found

    def _begin_stream(self, X: Any, codes: Codes, classes: NDArray[Any]) -> None:  # noqa: N803
        present = np.unique(codes[codes >= 0])
        if len(present) < 2:
            raise DataError(
                f"y has known labels of {len(present)} classes, expected at least 2 in the first "
                "part of a stream: begin with a part that has some"
            )
        inputs = infer_inputs(X, self.columns)
        self.classes_, self.inputs_, self.columns_ = classes, inputs, inputs.to_frame()
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self._labelled = Reservoir(LABELLED_ROWS, self._seed)
        self._unlabelled = None

    def _add(self, X: Any, codes: Codes, weights: Floats, first: bool) -> None:  # noqa: N803
        """Add the rows of a part to those kept."""
        known = codes >= 0
        sparse = isinstance(self.inputs_, DocumentInputs)
        xs = as_rows(self.inputs_.encode(X).numpy(), sparse)
        rows = np.flatnonzero(known)
        if first:
            folds = numbers_of(make_folds(codes, self.members, self._seed), rows)
        else:
            old = self._labelled
            folds = deal(old["codes"], old["folds"], codes[rows], self.members)
        if len(rows):
            self._labelled.add(
                xs=xs[rows],
                codes=codes[rows],
                weights=weights[rows],
                folds=folds,
            )
        if self._unlabelled is None:
            self._unlabelled = Reservoir(UNLABELLED_ROWS, self._seed)
        self._unlabelled.add(xs=xs[~known], weights=weights[~known])

    def _learn_kept(self, share: float) -> None:
        """Train on the rows kept."""
        labelled, unlabelled = self._labelled, self._unlabelled
        assert unlabelled is not None
        count = len(labelled)
        values = [as_dense(kept["xs"]) for kept in (labelled, unlabelled)]
        xs = torch.from_numpy(np.concatenate(values)).to(resolve_device(str(self.device)))
        codes = np.full(len(xs), -1, dtype=np.int64)
        codes[:count] = labelled["codes"]
        weights = np.concatenate([labelled["weights"], unlabelled["weights"]])
        weights = class_weighted(weights, codes, self.classes_, self.class_weight)
        folds = folds_of(labelled["folds"], np.arange(count), labelled["codes"], self.members)
        self._learn(xs, codes, weights, folds, share)

"""The part of fitting a classifier that starts from encoded rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyro_ssl.estimator.candidates import default_classifiers
from pyro_ssl.estimator.class_members import ClassMembers
from pyro_ssl.estimator.generation import GenerativeMethods
from pyro_ssl.estimator.members import Fold
from pyro_ssl.estimator.model_choice import make_models
from pyro_ssl.estimator.parameters import training_options
from pyro_ssl.estimator.training import TrainingMethods
from pyro_ssl.estimator.warm_start import set_state, state_of
from pyro_ssl.estimator.weighing import Weighing

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


class LearningMethods(TrainingMethods, GenerativeMethods):
    """Training of models and weighing of candidates; see `SemiSupervisedVAEClassifier`."""

    # Parameters.
    model: Any
    model_options: Any
    classifiers: Mapping[str, Any] | None
    max_steps: int
    n_jobs: int | None

    # Set by `fit`.
    _weighing: Weighing
    # Rows, labels and weights that scikit-learn's classifiers learnt from.
    _taught: tuple[Tensor, Codes, Floats]
    # Models whose weights the present fit starts from.
    _start: list[Any] | None

    def _learn(
        self,
        xs: Tensor,
        codes: Codes,
        weights: Floats,
        folds: Sequence[Fold],
        share: float = 1.0,
        standing_for: Floats | None = None,
    ) -> None:
        """Train the models, and weigh the candidates.

        Args:
            xs: encoded rows, float32.
            codes: their labels, -1 where unknown.
            weights: weights of the rows.
            folds: folds of the labelled rows.
            share: number of steps, as a share of those of `fit`.
            standing_for: numbers of rows that an unlabelled row and a labelled row stand for; None
                for one each.
        """
        self._fit_members(xs, codes, weights, folds, share)
        auto = isinstance(self.model, str) and self.model == "auto"
        weighing = self._make_weighing(len(codes) if auto else None)
        self._weighing = weighing.fit(xs.double(), codes, weights)
        rows = np.arange(len(codes)) if weighing.propagated else np.flatnonzero(codes >= 0)
        self._taught = xs[rows].cpu(), codes[rows], weights[rows]
        counts = weights if standing_for is None else weights * standing_for[(codes >= 0) * 1]
        self.class_shares_ = weighing.class_shares(xs.double(), counts)
        self._fit_bounds(xs)

    def _make_weighing(self, rows: int | None) -> Weighing:
        """Return the candidates for `rows` rows; if None, only those of the model."""
        auto = rows is not None
        given = self.classifiers if auto else {}
        if given is None:
            given = default_classifiers(rows or 0, self.n_jobs, self._seed)
        return Weighing(self._members, self.inputs_, given, auto, self._seed)

    def _fit_members(
        self, xs: Tensor, codes: Codes, weights: Floats, folds: Sequence[Fold], share: float
    ) -> None:
        seeds = range(self._seed, self._seed + len(folds))
        options, classes = self.model_options or {}, len(self.classes_)
        models = make_models(self.model, self.inputs_, classes, options, seeds, xs.device)
        anneal = {} if self._go_on(models) else models[0].recommended_anneal
        config = training_options(self, self._seed, anneal, share)
        self._members = ClassMembers(models, folds)
        self._train(self._members, xs, codes, weights, config)
        self._n_features_out = self.transform_dim_

    def _go_on(self, models: Sequence[Any]) -> bool:
        """Give new models the weights of models to start from; return whether there are any."""
        if self._start is None:
            return False
        for new, old in zip(models, self._start, strict=True):
            set_state(new, state_of(old))
        self._start = None
        return True

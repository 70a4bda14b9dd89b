"""The candidates for a real label: fitted, weighed against each other, and mixed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_ssl.estimator.filling import Fills, filled_features, fillings
from pyro_ssl.estimator.inputs import Inputs
from pyro_ssl.estimator.regression.candidates import Regressed
from pyro_ssl.estimator.regression.members import RegressionMembers
from pyro_ssl.estimator.regression.stacking import Stack, stack

Floats = NDArray[np.floating[Any]]

# The model's two rules: its network, and Bayes' rule.
Q, BAYES = "q(y|x)", "p(y|x)"
# Prior weights, as numbers of held-out rows: of each candidate of labelled rows, and of the model's
# two rules together. Chosen by benchmarks.regression.tuning on splits 10 to 14, not reported.
SUPERVISED, MODEL = 1.0, 2.0
# Number of draws of the latents for Bayes' rule.
_SAMPLES = 2


class RegressionWeighing:
    """Candidates for a real label, and their weights.

    Args:
        members: the trained models.
        inputs: how rows are encoded.
        regressors: scikit-learn's regressors, by name.
        bayes: whether Bayes' rule is a candidate.
        seed: seed of all random draws.

    Attributes:
        supervised: regressors that learn from labelled rows only.
        propagated: regressors that learn from all rows: scikit-learn has none.
        decision: calibration and weights of the candidates; set by `fit`.
        evidence: the basis of the decision: predictions for the held-out rows, labels, and weights
            of the rows; set by `fit`, and not stored.
    """

    decision: Stack
    evidence: tuple[dict[str, Floats], Floats, Floats]

    def __init__(
        self,
        members: RegressionMembers,
        inputs: Inputs,
        regressors: Mapping[str, Any],
        bayes: bool,
        seed: int,
    ) -> None:
        self.members, self.inputs, self.bayes, self.seed = members, inputs, bayes, seed
        self.supervised = {name: Regressed(one, seed) for name, one in regressors.items()}
        self.propagated: dict[str, Any] = {}

    def fit(self, xs: Tensor, ys: Floats, weights: Floats, unit: float) -> "RegressionWeighing":
        """Fit all candidates, and weigh them on the labelled rows that each did not see.

        Args:
            xs: encoded rows `[N, ...]`, float64.
            ys: their labels `[N]`, standardised, NaN where unknown.
            weights: weights of the rows, `[N]`.
            unit: the labels' standard deviation, for the table.
        """
        rows, members = np.flatnonzero(~np.isnan(ys)), self.members
        known = xs[torch.from_numpy(rows).to(xs.device)]
        said = {Q: members.held_out(members.q(known), rows)}
        if self.bayes:
            said[BAYES] = members.held_out(members.posterior(known, _SAMPLES, self.seed), rows)
        together, *each = self._features(xs, self._fills(xs))
        for name, one in self.supervised.items():
            said[name] = one.held_out(each, ys, weights, rows, members.folds)
            one.learn(together, ys, weights, rows)
        self.evidence = said, ys[rows], weights[rows]
        self.decision = stack(*self.evidence, self.preference(), unit)
        return self

    def preference(self, supervised: float = SUPERVISED, model: float = MODEL) -> dict[str, float]:
        """Return the prior weight of each candidate, as a number of held-out rows.

        Args:
            supervised: prior weight of each candidate that learns from labelled rows only.
            model: prior weight of the model's two rules together.
        """
        rules = (Q, BAYES) if self.bayes else (Q,)
        return dict.fromkeys(rules, model / len(rules)) | dict.fromkeys(self.supervised, supervised)

    def teach(self, xs: Tensor, ys: Floats, weights: Floats) -> None:
        """Fit the regressors to labelled rows, encoded, and their standardised labels."""
        together = self._features(xs, self._fills(xs)[:1])[0]
        for one in self.supervised.values():
            one.learn(together, ys, weights, np.arange(len(ys)))

    def say(self, xs: Tensor) -> dict[str, Floats]:
        """Return each candidate's mean and deviation for encoded rows, `[N, 2]`.

        For several models together, these are the moments of their mixture.
        """
        found = {Q: _together(self.members.q(xs))}
        if self.bayes:
            found[BAYES] = _together(self.members.posterior(xs, _SAMPLES, self.seed))
        features = self._features(xs, self._fills(xs)[:1])[0]
        return found | {name: one.predict(features) for name, one in self.supervised.items()}

    def mix(self, xs: Tensor) -> tuple[Floats, Floats]:
        """Return mean and deviation of labels of encoded rows, `[N]` each, standardised."""
        return self.decision.mix(self.say(xs))

    @property
    def table(self) -> pd.DataFrame:
        """The candidates, their figures on held-out labelled rows, and their weights."""
        return self.decision.table

    def _fills(self, xs: Tensor) -> Fills:
        return fillings(self.members, self.inputs, xs, bool(self.supervised))

    def _features(self, xs: Tensor, fills: Fills) -> list[Any]:
        """Return the regressors' features with each filling: no logarithms, as usual pipelines."""
        if not self.supervised:
            return [None] * len(fills)
        return filled_features(self.inputs, xs, fills, logs=False)


def _together(each: Floats) -> Floats:
    """Return the moments `[N, 2]` of mixtures of models' normal distributions, `[E, N, 2]`."""
    mean = each[..., 0].mean(0)
    variance = (each[..., 1] ** 2).mean(0) + each[..., 0].var(0)
    return np.stack([mean, np.sqrt(variance)], 1)

"""The candidates for p(y|x), learnt, weighed against each other, and mixed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import mode
from torch import Tensor

from pyro_ssl.estimator.candidates import Propagated, Supervised
from pyro_ssl.estimator.decision import Decision, decide, labelled_shares
from pyro_ssl.estimator.inputs import Inputs
from pyro_ssl.estimator.members import Members
from pyro_ssl.estimator.probabilities import estimated_shares, normalised
from pyro_ssl.likelihoods import Categorical, Ordinal

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

# The model's two rules: its classifier, and Bayes' rule.
Q, BAYES = "q(y|x)", "p(y|x)"
# Held-out rows that each kind of candidate has in advance: with few labels they weigh the same. The
# model's two rules share them.
_PREFERENCE = 3.0
# A model whose columns are independent given y and z takes each for new evidence: it is too sure.
_LOG_TEMPERATURE = 1.0
# Rows by which class shares are estimated, at most.
_ROWS = 5000
# Draws of the latents for Bayes' rule.
_SAMPLES = 4


class Weighing:
    """Candidates for p(y|x) and what is made of them.

    Args:
        members: the trained models.
        inputs: how rows are encoded.
        classifiers: scikit-learn's classifiers of labelled rows, by name.
        propagated: those that learn from all rows.
        bayes: whether Bayes' rule is a candidate.
        seed: seed of all that is random.

    Attributes:
        decision: calibration and weights of the candidates; set by `fit`.
    """

    decision: Decision

    def __init__(
        self,
        members: Members,
        inputs: Inputs,
        classifiers: Mapping[str, Any],
        propagated: Mapping[str, Any],
        bayes: bool,
        seed: int,
    ) -> None:
        self.members, self.inputs, self.bayes, self.seed = members, inputs, bayes, seed
        classes = members.models[0].num_classes
        self.supervised = {n: Supervised(e, classes, seed) for n, e in classifiers.items()}
        self.propagated = {n: Propagated(e, classes, seed) for n, e in propagated.items()}

    def fit(self, xs: Tensor, codes: Codes, weights: Floats) -> "Weighing":
        """Let all candidates learn, and weigh them by the labelled rows that each did not see.

        Args:
            xs: encoded rows `[N, ...]`, float64.
            codes: their labels `[N]`, -1 where unknown.
            weights: of the rows, `[N]`.
        """
        rows, members = np.flatnonzero(codes >= 0), self.members
        known = xs[torch.from_numpy(rows).to(xs.device)]
        classes = members.models[0].num_classes
        shares = labelled_shares(codes[rows], classes, weights[rows])
        said = {Q: normalised(members.held_out(members.log_q(known), rows))}
        implied = {Q: shares}
        if self.bayes:
            joint = members.log_joint(known, _SAMPLES, self.seed)
            said[BAYES] = normalised(members.held_out(joint, rows))
            implied[BAYES] = 0.9 * members.label_prior() + 0.1 / classes
        if self.supervised or self.propagated:
            together, each = self._features(xs)
            for name, one in (self.supervised | self.propagated).items():
                said[name] = one.held_out(each, codes, weights, rows, members.folds)
                implied[name] = shares
            self._teach(together, codes, weights)
        rules = [name for name in (Q, BAYES) if name in said]
        preference = dict.fromkeys(said, _PREFERENCE)
        preference |= dict.fromkeys(rules, _PREFERENCE / len(rules))
        expected = dict.fromkeys(rules, _LOG_TEMPERATURE)
        self.decision = decide(said, codes[rows], implied, preference, expected)
        return self

    def teach(self, xs: Tensor, codes: Codes, weights: Floats) -> None:
        """Let the classifiers learn again, from the rows that `fit` was given.

        If none of them learns from all rows, the labelled ones do.
        """
        if self.supervised or self.propagated:
            self._teach(self._features(xs)[0], codes, weights)

    def say(self, xs: Tensor) -> dict[str, Floats]:
        """Return what each candidate says of encoded rows, `[N, K]`."""
        found = {Q: normalised(self.members.log_q(xs)).mean(0)}
        if self.bayes:
            joint = self.members.log_joint(xs, _SAMPLES, self.seed)
            found[BAYES] = normalised(joint).mean(0)
        if self.supervised or self.propagated:
            features = self._features(xs)[0]
            for name, one in (self.supervised | self.propagated).items():
                found[name] = one.predict(features)
        return found

    def mix(self, xs: Tensor) -> Floats:
        """Return p(y|x) of encoded rows for equally frequent classes, `[N, K]`."""
        return self.decision.mix(self.say(xs))

    def class_shares(self, xs: Tensor, weights: Floats) -> Floats:
        """Return the classes' shares among encoded rows, or a sample of many, `[K]`."""
        rows = np.random.default_rng(self.seed).permutation(len(xs))[:_ROWS]
        chosen = xs[torch.from_numpy(rows).to(xs.device)]
        return estimated_shares(self.mix(chosen), weights[rows])

    @property
    def table(self) -> pd.DataFrame:
        """The candidates, their figures on held-out labelled rows, and their weights."""
        return self.decision.table

    def _teach(self, features: Any, codes: Codes, weights: Floats) -> None:
        rows = np.flatnonzero(codes >= 0)
        for one in self.supervised.values():
            one.fit(features[rows], codes[rows], weights[rows])
        for spread in self.propagated.values():
            spread.fit(features, codes, weights)

    def _features(self, xs: Tensor) -> tuple[Any, list[Any]]:
        """Return what classifiers see of rows, and what they see where one model fills them in.

        A model that fills in missing entries has learnt from labels. Rows that are held out are
        therefore filled in by the model that does not see their labels, as are those a classifier
        then learns from; in the end all models fill them in together.
        """
        families = getattr(self.inputs.likelihood, "columns", ())
        coded = [isinstance(family, Categorical | Ordinal) for family in families]
        fills = self.members.fills(xs, coded)
        if fills is None:
            features = self.inputs.features(xs)
            return features, [features] * len(self.members.models)
        together = np.where(coded, mode(fills, axis=0).mode, fills.mean(0))
        return self.inputs.features(xs, together), [self.inputs.features(xs, f) for f in fills]

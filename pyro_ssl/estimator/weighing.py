"""The candidates for p(y|x): fitted, weighed against each other, and mixed."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_ssl.estimator.candidates import Propagated, Supervised, learns_from_all_rows
from pyro_ssl.estimator.class_members import ClassMembers
from pyro_ssl.estimator.decision import Decision, decide, judged, labelled_shares
from pyro_ssl.estimator.filling import Fills, filled_features, fillings
from pyro_ssl.estimator.inputs import Inputs
from pyro_ssl.estimator.members import Fold
from pyro_ssl.estimator.probabilities import estimated_shares, normalised

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]
Preference = dict[str, float]

# The model's two rules: its classifier, and Bayes' rule.
Q, BAYES = "q(y|x)", "p(y|x)"
# Prior weights of candidates, as numbers of held-out rows, which decide if there are few labels:
# see `Weighing.preference`. Chosen on the tuning tables by benchmarks.tables.tuning.
SUPERVISED, CLUSTERS = 6.0, 2.0
# A model with independent columns given y and z treats each as new evidence: it is overconfident.
LOG_TEMPERATURE = 1.0
# Largest number of rows used to estimate class shares.
_ROWS = 5000
# Number of draws of the latents for Bayes' rule.
_SAMPLES = 4


class Evidence(NamedTuple):
    """The basis of a decision, see `decide`."""

    held_out: Mapping[str, Floats]
    """p(y|x) of the labelled rows by each candidate, `[L, K]`."""
    codes: Codes
    """Their labels, `[L]`."""
    implied: Mapping[str, Floats]
    """The class shares implied in each candidate's probabilities, `[K]`."""


class HeldOut(NamedTuple):
    """A decision's predictions for labelled rows, by candidates that did not see their labels.

    The few weights and temperatures of the decision were chosen on these rows, so that its figures
    on them are slightly better than on other rows.
    """

    codes: Codes
    """Their labels, as indices among the classes, `[H]`."""
    probabilities: Floats
    """p(y|x), `[H, K]`."""


class Weighing:
    """Candidates for p(y|x), and their weights.

    Args:
        members: the trained models.
        inputs: how rows are encoded.
        classifiers: scikit-learn's classifiers, by name.
        bayes: whether Bayes' rule is a candidate.
        seed: seed of all random draws.

    Attributes:
        supervised: classifiers that learn from labelled rows only.
        propagated: classifiers that learn from all rows.
        decision: calibration and weights of the candidates; set by `fit`.
        evidence: the basis of the decision; set by `fit`, and not stored.
    """

    decision: Decision
    evidence: Evidence

    def __init__(
        self,
        members: ClassMembers,
        inputs: Inputs,
        classifiers: Mapping[str, Any],
        bayes: bool,
        seed: int,
    ) -> None:
        self.members, self.inputs, self.bayes, self.seed = members, inputs, bayes, seed
        classes = members.models[0].num_classes
        spread = {n: e for n, e in classifiers.items() if learns_from_all_rows(e)}
        self.propagated = {n: Propagated(e, classes, seed) for n, e in spread.items()}
        self.supervised = {
            n: Supervised(e, classes, seed) for n, e in classifiers.items() if n not in spread
        }

    def fit(self, xs: Tensor, codes: Codes, weights: Floats) -> "Weighing":
        """Fit all candidates, and weigh them on the labelled rows that each did not see.

        Args:
            xs: encoded rows `[N, ...]`, float64.
            codes: their labels `[N]`, -1 where unknown.
            weights: weights of the rows, `[N]`.
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
        folds = members.folds
        if not self.propagated:
            # The unlabelled rows are of no use here, and may be many.
            folds = [
                Fold(np.searchsorted(rows, fold.kept), np.searchsorted(rows, fold.held_out))
                for fold in folds
            ]
            xs, codes, weights, rows = known, codes[rows], weights[rows], np.arange(len(rows))
        fills = self._fills(xs)
        for kind in (self.supervised, self.propagated):
            together, *each = self._features(xs, kind, fills)
            for name, one in kind.items():
                said[name] = one.held_out(each, codes, weights, rows, folds)
                implied[name] = shares
                one.learn(together, codes, weights, rows)
        self.evidence = Evidence(said, codes[rows], implied)
        expected = {name: LOG_TEMPERATURE for name in (Q, BAYES) if name in said}
        self.decision = decide(*self.evidence, self.preference(), expected)
        return self

    def preference(self, supervised: float = SUPERVISED, clusters: float = CLUSTERS) -> Preference:
        """Return the prior weight of each candidate, as a number of held-out rows.

        Args:
            supervised: prior weight of each candidate that learns from labelled rows only.
            clusters: prior weight of each candidate that assumes that classes are clusters; the
                model's two rules share one.
        """
        rules = (Q, BAYES) if self.bayes else (Q,)
        found = dict.fromkeys(rules, clusters / len(rules))
        found |= dict.fromkeys(self.supervised, supervised)
        return found | dict.fromkeys(self.propagated, clusters)

    def teach(self, xs: Tensor, codes: Codes, weights: Floats) -> None:
        """Fit the classifiers to rows like those of `fit`.

        If no classifier learns from all rows, the labelled rows suffice.
        """
        rows, fills = np.flatnonzero(codes >= 0), self._fills(xs)[:1]
        for kind in (self.supervised, self.propagated):
            (together,) = self._features(xs, kind, fills)
            for one in kind.values():
                one.learn(together, codes, weights, rows)

    def say(self, xs: Tensor) -> dict[str, Floats]:
        """Return each candidate's predictions for encoded rows, `[N, K]`."""
        found = {Q: normalised(self.members.log_q(xs)).mean(0)}
        if self.bayes:
            joint = self.members.log_joint(xs, _SAMPLES, self.seed)
            found[BAYES] = normalised(joint).mean(0)
        fills = self._fills(xs)[:1]
        for kind in (self.supervised, self.propagated):
            (together,) = self._features(xs, kind, fills)
            found |= {name: one.predict(together) for name, one in kind.items()}
        return found

    def mix(self, xs: Tensor) -> Floats:
        """Return p(y|x) of encoded rows for equally frequent classes, `[N, K]`."""
        return self.decision.mix(self.say(xs))

    def class_shares(self, xs: Tensor, weights: Floats) -> Floats:
        """Return the class shares among encoded rows, or among a sample of them, `[K]`."""
        rows = np.random.default_rng(self.seed).permutation(len(xs))[:_ROWS]
        chosen = xs[torch.from_numpy(rows).to(xs.device)]
        return estimated_shares(self.mix(chosen), weights[rows])

    def held_out(self) -> HeldOut | None:
        """Return the mixture's predictions for held-out rows, for equally frequent classes.

        None if they are not known, since files do not hold them.
        """
        evidence = getattr(self, "evidence", None)
        if evidence is None:
            return None
        rows = judged(evidence.held_out)
        said = {name: each[rows] for name, each in evidence.held_out.items()}
        return HeldOut(evidence.codes[rows], self.decision.mix(said))

    @property
    def table(self) -> pd.DataFrame:
        """The candidates, their figures on held-out labelled rows, and their weights."""
        return self.decision.table

    def _fills(self, xs: Tensor) -> Fills:
        needed = bool(self.supervised or self.propagated)
        return fillings(self.members, self.inputs, xs, needed)

    def _features(self, xs: Tensor, kind: Mapping[str, Any], fills: Fills) -> list[Any]:
        """Return a kind of classifier's features with each filling: no logarithms if supervised.

        These are the features that scikit-learn's usual pipelines would make of the same table, so
        that the decision never depends on transforms of columns.
        """
        if not kind:
            return [None] * len(fills)
        return filled_features(self.inputs, xs, fills, logs=kind is self.propagated)

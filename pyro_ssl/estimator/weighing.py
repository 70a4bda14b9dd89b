"""The candidates for p(y|x), learnt, weighed against each other, and mixed."""

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
# Held-out rows that each candidate has in advance, and that decide where labels are few: see
# `Weighing.preference`. Chosen on the tuning tables by benchmarks.tables.tuning.
SUPERVISED, CLUSTERS = 6.0, 2.0
# A model whose columns are independent given y and z takes each for new evidence: it is too sure.
LOG_TEMPERATURE = 1.0
# Rows by which class shares are estimated, at most.
_ROWS = 5000
# Draws of the latents for Bayes' rule.
_SAMPLES = 4


class Evidence(NamedTuple):
    """What a decision rests on, see `decide`."""

    held_out: Mapping[str, Floats]
    """p(y|x) of the labelled rows by each candidate, `[L, K]`."""
    codes: Codes
    """Their labels, `[L]`."""
    implied: Mapping[str, Floats]
    """The classes' shares implied in each candidate's probabilities, `[K]`."""


class HeldOut(NamedTuple):
    """What a decision says of labelled rows, each judged by candidates that did not see its label.

    Its few weights and temperatures were chosen by these very rows, so that figures of it are a
    little better than those of other rows.
    """

    codes: Codes
    """Their labels, as places among the classes, `[H]`."""
    probabilities: Floats
    """p(y|x), `[H, K]`."""


class Weighing:
    """Candidates for p(y|x) and what is made of them.

    Args:
        members: the trained models.
        inputs: how rows are encoded.
        classifiers: scikit-learn's classifiers, by name.
        bayes: whether Bayes' rule is a candidate.
        seed: seed of all that is random.

    Attributes:
        supervised: classifiers of labelled rows alone.
        propagated: those that learn from all rows.
        decision: calibration and weights of the candidates; set by `fit`.
        evidence: what it rests on; set by `fit`, and not stored.
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
        folds = members.folds
        if not self.propagated:
            # The others are of no use, and may be many.
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
        """Return the held-out rows that each candidate has in advance.

        Args:
            supervised: of each that learns from labelled rows alone.
            clusters: of each that takes classes for clusters; the model's two rules share theirs.
        """
        rules = (Q, BAYES) if self.bayes else (Q,)
        found = dict.fromkeys(rules, clusters / len(rules))
        found |= dict.fromkeys(self.supervised, supervised)
        return found | dict.fromkeys(self.propagated, clusters)

    def teach(self, xs: Tensor, codes: Codes, weights: Floats) -> None:
        """Let the classifiers learn, from rows as `fit` is given them.

        If none of them learns from all rows, the labelled ones do.
        """
        rows, fills = np.flatnonzero(codes >= 0), self._fills(xs)[:1]
        for kind in (self.supervised, self.propagated):
            (together,) = self._features(xs, kind, fills)
            for one in kind.values():
                one.learn(together, codes, weights, rows)

    def say(self, xs: Tensor) -> dict[str, Floats]:
        """Return what each candidate says of encoded rows, `[N, K]`."""
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
        """Return the classes' shares among encoded rows, or a sample of many, `[K]`."""
        rows = np.random.default_rng(self.seed).permutation(len(xs))[:_ROWS]
        chosen = xs[torch.from_numpy(rows).to(xs.device)]
        return estimated_shares(self.mix(chosen), weights[rows])

    def held_out(self) -> HeldOut | None:
        """Return what the mixture says of held-out rows, for equally frequent classes.

        None if that is not known: files do not hold it.
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
        """Return what a kind of classifiers sees with each filling: no logarithms if supervised.

        Those are what scikit-learn's usual pipelines would make of the same table, so that the
        decision never rests on how columns were transformed.
        """
        if not kind:
            return [None] * len(fills)
        return filled_features(self.inputs, xs, fills, logs=kind is self.propagated)

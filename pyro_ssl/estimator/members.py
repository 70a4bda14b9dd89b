"""Models of one kind, each trained without one part of the labelled rows."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from pyro_ssl.infer.checkpoint import own_random_state
from pyro_ssl.infer.ensemble import EnsembleConfig, EnsembleHistory, Member, fit_ensemble
from pyro_ssl.metrics import joint_bound

Codes = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]
Self = TypeVar("Self", bound="Members")

# Number of rows that a model is given at once.
ROWS = 2000


@dataclass(frozen=True)
class Fold:
    """Indices of labelled rows to learn from, and of those to hold out."""

    kept: Codes
    held_out: Codes


def make_folds(codes: Codes, count: int, seed: int, groups: Codes | None = None) -> list[Fold]:
    """Return stratified folds of the labelled rows; every class keeps a row in each fold.

    Args:
        codes: labels of all rows, -1 where unknown.
        count: number of folds; fewer if no class has that many rows.
        seed: seed of the shuffling.
        groups: numbers of the rows, `[N]`, equal for rows that are copies of each other: these are
            held out together. None if there are no copies.

    Returns:
        The folds. The only row of a class is never held out. With no other rows, or with one fold,
        all folds keep everything.
    """
    if groups is not None:
        _, places, copies = np.unique(groups, return_index=True, return_inverse=True)
        folds = make_folds(codes[places], count, seed)
        each = [(np.isin(copies, f.kept), np.isin(copies, f.held_out)) for f in folds]
        return [Fold(np.flatnonzero(k), np.flatnonzero(h)) for k, h in each]
    labelled = np.flatnonzero(codes >= 0)
    sizes = np.bincount(codes[labelled])
    several = labelled[sizes[codes[labelled]] > 1]
    found = [Fold(labelled, labelled[:0])] * count
    if not len(several) or count == 1:
        return found
    parts = min(count, int(sizes.max()))
    splitter = StratifiedKFold(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Warns about classes with fewer rows than folds, which the code below provides for.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        parted = list(splitter.split(several, codes[several]))
    for n, (_, places) in enumerate(parted):
        held_out = several[places]
        # If all rows of a class are in one fold, the class keeps one of them.
        kept = np.setdiff1d(labelled, held_out)
        lacking = np.setdiff1d(np.unique(codes[labelled]), codes[kept])
        first = [held_out[codes[held_out] == c][0] for c in lacking]
        found[n] = Fold(np.union1d(kept, first).astype(np.int64), np.setdiff1d(held_out, first))
    return found


class Members:
    """Models of one kind, and the labelled rows that each of them does not see.

    The mean of their predictions is the prediction. Each model's predictions for rows that it does
    not see tell how good it is. This is a base class; subclasses handle the kind of labels.

    Args:
        models: the models, untrained or trained.
        folds: a fold for each model.
    """

    def __init__(self, models: Sequence[Any], folds: Sequence[Fold]) -> None:
        self.models, self.folds = list(models), list(folds)

    def fit(
        self,
        xs: Tensor,
        labels: NDArray[Any],
        weights: Floats,
        config: EnsembleConfig,
        on_check: Callable[[int], None] | None = None,
        checkpoint: Path | None = None,
    ) -> EnsembleHistory:
        """Train all models on encoded rows `[N, ...]` with labels `[N]` and weights `[N]`.

        Args:
            xs: the rows.
            labels: labels, -1 where unknown; or real ones, in the dtype of `xs`, NaN where unknown.
            weights: weights of the rows.
            config: options of the training.
            on_check: called with the number of steps made.
            checkpoint: a file for the state; if it exists, training continues from it.
        """
        everything = np.arange(len(labels))
        members = [
            Member(fold.kept, np.setdiff1d(everything, fold.kept), weights) for fold in self.folds
        ]
        ys = torch.from_numpy(labels).to(xs.device)

        def measure() -> float:
            with own_random_state(config.seed, xs.device):
                found = [
                    joint_bound(model, xs[fold.held_out], ys[fold.held_out])
                    for model, fold in zip(self.models, self.folds, strict=True)
                ]
            return float(torch.cat(found).mean())

        holds_out = any(len(fold.held_out) for fold in self.folds)
        has_bound = all(model.learns_from_unlabelled for model in self.models)
        measured = measure if holds_out and has_bound else None
        with warnings.catch_warnings():
            # Comes from the recording of a step, and users cannot act on it.
            warnings.filterwarnings("ignore", ".*not registered in the param store")
            warnings.filterwarnings("ignore", ".*torch.jit.trace", FutureWarning)
            warnings.filterwarnings("ignore", ".*torch.jit.trace", DeprecationWarning)
            resume = checkpoint is not None and checkpoint.exists()
            return fit_ensemble(
                self.models, xs, ys, members, config, measured, on_check, checkpoint, resume
            )

    def log_marginal(self, xs: Tensor, samples: int, seed: int) -> Floats:
        """Return each model's bound on log p(x) of rows, `[E, N]`, in nats."""
        raise NotImplementedError

    def first(self: Self) -> Self:
        """Return members with only the first model."""
        return type(self)(self.models[:1], self.folds[:1])

    def held_out(self, each: Floats, rows: Codes) -> Floats:
        """Return, for each row, the predictions of the model that does not see it, `[L, K]`.

        Rows that all models see are NaN.

        Args:
            each: each model's predictions for the rows, `[E, L, K]`.
            rows: indices of these rows, sorted.
        """
        found = np.full(each.shape[1:], np.nan)
        for said, fold in zip(each, self.folds, strict=True):
            places = np.searchsorted(rows, fold.held_out)
            found[places] = said[places]
        return found

    def fills(self, xs: Tensor, coded: Sequence[bool]) -> Floats | None:
        """Return rows with missing entries filled in by each model, `[E, N, C]`.

        Known entries do not change. None if no entry is missing.

        Args:
            xs: encoded rows of a table, `[N, C]`.
            coded: which columns hold the codes of categories, `[C]`.
        """
        if not bool(xs.isnan().any()):
            return None
        is_code = torch.tensor(coded, device=xs.device)

        def fill(model: Any, rows: Tensor) -> Tensor:
            return torch.where(rows.isnan(), self._filled(model, rows, is_code), rows)

        return self._each(xs, fill)

    def _filled(self, model: Any, rows: Tensor, is_code: Tensor) -> Tensor:
        """Return a model's values for all entries of rows, `[N, C]`; see `fills`."""
        raise NotImplementedError

    def _each(self, xs: Tensor, call: Callable[[Any, Tensor], Tensor], size: int = ROWS) -> Floats:
        found = []
        with torch.no_grad(), own_random_state(0, xs.device):
            for model in self.models:
                model.eval()
                parts = [call(model, rows) for rows in xs.split(size)]
                found.append(torch.cat(parts).cpu().double().numpy())
        return np.stack(found)

"""Files from which the training of an ensemble continues as if it had never stopped."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pyro_ssl.errors import CheckpointError
from pyro_ssl.files import as_path, write_state
from pyro_ssl.infer.checkpoint import random_states, read_state, set_random_states
from pyro_ssl.infer.digests import digest_of
from pyro_ssl.infer.ensemble_options import EnsembleConfig, Member
from pyro_ssl.infer.ensemble_step import Step
from pyro_ssl.infer.restoring import check_optimiser, same
from pyro_ssl.infer.stored import stored_options
from pyro_ssl.models.base import PyroModel
from pyro_ssl.reading import check_kinds, refusing

FORMAT = "pyro_ssl ensemble 1"
# The entries of the file, with their types.
_KINDS = {"run": dict, "progress": dict, "step": int}
_KINDS |= {"models": list, "optimiser": dict, "rng": dict}


class EnsembleCheckpoint:
    """The file of one run.

    Args:
        path: the file; None to write none.
        models: the models; a file of other models is refused.
        members: their rows.
        config: options of training.
        xs: all rows.
        ys: their labels.

    Attributes:
        path: the file.
    """

    def __init__(
        self,
        path: str | Path | None,
        models: Sequence[PyroModel],
        members: Sequence[Member],
        config: EnsembleConfig,
        xs: Tensor,
        ys: Tensor,
    ) -> None:
        self.path = None if path is None else as_path(path, "checkpoint")
        self._models, self._device = models, xs.device
        if path is None:
            return
        self._run: dict[str, Any] = {
            "class of the models": type(models[0]).__name__,
            **stored_options(models[0]),
            **asdict(config),
            "rows": list(xs.shape),
            "members": _digest(members),
            "inputs": digest_of(xs),
            "labels": digest_of(ys),
        }

    def save(self, step: Step, progress: dict[str, Any]) -> None:
        """Write the state of a run, atomically.

        Args:
            step: the models, their optimiser and the annealed values.
            progress: plain values that the run needs, too.

        Raises:
            ResultsError: if the file cannot be written.
        """
        if self.path is None:
            return
        state = {
            "format": FORMAT,
            "run": self._run,
            "progress": progress,
            "step": step.number,
            "models": [model.state_dict() for model in self._models],
            "optimiser": step.optimiser.state_dict(),
            "rng": random_states(self._device),
        }
        write_state(state, self.path)

    def load(self, step: Step) -> dict[str, Any]:
        """Restore the run's state from the file, and return its `progress`.

        Raises:
            CheckpointError: if the file does not exist, or belongs to another run.
        """
        if self.path is None:
            raise CheckpointError("resume is True, but checkpoint is None: give the file")
        state = read_state(self.path)
        if state.get("format") != FORMAT:
            raise CheckpointError(f"{self.path} is not a {FORMAT!r} file: delete it")
        with refusing(self.path):
            check_kinds(state, _KINDS, "the file")
            self._restore(state, step)
        progress: dict[str, Any] = state["progress"]
        return progress

    def _restore(self, state: dict[str, Any], step: Step) -> None:
        differing = [k for k, v in self._run.items() if not same(state["run"].get(k), v)]
        if differing:
            raise CheckpointError(
                f"{self.path} is of a run with other {', '.join(differing)}: give these as they "
                "were, or delete the file"
            )
        for model, then in zip(self._models, state["models"], strict=True):
            model.load_state_dict(then)
        # The optimiser's options follow from the configuration, which is the same.
        groups = step.optimiser.state_dict()["param_groups"]
        step.optimiser.load_state_dict({**state["optimiser"], "param_groups": groups})
        check_optimiser(step.optimiser)
        step.go_to(state["step"])
        set_random_states(state["rng"], self._device)


def _digest(members: Sequence[Member]) -> str:
    """Return a digest of the members' rows."""
    digest = hashlib.sha256()
    for member in members:
        for rows in (member.labelled, member.unlabelled, member.weights):
            found = np.zeros(0) if rows is None else np.asarray(rows, np.float64)
            digest.update(f"{len(found)} ".encode() + found.tobytes())
    return digest.hexdigest()

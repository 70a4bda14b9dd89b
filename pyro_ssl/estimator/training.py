"""The training of an estimator's models, and its results."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from pyro_ssl.estimator.members import Members
from pyro_ssl.estimator.parameters import progress_bar
from pyro_ssl.infer.ensemble import EnsembleConfig

Floats = NDArray[np.floating[Any]]


class TrainingMethods:
    """Training of models; see `SemiSupervisedVAEClassifier`."""

    # Parameters.
    checkpoint: Any
    verbose: int

    # Set by `fit`.
    models_: list[Any]
    model_: Any
    history_: pd.DataFrame
    n_iter_: int
    termination_condition_: str

    def _train(
        self,
        members: Members,
        xs: Tensor,
        labels: NDArray[Any],
        weights: Floats,
        config: EnsembleConfig,
    ) -> None:
        """Train the models, and keep models and history; arguments as for `Members.fit`."""
        kept = None if self.checkpoint is None else Path(self.checkpoint)
        with progress_bar(config.max_steps, self.verbose) as on_check:
            history = members.fit(xs, labels, weights, config, on_check, kept)
        if kept is not None:
            kept.unlink(missing_ok=True)
        for model in members.models:
            model.double()
        self.models_, self.model_ = members.models, members.models[0]
        self.n_iter_ = history.steps
        self.history_ = pd.DataFrame(history.rows)
        self.termination_condition_ = history.termination

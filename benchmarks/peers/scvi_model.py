"""SCANVI of scvi-tools on counts."""

import logging
import time
import warnings
from typing import Any

from benchmarks.peers.problem import HIDDEN, LATENT, LEARNING_RATE, Epoch, Passed, Problem


def scanvi(problem: Problem) -> Epoch:
    """Return an epoch of SCANVI by its own `train`, whose start-up is not timed."""
    # It warns of workers that loaders do not have, and of versions.
    warnings.filterwarnings("ignore", module="lightning|scvi|anndata")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from lightning.pytorch.callbacks import Callback
    from scvi.model import SCANVI

    counts, known = problem.counts().numpy(), len(problem.known_xs)
    labels = np.full(len(counts), "unknown", dtype=object)
    labels[:known] = [str(y) for y in problem.known_ys.tolist()]
    cells = AnnData(counts)
    cells.obs["label"] = pd.Categorical(labels)
    SCANVI.setup_anndata(cells, labels_key="label", unlabeled_category="unknown")
    sizes = {"n_hidden": HIDDEN, "n_latent": LATENT, "n_layers": 1, "dropout_rate": 0.0}
    model = SCANVI(cells, **sizes, gene_likelihood="nb")

    class Clock(Callback):
        """Seconds of the last epoch."""

        def on_train_epoch_start(self, *_: Any) -> None:
            self.started = time.perf_counter()

        def on_train_epoch_end(self, *_: Any) -> None:
            self.seconds = time.perf_counter() - self.started

    clock = Clock()

    def epoch() -> Passed:
        model.train(
            max_epochs=1,
            batch_size=problem.batch_size,
            train_size=1.0,
            accelerator="cpu",
            callbacks=[clock],
            plan_kwargs={"lr": LEARNING_RATE},
            enable_progress_bar=False,
            logger=False,
            enable_checkpointing=False,
        )
        return Passed(float("nan"), clock.seconds)

    return epoch

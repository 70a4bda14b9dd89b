"""How to train."""

import math
from dataclasses import dataclass

import torch

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.batches import MiniBatches, Share

SCHEDULES = ("constant", "cosine")
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
COMPILE = ("auto", "always", "never")
# A compiled step spares Pyro's own Python, 4 ms and more, whatever the size of the networks.
COMPILE_PAYS_AFTER = 5000


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Attributes:
        epochs: number of epochs.
        batch_size: unlabelled rows a step.
        labelled_batch_size: labelled rows a step; None for all, at most `batch_size`.
        steps_per_epoch: steps an epoch; None for one pass over the unlabelled rows.
        learning_rate: Adam's step size, at the start.
        learning_rate_schedule: `constant`, or `cosine` for a half cosine over the epochs, from
            `learning_rate` towards 0.
        binarise: draw pixels from a Bernoulli anew whenever a row is visited.
        precision: `float32`, or `bfloat16` for autocast matrix products.
        compile: `always`, `never`, or `auto`: compile the step if the run is long enough to
            earn back the compiler's 10 to 20 seconds, `COMPILE_PAYS_AFTER` steps. A model
            with a `class_chunk`, or one trained by several processes, never is.
        cuda_graph: on a GPU, record the step once and replay it, wherever that can be done.
        keep_best: end with the weights of the epoch of highest validation accuracy, or
            validation ELBO if the model does not classify.
        patience: stop after so many epochs without a higher one; None for never.
        seed: seed of minibatches, binarisation, dropout and latent noise.
    """

    epochs: int = 40
    batch_size: int = 200
    labelled_batch_size: int | None = None
    steps_per_epoch: int | None = None
    learning_rate: float = 1e-3
    learning_rate_schedule: str = "constant"
    binarise: bool = True
    precision: str = "float32"
    compile: str = "auto"
    cuda_graph: bool = True
    keep_best: bool = True
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "labelled_batch_size", "steps_per_epoch", "patience")
        for name in (*positive, "learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}, expected a positive number")
        for name, choices in (
            ("precision", tuple(PRECISIONS)),
            ("learning_rate_schedule", SCHEDULES),
            ("compile", COMPILE),
        ):
            if getattr(self, name) not in choices:
                expected = " or ".join(choices)
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected {expected}")

    def batches(self, data: SSLData, share: Share | None = None) -> MiniBatches:
        """Return the minibatches of `data`, or one process's share of each.

        Raises:
            ConfigError: if a batch asks for more rows than there are.
        """
        return MiniBatches(
            data,
            self.batch_size,
            self.labelled_batch_size,
            self.steps_per_epoch,
            self.binarise,
            self.seed,
            share,
        )

    def learning_rate_at(self, epoch: int) -> float:
        """Return the step size of an epoch, counted from 0."""
        if self.learning_rate_schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        return self.learning_rate

    def compiles(self, steps_per_epoch: int) -> bool:
        """Return whether to compile a run of so many steps an epoch."""
        if self.compile == "auto":
            return self.epochs * steps_per_epoch >= COMPILE_PAYS_AFTER
        return self.compile == "always"

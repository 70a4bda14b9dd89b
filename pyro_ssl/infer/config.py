"""Options of training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

import torch

from pyro_ssl.data.augmentation import Augmentation
from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.annealing import Anneal
from pyro_ssl.infer.batches import MiniBatches, Share
from pyro_ssl.infer.config_checks import check_consistency, check_expression, check_length
from pyro_ssl.infer.consistency import Consistency
from pyro_ssl.models.base import PyroModel
from pyro_ssl.option_kinds import Count, NotNegative, OneOf, Positive, Range, Size
from pyro_ssl.options import check_fields

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
DEFAULT_EPOCHS = 40
# A compiled step saves the time of Pyro's Python, at least 4 ms, whatever the networks' size.
COMPILE_PAYS_AFTER = 5000


@dataclass(frozen=True)
class FitConfig:
    """Options of training.

    Attributes:
        epochs: number of epochs.
        steps: number of steps of the run, which then decides how many epochs there are, the last
            one cut short where that is needed; do not give both. None for `epochs`.
        batch_size: unlabelled rows a step, or all of them if they are fewer.
        labelled_batch_size: labelled rows a step, or all of them if they are fewer; None for
            `batch_size`.
        steps_per_epoch: steps an epoch; None for one pass over the kind of rows, labelled or
            unlabelled, that needs more steps. The other kind is drawn pass after pass.
        optimiser: `adam`, or `rmsprop` (torch's, whose mean of squares decays by 0.99 a step).
        learning_rate: the optimiser's initial step size.
        learning_rate_schedule: `constant`; `cosine` for a half cosine over the run, from
            `learning_rate` towards 0; `step` to multiply it by `learning_rate_decay` every
            `learning_rate_decay_epochs` epochs. The step size is that of an epoch's first step
            throughout the epoch.
        learning_rate_warmup: number of first epochs over which the step size rises in equal steps
            to that of the schedule; None for none.
        learning_rate_decay: factor of the schedule `step`.
        learning_rate_decay_epochs: epochs between two steps of that schedule.
        max_gradient_norm: largest total norm of the gradients; larger ones are scaled down to it.
            None for no limit.
        l1: weight of the sum of absolute values of the penalised parameters, which is added to
            the loss, in nats per example.
        l2: weight of the sum of their squares. A prior N(0, s^2) on the weights of a model that
            learns from N examples is an l2 of 1 / (2 s^2 N).
        penalised: regular expression that matches the whole names of the parameters that l1
            and l2 penalise; by default all weights, including scales of batch norm.
        anneal: what changes linearly over the first steps of the run, an `Anneal` for each key. A
            key is one of: `kl_SITE`, for the weight of a latent site's terms (where the site is not
            observed) and of a factor of this name; the name of any other factor (`add_term`,
            `pyro.factor`), such as `classification`, for its weight; `labelled_bound` and
            `unlabelled_bound`, for the weight of all other terms of such rows; the NAME of a buffer
            `annealed_NAME` of the model, for its value. Reported terms are unweighted. None for
            what the model recommends, see `PyroModel.recommended_anneal`; {} for nothing.
        term_weights: constant factors of weights, by the same keys, which multiply annealed ones.
        bound_weights: `rows`: the bounds of labelled and of unlabelled rows weigh by the numbers of
            such rows in the data, so that the loss is that of the whole data per example; `equal`:
            the mean bound of a batch's labelled rows and that of its unlabelled rows weigh 1 each,
            see `RowWeights`. Terms beside the bound weigh the same in both.
        augmentation: how images of a batch, labelled or not, are changed each time; None for not.
        consistency: a term of unlabelled rows: a changed image is to have the image's class; None
            for none.
        weight_average: decay d of an exponential average of the weights, see `WeightAverage`, which
            validation, `on_epoch` and the trained model have in place of the weights themselves;
            None for no average.
        binarise: draw pixels from a Bernoulli each time a row is visited; None to do so only for
            models of binary pixels.
        precision: `float32`, or `bfloat16` for autocast matrix products.
        compile: `always`, `never`, or `auto`: compile the step if the run has at least
            `COMPILE_PAYS_AFTER` steps, which save more than the compiler's 10 to 20 seconds. The
            step of a model with a `class_chunk`, or in several processes, is never compiled.
        cuda_graph: on a GPU, record the step once and replay it, where that is possible.
        keep_best: end with the weights of the best epoch, as `select` says.
        select: what the best epoch is chosen by, on validation rows: `accuracy`, or `bound`, that
            on log p(x, y), see `pyro_ssl.metrics.joint_bound`. In place of accuracy, real labels
            have the mean of log q(y|x), and models without labels their ELBO.
        validation_bound: after every epoch, also estimate the ELBO of the validation rows for a
            model that classifies, and for any model the KL divergence of each dimension of the
            latent "z" on the first 1000 validation rows.
        patience: stop after so many epochs without a better one; None for never.
        min_steps: steps of the run before which `patience` does not stop it; None for none.
        seed: seed of minibatches, binarisation, dropout and latent noise.
        engine: what makes the steps: `native`; or `svi`, Pyro's own `SVI` with `pyro.optim` and,
            where the objective is an enumerated ELBO, `TraceEnum_ELBO`. The objective, the noise
            and the reports are the same; nothing is compiled or recorded, so that it is slower.
    """

    epochs: Count = DEFAULT_EPOCHS
    steps: Count | None = None
    batch_size: Size = 200
    labelled_batch_size: Size | None = None
    steps_per_epoch: Size | None = None
    optimiser: Annotated[str, OneOf(("adam", "rmsprop"))] = "adam"
    learning_rate: Positive = 3e-3
    learning_rate_schedule: Annotated[str, OneOf(("constant", "cosine", "step"))] = "cosine"
    learning_rate_warmup: Count | None = None
    learning_rate_decay: Positive = 0.75
    learning_rate_decay_epochs: Count = 200
    max_gradient_norm: Positive | None = None
    l1: NotNegative = 0.0
    l2: NotNegative = 0.0
    penalised: str = ".*weight"
    # A dictionary is what users write and checkpoints hold, but it has no hash.
    anneal: Mapping[str, Anneal] | None = field(default=None, hash=False)
    term_weights: Mapping[str, NotNegative] = field(default_factory=dict, hash=False)
    bound_weights: Annotated[str, OneOf(("rows", "equal"))] = "rows"
    augmentation: Augmentation | None = None
    consistency: Consistency | None = None
    weight_average: Annotated[float | None, Range(0, below=1)] = None
    binarise: bool | None = None
    precision: Annotated[str, OneOf(tuple(PRECISIONS))] = "float32"
    compile: Annotated[str, OneOf(("auto", "always", "never"))] = "auto"
    cuda_graph: bool = True
    keep_best: bool = True
    select: Annotated[str, OneOf(("accuracy", "bound"))] = "accuracy"
    validation_bound: bool = False
    patience: Count | None = None
    min_steps: Count | None = None
    seed: int = 0
    engine: Annotated[str, OneOf(("native", "svi"))] = "native"

    def __post_init__(self) -> None:
        check_fields(self)
        check_length(self.epochs, self.steps, self.steps_per_epoch, DEFAULT_EPOCHS)
        if self.engine == "svi" and self.compile == "always":
            raise ConfigError('compile is "always", but engine="svi" is never compiled: use "auto"')
        check_expression("penalised", self.penalised)

    def weights(self) -> dict[str, Anneal]:
        """Return the product of `anneal` and `term_weights`, by key."""
        constant = {key: Anneal(1.0, 1.0, 1) for key in self.term_weights}
        changing = {**constant, **(self.anneal or {})}
        return {key: a.times(self.term_weights.get(key, 1.0)) for key, a in changing.items()}

    def resolved(self, model: PyroModel, data: SSLData, share: Share | None = None) -> "FitConfig":
        """Return the same with all options that depend on the model and the data filled in.

        Args:
            model: what is trained.
            data: what it is trained on.
            share: the part of every batch that this process takes.

        Raises:
            ConfigError: if the processes cannot share a batch evenly.
        """
        config = self
        if config.consistency is not None:
            check_consistency(config.consistency, model)
        if config.binarise is None:
            config = replace(config, binarise=model.takes_pixels and not data.real_valued)
        batches = config.batches(data, share)
        labelled, unlabelled = (
            rows * batches.share.processes for rows in (batches.labelled, batches.unlabelled)
        )
        steps = config.total_steps(batches.steps)
        config = replace(
            config,
            epochs=config.epochs if config.steps is None else -(-steps // batches.steps),
            batch_size=unlabelled or labelled,
            labelled_batch_size=labelled or None,
            steps_per_epoch=batches.steps,
        )
        if config.anneal is None:
            anneal = {
                key: Anneal(start, end, max(1, round(share * steps)))
                for key, (start, end, share) in model.recommended_anneal.items()
            }
            config = replace(config, anneal=anneal)
        return config

    def batches(self, data: SSLData, share: Share | None = None) -> MiniBatches:
        """Return the minibatches of `data`, or one process's share of each.

        Raises:
            ConfigError: if the processes cannot share a batch evenly.
        """
        return MiniBatches(
            data,
            self.batch_size,
            self.labelled_batch_size,
            self.steps_per_epoch,
            bool(self.binarise),
            self.seed,
            share,
            self.augmentation,
        )

    def total_steps(self, steps_per_epoch: int) -> int:
        """Return the number of steps of a run of so many steps an epoch."""
        return self.epochs * steps_per_epoch if self.steps is None else self.steps

    def learning_rate_at(self, epoch: int) -> float:
        """Return the step size of an epoch, counted from 0.

        Raises:
            ConfigError: if the length of the run is in steps, and that of an epoch still depends on
                the data.
        """
        # The last epoch may be cut short.
        epochs: float = self.epochs
        if self.steps is not None:
            if self.steps_per_epoch is None:
                raise ConfigError(
                    f"steps is {self.steps}, but steps_per_epoch depends on the data: ask the "
                    "configuration that resolved(model, data) returns"
                )
            epochs = self.steps / self.steps_per_epoch
        rate = self.learning_rate
        if self.learning_rate_warmup is not None:
            rate *= min(1, (epoch + 1) / (self.learning_rate_warmup + 1))
        if self.learning_rate_schedule == "cosine":
            return rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        if self.learning_rate_schedule == "step":
            return rate * self.learning_rate_decay ** (epoch // self.learning_rate_decay_epochs)
        return rate

    def compiles(self, steps_per_epoch: int) -> bool:
        """Return whether to compile a run of so many steps an epoch."""
        if self.engine == "svi":
            return False
        if self.compile == "auto":
            return self.total_steps(steps_per_epoch) >= COMPILE_PAYS_AFTER
        return self.compile == "always"

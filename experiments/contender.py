"""One model of a comparison, and how it is trained: progress on the screen, files as it goes."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from tqdm import tqdm

from experiments.devices import forget_peak_memory, peak_memory
from experiments.options import RunOptions
from experiments.run_folder import RunFolder
from pyro_ssl.data import SSLData
from pyro_ssl.errors import PyroSSLError
from pyro_ssl.infer import FitConfig, History, fit
from pyro_ssl.infer.processes import run_in_main_process
from pyro_ssl.infer.progress import Progress
from pyro_ssl.models import PyroModel

# What the progress bar tells.
_SHOWN = ("epoch", "labelled_elbo", "unlabelled_elbo", "validation_accuracy", "validation_elbo")


@dataclass(frozen=True)
class Contender:
    """One model of a comparison, with one seed.

    Attributes:
        name: the model's name in files and tables.
        seed: the seed.
        model: the model, newly initialised.
        data: the rows it may see.
        fit_config: how it is trained.
        split_digest: which rows are labelled, unlabelled, for validation.
        watch: called with the epochs trained so far, at the start and after each of them.
    """

    name: str
    seed: int
    model: PyroModel
    data: SSLData
    fit_config: FitConfig
    split_digest: str
    watch: Callable[[int], None] | None = None

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.fit_config.batches(self.data).steps

    @property
    def device(self) -> torch.device:
        """Where it is trained."""
        return self.data.labelled_xs.device


def train(
    contender: Contender, folder: RunFolder, options: RunOptions
) -> tuple[History, float | None]:
    """Train, writing the CSV after every epoch and the checkpoint beside it.

    Return what it did, and the peak of memory in MiB from this process's second epoch on, when
    everything is compiled; None if it made only one, or the system does not say.

    Args:
        contender: what to train, in place.
        folder: where its files lie.
        options: whether to resume, and whether to show progress.
    """
    seed = contender.seed
    checkpoint = folder.file(seed, ".pt")
    resume = options.resume and run_in_main_process(checkpoint.exists)
    folder.log(seed, f"{'resume' if resume else 'start'} on {contender.device}: {options}")
    if contender.watch is not None and not resume:
        contender.watch(0)
    steps = contender.steps
    epochs = 0
    with tqdm(
        total=contender.fit_config.epochs * steps,
        desc=f"{contender.name} seed {seed}",
        unit="step",
        disable=options.quiet or options.jobs > 1,
    ) as bar:

        def on_epoch(progress: Progress) -> None:
            nonlocal epochs
            rows = progress.rows
            epochs += 1
            if epochs == 1:
                forget_peak_memory(contender.device)
            folder.write(seed, ".csv", pd.DataFrame(rows).to_csv(index=False))
            last = {k: f"{v:.5g}" for k, v in rows[-1].items()}
            folder.log(seed, " ".join(f"{k}={v}" for k, v in last.items()))
            bar.set_postfix({k: last[k] for k in _SHOWN if k in last}, refresh=False)
            bar.update(len(rows) * steps - bar.n)
            if contender.watch is not None:
                contender.watch(len(rows))

        def on_step(progress: Progress) -> None:
            bar.update()

        try:
            history = fit(
                contender.model,
                contender.data,
                contender.fit_config,
                checkpoint=checkpoint,
                resume=resume,
                on_epoch=on_epoch,
                on_step=on_step,
            )
            return history, peak_memory(contender.device) if epochs > 1 else None
        except KeyboardInterrupt:
            folder.log(seed, "interrupted")
            print(f"\n{checkpoint} holds the last whole epoch", file=sys.stderr)
            raise
        except PyroSSLError as error:
            folder.log(seed, f"error: {error}")
            raise

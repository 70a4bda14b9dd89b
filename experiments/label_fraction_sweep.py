"""How accuracy and calibration of M2, CCVAE and a classifier depend on the share of labels.

For each proportion of labelled training rows it runs `mnist_conv_m2` (with its classifier of
labelled rows alone) and `mnist_ccvae`, whose results lie in their own folders; what is finished
there is kept, and what is unfinished is gone on with, so that the command can be given again and
again. It then puts all that is finished together, in other calls too:
RESULTS_ROOT/label_fraction_sweep/sweep-DATASET.csv has a row for each model, proportion and seed,
the figure beside it the means with 95 % intervals.

Proportions are of the training rows that are left after 11,400 for validation: of 48,600 on MNIST,
as in CCVAE_Jax. The epoch is chosen on validation rows; the test set is read once a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import tyro

from experiments import mnist_ccvae, mnist_conv_m2
from experiments.options import DataOptions


def _m2() -> mnist_conv_m2.Config:
    return mnist_conv_m2.Config(epochs=10)


def _ccvae() -> mnist_ccvae.Config:
    return mnist_ccvae.Config(epochs=10)


@dataclass(frozen=True)
class Config(DataOptions):
    """Options of the sweep; those of the models themselves begin with their names."""

    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Seeds, one run each."""
    validation: int | None = 11_400
    """Labelled rows taken from the training set to choose the epoch on, never trained on; none
    for 10,000, but no more than a quarter of the training set."""
    proportions: tuple[float, ...] = (
        0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5,
        0.7, 0.9,
    )  # fmt: skip
    """Labelled share of the training rows that are not for validation."""
    steps_per_epoch: int | None = 243
    """Steps of an epoch, the same for all shares and models; none for one pass over the rows."""
    models: tuple[Literal["m2", "ccvae"], ...] = ("m2", "ccvae")
    """Models to train; m2 brings the classifier along."""
    m2: mnist_conv_m2.Config = field(default_factory=_m2)
    """M2, see `mnist_conv_m2`; what the sweep has an option for is the sweep's."""
    ccvae: mnist_ccvae.Config = field(default_factory=_ccvae)
    """CCVAE, see `mnist_ccvae`; what the sweep has an option for is the sweep's."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.launch import run_guarded
    from experiments.sweep import Sweep

    return run_guarded("label_fraction_sweep", Sweep, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

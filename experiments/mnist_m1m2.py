"""M1+M2 of Kingma et al. (2014) on MNIST with 100 labels: M2 on the latents of M1.

Takes M1 from a finished run of `mnist_m1` with the same seed, or trains it first. Trains M2 on
draws from M1's posteriors of grey images, new in every step, of the latents that are active; the
epoch is chosen on validation rows that neither layer was trained on. Both layers together are
then tested as one model: accuracy and calibration on grey images, and the ELBO of the joint
program on pixels drawn from them, as M1's is. The test set is read once.
Writes per-seed CSV, JSON, checkpoints and figures to RESULTS_ROOT/mnist_m1m2/.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from experiments.options import M1Options, SemiSupervisedOptions


@dataclass(frozen=True)
class Config(SemiSupervisedOptions):
    """Options of the experiment."""

    binarise: Annotated[bool, tyro.conf.Suppress] = True
    """Pixels are M1's business."""
    epochs: int = 300
    """Epochs of M2, each one pass over the unlabelled rows."""
    latent_dim: int = 10
    """Dimensions of M2's latent z2."""
    hidden_dims: tuple[int, ...] = (500,)
    """Units of each hidden layer of M2's classifier and encoder, reversed in its decoder."""
    num_summed: int | None = 1
    """Sum only so many of the likeliest classes of each unlabelled row and draw one of the others
    (RaoBlackwell_ELBO); none to sum all."""
    active_threshold: float = 0.1
    """Keep the latents of M1 whose posterior means have a larger standard deviation."""
    m1: M1Options = field(default_factory=M1Options)


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.launch import run_guarded
    from experiments.m1m2 import M1M2Experiment

    return run_guarded("mnist_m1m2", M1M2Experiment, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

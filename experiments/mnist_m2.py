"""M2 of Kingma et al. (2014) on MNIST with 100 labels, against the classifier alone.

Trains the semi-supervised VAE M2, its label summed out, and beside it the same classifier
network on the labelled rows alone. The epoch is chosen on validation rows taken from the
training set; the test set is read once, at the end. Writes per-seed CSV, JSON, checkpoint
and figures to RESULTS_ROOT/mnist_m2/. With --num-summed it trains RaoBlackwellM2 instead; with
--latent-dim 2 it draws each class's manifold as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from experiments.options import SemiSupervisedOptions


@dataclass(frozen=True)
class Config(SemiSupervisedOptions):
    """Options of the experiment."""

    alpha: float = 15.0
    """Weight of the mean of -log q(y|x) over labelled rows beside the bound per example, all in
    nats (the paper's alpha is this times the number N of training rows: 0.1)."""
    latent_dim: int = 50
    """Dimensions of the latent z."""
    input_dropout: float = 0.5
    """Probability of dropping a pixel at the classifier's input."""
    num_summed: int | None = None
    """Sum only so many of the likeliest classes of each unlabelled row and draw one of the others
    (RaoBlackwell_ELBO); none to sum all."""
    baseline: bool = True
    """Train the classifier on the labelled rows alone as well."""
    class_chunk: int | None = None
    """Evaluate so many of the summed classes at a time, to save memory; none for all."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.launch import run_guarded
    from experiments.semi_supervised import M2Experiment

    return run_guarded("mnist_m2", M2Experiment, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

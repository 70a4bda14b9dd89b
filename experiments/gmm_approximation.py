"""What joint training does to a mixture of four Gaussians whose encoder takes two bits apart.

The first experiment of Shekhovtsov et al. (2022). A decoder starts as the true mixture. First the
encoder alone is trained, then encoder and decoder together. With an encoder that factorises over
the bits of the component's number the ELBO of joint training rises at the expense of the evidence:
the centres move to where the posterior factorises better. A full encoder, trained alike, leaves
them where they are. Every step's ELBO, evidence, divergence of q(z|x) from the posterior and drift
of the centres go to per-seed CSV files in RESULTS_ROOT/gmm_approximation/, with scatter plots, an
animation, and a figure of both encoders.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from experiments.options import RunOptions


@dataclass(frozen=True)
class Config(RunOptions):
    """Options of the experiment."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds, one run each; a seed draws the points, the weights and the order."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Precision of matrix products."""
    train_rows: int = 50_000
    """Points to train on."""
    traced_rows: int = 4_000
    """Points on which every step is measured."""
    test_rows: int = 200_000
    """Points to measure the two stages' ends on."""
    batch_size: int = 500
    """Points a step."""
    encoder_steps: int = 1_500
    """Steps of the encoder alone, a multiple of 50."""
    joint_steps: int = 3_000
    """Steps of encoder and decoder, a multiple of 50."""
    learning_rate: float = 3e-3
    """Adam's step size, at the start of either stage; it falls to 0 along a half cosine."""
    hidden_dims: tuple[int, ...] = (64, 64)
    """Units of each hidden layer of the encoder."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.gmm import GMMExperiment
    from experiments.launch import run_guarded

    return run_guarded("gmm_approximation", GMMExperiment, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

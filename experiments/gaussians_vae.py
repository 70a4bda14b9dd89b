"""An autoencoder and a VAE with a one-dimensional bottleneck, on two Gaussians in the plane.

Both have the same networks, but for the decoder's last layer, and a Gaussian likelihood; the VAE
learns its scale. The autoencoder's
is fixed, so that it minimises the squared error: with a learned one it would do better by its
own measure to pass one coordinate on exactly and drop the other. Measured on test points:
reconstruction error; for the VAE its ELBO and importance-weighted bounds beside the mean of the
true log p(x), which no bound exceeds in expectation; and the true log-density of what each model
generates. Writes per-seed CSV, JSON, checkpoints and figures to RESULTS_ROOT/gaussians_vae/.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from experiments.options import RunOptions


@dataclass(frozen=True)
class Config(RunOptions):
    """Options of the experiment."""

    train_rows: int = 4000
    """Points to train on, drawn by the seed."""
    validation: int = 1000
    """Points to choose the epoch on."""
    test_rows: int = 5000
    """Points to test on."""
    epochs: int = 100
    """Epochs, each one pass over the training points."""
    batch_size: int = 100
    """Points a step."""
    learning_rate: float = 3e-3
    """Adam's step size, at the start; it falls to 0 along a half cosine."""
    latent_dim: int = 1
    """Dimensions of the latent z."""
    hidden_dims: tuple[int, ...] = (64, 64)
    """Units of each hidden layer of the encoder, reversed in the decoder."""
    min_scale: float = 0.05
    """The smallest scale of the VAE's p(x|z), in the units of x."""
    autoencoder_scale: float = 0.3
    """The scale of the autoencoder's p(x|z), in the units of x."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.gaussians import GaussiansExperiment
    from experiments.launch import run_guarded

    return run_guarded("gaussians_vae", GaussiansExperiment, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

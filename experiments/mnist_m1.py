"""M1, the variational autoencoder, on MNIST: bounds, pictures, and what the KL is for.

Trains a VAE on the training rows without their labels, chooses the epoch by the ELBO of
validation rows, and evaluates the ELBO and importance-weighted bounds of the test rows, once. A
VAE and a plain autoencoder of two latent dimensions, trained beside it, show the latent space; an
animation follows the test rows there, from which nothing is chosen and no number is taken.
Writes per-seed CSV, JSON, checkpoint, figures and two animations to RESULTS_ROOT/mnist_m1/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from experiments.options import TrainingOptions


@dataclass(frozen=True)
class Config(TrainingOptions):
    """Options of the experiment."""

    epochs: int = 200
    """Epochs, each one pass over the training rows."""
    latent_dim: int = 50
    """Dimensions of the latent z."""
    hidden_dims: tuple[int, ...] = (500, 500)
    """Units of each hidden layer of the encoder, reversed in the decoder."""
    activation: Literal["softplus", "relu", "elu", "tanh"] = "softplus"
    """Activation of the hidden layers."""
    batch_norm: bool = True
    """Batch norm before each activation."""
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    """p(x|z): Bernoulli, or Gaussian of learned scale on pixels as they are."""
    bound_samples: tuple[int, ...] = (1, 50, 5000)
    """Samples k of the importance-weighted bounds of the test rows; k = 1 is the ELBO and always
    there, k = 5000 takes a quarter of an hour for MNIST on two cores."""
    two_dimensional: bool = True
    """Train the VAE and the autoencoder of two latent dimensions as well."""
    epochs_2d: int = 50
    """Epochs of these two."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.launch import run_guarded
    from experiments.m1 import M1Experiment

    return run_guarded("mnist_m1", M1Experiment, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

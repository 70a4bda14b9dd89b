"""CCVAE, M2 and a classifier on synthetic shapes with six binary attributes, few of them labelled.

Images are drawn by the project; nothing is downloaded. Beside accuracies it scores interventions:
each attribute is changed through its latent (CCVAE) or its input of the decoder (M2), and a judge,
a classifier trained on the truth of all training rows, must see that attribute change and no other.
The epoch is chosen on validation rows taken from the training set; the test set is read once, at
the end. Writes to RESULTS_ROOT/shapes_ccvae/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from experiments.options import SemiSupervisedOptions


@dataclass(frozen=True)
class Config(SemiSupervisedOptions):
    """Options of the experiment."""

    dataset: Literal["shapes"] = "shapes"  # type: ignore[assignment]
    """Data set."""
    models: tuple[Literal["ccvae", "m2", "classifier"], ...] = ("ccvae", "m2", "classifier")
    """Models to train, beside the judge."""
    train_rows: int = 20_000
    """Training images, validation rows among them."""
    test_rows: int = 4_000
    """Test images."""
    size: int = 64
    """Height and width of the images."""
    labels: int = 150
    """Labelled training rows: 1 % of those that are not for validation."""
    validation: int | None = 5_000
    """Labelled rows taken from the training set to choose the epoch on, never trained on."""
    epochs: int = 30
    """Epochs, each one pass over the unlabelled rows."""
    batch_size: int = 100
    """Unlabelled rows a step; all labelled rows, at most as many, come on top."""
    learning_rate: float = 1e-3
    """Adam's step size, at the start."""
    alpha: float = 15.0
    """Weight of the mean of -log q(y|x) over labelled rows beside the bound per example, all in
    nats, on top of that term's weight in the bound itself."""
    latent_dim: int = 16
    """Dimensions of M2's z, and of CCVAE's z_style."""
    hidden_dims: tuple[int, ...] = (256,)
    """Units of each hidden layer between convolutions and latents."""
    batch_norm: bool = False
    """Batch norm in the classifiers of M2 and of labelled rows alone."""
    binarise: bool = False
    """Draw pixels from a Bernoulli each time a row is visited; else keep them real-valued."""
    likelihood: Literal["bernoulli", "laplace"] = "laplace"
    """Family of p(x|.)."""
    laplace_scale: float = 0.1
    """Scale of the Laplace likelihood, pixels being in [0, 1]."""
    kl_weight: float = 1.0
    """Weight of log p(z|y) - log q(z|x) of CCVAE."""
    num_samples: int = 100
    """Draws that CCVAE's q(y|x) of labelled rows is a mean of."""
    temperature: float = 0.5
    """Temperature of M2's relaxed attributes."""
    judge_epochs: int = 5
    """Epochs of the judge, on all training rows and their true attributes."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.launch import run_guarded
    from experiments.shapes import ShapesExperiment

    return run_guarded("shapes_ccvae", ShapesExperiment, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

"""CCVAE of Joy et al. (2021) on MNIST, against the classifier alone.

Trains the CCVAE, which predicts the label from a part of its latents, and beside it a classifier
with the encoder's networks on the labelled rows alone. The epoch is chosen on validation rows taken
from the training set; the test set is read once, at the end. Writes per-seed CSV, JSON, checkpoint
and figures to RESULTS_ROOT/mnist_ccvae/: samples of each class and their spread, class swaps with
the style kept, walks along each latent of the class and between styles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import tyro

from experiments.engine.options import SemiSupervisedOptions, option

if TYPE_CHECKING:
    from experiments.engine.runner import Comparison
    from pyro_ssl.data import SSLData
    from pyro_ssl.models import CCVAE


@dataclass(frozen=True)
class Config(SemiSupervisedOptions):
    """Options of the experiment."""

    labels: int = 486
    """Labelled training rows, shared evenly by the classes."""
    alpha: float = 200.0
    """Weight of the mean of -log q(y|x) over labelled rows beside the bound per example, all in
    nats, in addition to its weight in the bound itself."""
    epochs: int = 15
    """Epochs; each is a pass over the rows, labelled or unlabelled, that need more steps."""
    batch_size: int = 100
    """Unlabelled rows per step, and labelled rows per step; all of them if there are fewer."""
    learning_rate: float = 3e-3
    """Adam's initial step size."""
    hidden_dims: tuple[int, ...] = (256,)
    """Units of each hidden layer between convolutions, or pixels, and latents."""
    input_dropout: float = 0.5
    """Probability of dropping an output of the convolutions, or a pixel without them, at the input
    of the encoder and of the classifier of labelled rows."""
    style_dim: int = 40
    """Dimensions of z_style; z_class has one for each class."""
    kl_weight: float = 1.0
    """Weight of log p(z|y) - log q(z|x)."""
    likelihood: Literal["bernoulli", "laplace"] = "bernoulli"
    """Family of p(x|z); laplace takes grey values unchanged, and needs --no-binarise."""
    laplace_scale: float = 0.1
    """Scale of the Laplace likelihood, for pixels in [0, 1]."""
    num_samples: int = 100
    """Number of draws over which q(y|x) of labelled rows is averaged."""
    channels: int | None = 16
    """Channels of the first convolution before the encoder and of the last one after the decoder;
    none for fully connected networks."""
    batch_norm: bool = False
    """Batch norm in the encoder and in the classifier of labelled rows."""
    baseline: bool = option(True, recorded=False)
    """Also train the classifier on the labelled rows alone."""


def build(config: Config, data: "SSLData") -> "CCVAE":
    """Return the CCVAE, newly initialised."""
    from pyro_ssl.likelihoods import pixel_likelihood
    from pyro_ssl.models import CCVAE

    return CCVAE(
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        style_dim=config.style_dim,
        hidden_dims=config.hidden_dims,
        batch_norm=config.batch_norm,
        input_dropout=config.input_dropout,
        likelihood=pixel_likelihood(config.likelihood, config.laplace_scale),
        kl_weight=config.kl_weight,
        alpha=config.alpha,
        num_samples=config.num_samples,
        channels=config.channels,
    )


def comparison(config: Config, steps_per_epoch: int | None = None) -> "Comparison":
    """Return what to train and how to test it.

    Args:
        config: the options.
        steps_per_epoch: steps an epoch; None for one pass over the rows, see `FitConfig`.
    """
    from experiments.engine.measures import measure_latents
    from experiments.engine.semi_supervised import (
        BASELINE,
        build_classifier,
        measure_classification,
        semi_supervised,
    )

    baseline = {BASELINE: build_classifier} if config.baseline and config.any_labels else {}
    return semi_supervised(
        "mnist_ccvae",
        config,
        {**baseline, "ccvae": build},
        (measure_classification, measure_latents),
        steps_per_epoch=steps_per_epoch,
        equal_steps=True,
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

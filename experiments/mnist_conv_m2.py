"""M2 of Kingma et al. (2014) on MNIST, with convolutions shared by classifier and encoder.

Trains M2, and beside it the same classifier with its convolutions on the labelled rows alone. By
default one label of each unlabelled row is summed and one drawn (RaoBlackwellM2), since each label
to sum is one more image to decode; --num-summed None sums all. The epoch is chosen on validation
rows taken from the training set; the test set is read once, at the end. Writes per-seed CSV, JSON,
checkpoint and figures to RESULTS_ROOT/mnist_conv_m2/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro

from experiments import mnist_m2

if TYPE_CHECKING:
    from experiments.engine.runner import Comparison
    from pyro_ssl.data import SSLData
    from pyro_ssl.models import M2


@dataclass(frozen=True)
class Config(mnist_m2.Config):
    """Options of the experiment."""

    labels: int = 486
    """Labelled training rows, shared evenly by the classes."""
    epochs: int = 15
    """Epochs; each is a pass over the rows, labelled or unlabelled, that need more steps."""
    batch_size: int = 100
    """Unlabelled rows per step, and labelled rows per step; all of them if there are fewer."""
    learning_rate: float = 3e-3
    """Adam's initial step size."""
    channels: int = 16
    """Channels of the first convolution, and of the last one after the decoder."""
    hidden_dims: tuple[int, ...] = (256,)
    """Units of each hidden layer between convolutions and latents."""
    input_dropout: float = 0.5
    """Probability of dropping an output of the convolutions at the classifier's input."""
    num_summed: int | None = 1
    """Number of most probable classes to sum for each unlabelled row; one of the others is drawn
    (RaoBlackwell_ELBO). None to sum all."""


def build(config: Config, data: "SSLData") -> "M2":
    """Return the M2, newly initialised."""
    return mnist_m2.build(config, data, config.channels)


def comparison(config: Config, steps_per_epoch: int | None = None) -> "Comparison":
    """Return what to train and how to test it.

    Args:
        config: the options.
        steps_per_epoch: steps an epoch; None for one pass over the rows, see `FitConfig`.
    """
    from experiments.engine.semi_supervised import (
        BASELINE,
        build_classifier,
        draw_classes,
        measure_classification,
        semi_supervised,
    )

    baseline = {BASELINE: build_classifier} if config.baseline and config.any_labels else {}
    name = "m2" if config.num_summed is None else "raoblackwellm2"
    return semi_supervised(
        "mnist_conv_m2",
        config,
        {**baseline, name: build},
        (measure_classification, draw_classes),
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

"""M2 of Kingma et al. (2014) on MNIST with 100 labels, against the classifier alone.

Trains the semi-supervised VAE M2, with its label summed out, and beside it the same classifier
network on the labelled rows alone. The epoch is chosen on validation rows taken from the
training set; the test set is read once, at the end. Writes per-seed CSV, JSON, checkpoint
and figures to RESULTS_ROOT/mnist_m2/. With --num-summed it trains RaoBlackwellM2 instead; with
--latent-dim 2 it also draws each class's manifold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tyro

from experiments.engine.options import SemiSupervisedOptions, option

if TYPE_CHECKING:
    from experiments.engine.runner import Comparison
    from pyro_ssl.data import SSLData
    from pyro_ssl.models import M2


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
    """Number of most probable classes to sum for each unlabelled row; one of the others is drawn
    (RaoBlackwell_ELBO). None to sum all."""
    baseline: bool = option(True, recorded=False)
    """Also train the classifier on the labelled rows alone."""
    class_chunk: int | None = option(None, recorded=False)
    """Number of summed classes to evaluate at a time, to save memory; none for all."""


def build(config: Config, data: "SSLData", channels: int | None = None) -> "M2":
    """Return the M2, newly initialised; with convolutions if `channels` is given."""
    from pyro_ssl.models import M2, RaoBlackwellM2

    options: dict[str, Any] = {
        "input_shape": data.input_shape,
        "num_classes": data.num_classes,
        "latent_dim": config.latent_dim,
        "hidden_dims": config.hidden_dims,
        "batch_norm": config.batch_norm,
        "input_dropout": config.input_dropout,
        "alpha": config.alpha,
        "class_chunk": config.class_chunk,
        "channels": channels,
    }
    if config.num_summed is None:
        return M2(**options)
    return RaoBlackwellM2(num_summed=config.num_summed, **options)


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
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
        "mnist_m2", config, {**baseline, name: build}, (measure_classification, draw_classes)
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

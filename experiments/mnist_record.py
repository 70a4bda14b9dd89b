"""The most accurate classifier of MNIST with few labels that this library makes.

One generative model, RaoBlackwellM2 with convolutions, trained by its ELBO and by what each of
--leave-out takes away: all images are changed a little each time they are visited; q(y|x) of an
image that is changed much has to be the class of the image, where that is certain; and an average
of the weights is what is validated and tested. --leave-out trains, on the same seeds, a model
without one of them for each word, for a table of what each is worth.

The epoch is chosen on validation rows taken from the training set; the test set is read once, at
the end. The benchmark's protocol has 10,000 such rows; --validation 100 has no more of them than
there are labels. Writes per-seed CSV, JSON, checkpoint and figures to RESULTS_ROOT/mnist_record/.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import tyro

from experiments.engine.options import SemiSupervisedOptions, option

if TYPE_CHECKING:
    from experiments.engine.runner import Comparison
    from pyro_ssl.data import SSLData
    from pyro_ssl.infer import FitConfig
    from pyro_ssl.models import M2, SSLModel

WHOLE = "record"
Ingredient = Literal[
    "augmentation", "consistency", "pseudo_labels", "average", "generative_model", "convolutions"
]


@dataclass(frozen=True)
class Config(SemiSupervisedOptions):
    """Options of the experiment."""

    leave_out: tuple[Ingredient, ...] = option((), recorded=False)
    """Train a model without each of these beside the whole one: pseudo_labels takes q(y|x) of an
    image as the target of its changed one, in place of the likeliest class; generative_model
    trains q(y|x) alone."""
    epochs: int = 40
    """Epochs, of --steps-per-epoch each."""
    steps_per_epoch: int = 250
    """Steps an epoch."""
    batch_size: int = 200
    """Unlabelled rows a step."""
    labelled_batch_size: int = 100
    """Labelled rows a step, at most as many as there are."""
    learning_rate: float = 2e-3
    """Adam's step size, at the start."""
    binarise: bool = False
    """Draw pixels from a Bernoulli each time a row is visited; else keep them real-valued."""
    alpha: float = 100.0
    """Weight of the mean of -log q(y|x) over labelled rows beside the bound per example, all in
    nats."""
    consistency: float = 100.0
    """Weight of the mean over unlabelled rows of the term of consistency, in nats."""
    consistency_warmup: int = 500
    """Steps over which that weight rises from 0."""
    threshold: float = 0.95
    """Probability of the likeliest class below which an image has no part in that term."""
    aligned: bool = False
    """Let each class be the target as often as p(y) says."""
    weight_average: float = 0.995
    """Decay of the average of the weights, a step."""
    latent_dim: int = 50
    """Dimensions of the latent z."""
    channels: int = 32
    """Channels of the first of the convolutions, and of the last after the decoder."""
    hidden_dims: tuple[int, ...] = (256,)
    """Units of each hidden layer between convolutions and latents."""
    input_dropout: float = 0.3
    """Probability of dropping an output of the convolutions at the classifier's input."""
    num_summed: int = 1
    """Likeliest classes of each unlabelled row that are summed; one of the others is drawn."""
    rotation: float = 8.0
    """Largest angle of the small changes, in degrees."""
    view_rotation: float = 25.0
    """Largest angle of the changes that the term of consistency is about, in degrees."""


def build(left_out: Ingredient | None, config: Config, data: "SSLData") -> "M2":
    """Return the model, newly initialised, without one of the ingredients."""
    from pyro_ssl.models import RaoBlackwellM2

    return RaoBlackwellM2(
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        latent_dim=config.latent_dim,
        hidden_dims=config.hidden_dims,
        channels=None if left_out == "convolutions" else config.channels,
        batch_norm="separate" if config.batch_norm else False,
        input_dropout=config.input_dropout,
        alpha=config.alpha,
        num_summed=config.num_summed,
    )


def training(how: "FitConfig", config: Config, name: str, data: "SSLData") -> "FitConfig":
    """Return how a model is trained, given what all experiments have in common of it."""
    from pyro_ssl.data import Augmentation
    from pyro_ssl.infer import Anneal, Consistency

    left_out = name.removeprefix("without_")
    turn, turned = config.rotation, config.view_rotation
    small = Augmentation(turn, 0.08, shear=5.0, translation=0.05, elastic=0.4)
    large = Augmentation(turned, 0.2, shear=15.0, translation=0.1, elastic=1.2, covered=0.25)
    targets = "probabilities" if left_out == "pseudo_labels" else "labels"
    threshold = 0.0 if left_out == "pseudo_labels" else config.threshold
    term = Consistency(
        large, config.consistency, targets, threshold=threshold, aligned=config.aligned
    )
    whole = replace(
        how,
        labelled_batch_size=config.labelled_batch_size,
        steps_per_epoch=config.steps_per_epoch,
        augmentation=small,
        consistency=term,
        anneal={"consistency": Anneal(0.0, 1.0, config.consistency_warmup)},
        weight_average=config.weight_average,
    )
    if left_out == "augmentation":
        return replace(whole, augmentation=None)
    if left_out == "consistency":
        return replace(whole, consistency=None, anneal={})
    if left_out == "average":
        return replace(whole, weight_average=None)
    if left_out == "generative_model":
        return replace(whole, term_weights={"labelled_bound": 0.0, "unlabelled_bound": 0.0})
    return whole


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.semi_supervised import (
        draw_classes,
        measure_classification,
        semi_supervised,
    )

    models: dict[str, Callable[..., SSLModel]] = {WHOLE: partial(build, None)}
    for ingredient in dict.fromkeys(config.leave_out):
        models[f"without_{ingredient}"] = partial(build, ingredient)
    measures = (measure_classification, draw_classes)
    return semi_supervised("mnist_record", config, models, measures, training=training)


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

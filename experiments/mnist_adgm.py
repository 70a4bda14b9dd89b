"""ADGM and SDGM of Maaloe et al. (2016) on MNIST with 100 labels.

By default both are trained as in the authors' code, except for its order of the rows, see `ADGM`:
all classes of each unlabelled row are summed, with 10 draws (SDGM: 5) of the latents, in 600 steps
per epoch of 100 labelled and 100 unlabelled rows; both bounds have equal weights. This takes days
on a CPU. --schedule reduced is for two cores: for each unlabelled row one class is summed and one
drawn, with one draw of the latents, in fewer and larger steps. It is another recipe, too, since the
authors' loses its accuracy in so few steps: images are changed a little, a term of consistency asks
for the same class of an image changed much, weights are averaged, both models have batch norm, and
the bounds weigh by their numbers of rows. All its options can be changed.

The epoch is chosen on validation rows taken from the training set, whereas the authors trained on
60,000 rows; the test set is read once, at the end. Writes per-seed CSV, JSON, checkpoint and
figures to RESULTS_ROOT/mnist_adgm/.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import tyro

from experiments.engine.changes import ChangeOptions, with_changes
from experiments.engine.options import SemiSupervisedOptions, option

if TYPE_CHECKING:
    from experiments.engine.runner import Comparison, Figures, Result
    from experiments.engine.training import Contender
    from pyro_ssl.data import ImageDataset, SSLData
    from pyro_ssl.infer import FitConfig
    from pyro_ssl.models import SSLModel


@dataclass(frozen=True)
class Config(SemiSupervisedOptions, ChangeOptions):
    """Options of the experiment."""

    schedule: Literal["published", "reduced"] = option("published", recorded=False)
    """Defaults of all other options: those of the authors' code, or values that suit two cores."""
    model: tuple[Literal["adgm", "sdgm"], ...] = option(("adgm", "sdgm"), recorded=False)
    """Models to train."""
    epochs: int = 1000
    """Epochs, of --steps-per-epoch each."""
    steps_per_epoch: int | None = 600
    """Number of steps per epoch; none for one pass over the rows that need more steps."""
    batch_size: int = 100
    """Number of unlabelled rows per step."""
    labelled_batch_size: int = 100
    """Number of labelled rows per step; all of them if there are fewer."""
    learning_rate: float = 3e-4
    """Adam's initial step size."""
    learning_rate_schedule: Literal["constant", "cosine", "step"] = "step"
    """Step size over the epochs: constant, falling to 0 along a half cosine, or by steps, to 0.75
    of it every 200 epochs."""
    bound_weights: Literal["equal", "rows"] = "equal"
    """Weights of the bounds of labelled and of unlabelled rows: equal, or by their numbers."""
    alpha: float = 1200.0
    """ADGM's weight of the mean of -log q(y|a,x) over labelled rows beside the bounds, in nats."""
    sdgm_alpha: float = option(60.0, models=("sdgm",), in_place_of="alpha")
    """The same weight for SDGM."""
    num_samples: int = 10
    """Number of draws of a and z for each row in ADGM."""
    sdgm_num_samples: int = option(5, models=("sdgm",), in_place_of="num_samples")
    """Number of draws of a and z for each row in SDGM."""
    num_summed: int | None = None
    """Number of most probable classes to sum for each unlabelled row; one of the others is drawn
    (RaoBlackwell_ELBO). None to sum all."""
    batch_norm: bool = False
    """Batch norm in all networks of ADGM."""
    sdgm_batch_norm: bool = option(True, models=("sdgm",), in_place_of="batch_norm")
    """Batch norm in all networks of SDGM."""
    max_gradient_norm: float | None = 10.0
    """Cap of the total gradient norm of ADGM; none for no cap. The authors' 5 is for half this
    loss: they divide by the number of rows in a batch of both kinds."""
    sdgm_max_gradient_norm: float | None = option(
        5.0, models=("sdgm",), in_place_of="max_gradient_norm"
    )
    """The same cap for SDGM."""
    prior_scale: float | None = 1.0
    """Standard deviation s of the prior N(0, s^2) on the weights of all layers; none for none."""
    latent_dim: int = 100
    """Dimensions of the latent z."""
    auxiliary_dim: int = 100
    """Dimensions of the latent a."""
    kl_latents: tuple[float, float, int] = (1.0, 1.0, 1)
    """Weight of the KL divergences of a and z: its first value, its last value, and the number of
    steps of its linear change. The paper mentions such a warm-up; its code has none."""
    num_points: int = 100
    """Number of draws of a over which the classifier is averaged, in validation and test."""


# Defaults that suit two cores.
REDUCED = Config(
    schedule="reduced",
    tag="reduced",
    epochs=50,
    steps_per_epoch=None,
    batch_size=200,
    learning_rate=1e-3,
    learning_rate_schedule="cosine",
    binarise=False,
    bound_weights="rows",
    alpha=100.0,
    num_samples=1,
    sdgm_num_samples=1,
    num_summed=1,
    batch_norm=True,
    num_points=4,
    changed=0.25,
    consistency=100.0,
    tolerance=0.5,
    weight_average=0.995,
)
SCHEDULES = {"published": Config(), "reduced": REDUCED}


def build(name: str, config: Config, data: "SSLData") -> "SSLModel":
    """Return the model of that name, newly initialised."""
    from pyro_ssl import models

    kind = {"adgm": models.ADGM, "sdgm": models.SDGM}[name]
    return kind(
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        latent_dim=config.latent_dim,
        auxiliary_dim=config.auxiliary_dim,
        hidden_dims=config.hidden_dims,
        batch_norm="separate" if config.batch_norm else False,
        input_dropout=config.input_dropout,
        alpha=config.alpha,
        num_samples=config.num_samples,
        num_summed=config.num_summed,
        num_points=config.num_points,
    )


def training(how: "FitConfig", config: Config, name: str, data: "SSLData") -> "FitConfig":
    """Return the training of a model, given the training common to all experiments."""
    from pyro_ssl.infer import Anneal

    penalty = 0.0
    if config.prior_scale is not None:
        rows = data.num_labelled + data.num_unlabelled
        penalty = 1 / (2 * config.prior_scale**2 * rows)
    latents = Anneal(*config.kl_latents)
    anneal = {} if config.kl_latents[:2] == (1.0, 1.0) else {"kl_a": latents, "kl_z": latents}
    how = replace(
        how,
        labelled_batch_size=config.labelled_batch_size,
        steps_per_epoch=config.steps_per_epoch,
        bound_weights=config.bound_weights,
        max_gradient_norm=config.max_gradient_norm,
        l2=penalty,
        anneal=anneal,
    )
    return with_changes(how, config)


def measure(
    contender: "Contender", dataset: "ImageDataset", config: Config
) -> "tuple[Result, Figures]":
    """Classify the test rows and bound their log-likelihood; draw samples and analogies."""
    from experiments.engine.measures import measure_bound
    from experiments.engine.semi_supervised import draw_classes, measure_classification

    result, figures = measure_classification(contender, dataset, config)
    _, drawn = draw_classes(contender, dataset, config)
    return result | measure_bound(contender, dataset, config), {**figures, **drawn}


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.semi_supervised import semi_supervised

    return semi_supervised(
        "mnist_adgm",
        config,
        {name: partial(build, name) for name in dict.fromkeys(config.model)},
        (measure,),
        training=training,
    )


def scheduled(args: Sequence[str]) -> Config:
    """Return the options of the schedule that the command-line arguments name."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--schedule", default="published")
    return SCHEDULES.get(parser.parse_known_args(args)[0].schedule, SCHEDULES["published"])


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    given = sys.argv[1:] if args is None else args
    config = tyro.cli(Config, args=given, default=scheduled(given), description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

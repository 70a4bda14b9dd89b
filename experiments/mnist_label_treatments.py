"""Eleven treatments of the missing label on MNIST with 100 labels, and a baseline classifier.

The models differ only in what they do about the unknown label of an unlabelled row: all have the
same networks, rows, label splits, schedule and objective weights. Models for which these work badly
have options of their own: --logisticnormal-kl-z and --stgumbelsoftmaxm2-*.
Besides the files of every seed, it draws all models together: accuracy on validation rows, losses,
and KL divergences over epochs.
The epoch is chosen on validation rows taken from the training set; the test set is read once, at
the end. Writes to RESULTS_ROOT/mnist_label_treatments/.

Two features of the vae_ssl project are left out on purpose. Its "negative KL" trick maximises an
objective that is no bound. Its doubled KL of z on unlabelled rows makes the bound looser forever
(--kl-z 2 2 1 does so for all rows); here z's KL weighs more at first, and 1 at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import tyro

from experiments.engine.options import SemiSupervisedOptions, option

if TYPE_CHECKING:
    from experiments.engine.runner import Comparison
    from pyro_ssl.data import SSLData
    from pyro_ssl.models import SSLModel

Name = Literal[
    "all",
    "m2",
    "raoblackwellm2",
    "leaveoneoutm2",
    "approxm2",
    "gumbelsoftmaxm2",
    "stgumbelsoftmaxm2",
    "logisticnormalm2",
    "unsharpenedlogisticnormalm2",
    "stlogisticnormalm2",
    "logisticnormal",
    "loggamma",
    "mlpclassifier",
]

# Every treatment, and the classifier of labelled rows.
ALL: tuple[str, ...] = get_args(Name)[1:]
# Groups of models with common options.
_GUMBEL = ("gumbelsoftmaxm2", "stgumbelsoftmaxm2")
_STRAIGHT_THROUGH_GUMBEL = ("stgumbelsoftmaxm2",)
_NORMAL = ("logisticnormalm2", "stlogisticnormalm2")
_LOGISTIC_NORMAL = (*_NORMAL, "unsharpenedlogisticnormalm2", "logisticnormal")
_SIMPLEX = ("logisticnormal", "loggamma")
_LABEL = tuple(name for name in ALL[:-1] if name not in _SIMPLEX)


@dataclass(frozen=True)
class Config(SemiSupervisedOptions):
    """Options of the experiment.

    An option of three numbers is annealed: its first value, its last value, and the number of steps
    of its linear change.
    """

    epochs: int = 36
    """Epochs; each is a pass over the rows, labelled or unlabelled, that need more steps."""
    labelled_batch_size: int | None = None
    """Number of labelled rows per step; all of them if there are fewer; none for `batch_size`."""
    models: tuple[Name, ...] = option(("all",), recorded=False)
    """Models to train; all for every one."""
    alpha: float = 15.0
    """Weight of the mean of -log q(y|x) over labelled rows beside the bound per example, all in
    nats (the paper's alpha is this times the number N of training rows: 0.1)."""
    latent_dim: int = 50
    """Dimensions of the latent z."""
    hidden_dims: tuple[int, ...] = (300, 300)
    """Units of each hidden layer of classifier and encoder, reversed in the decoder."""
    input_dropout: float = 0.5
    """Probability of dropping a pixel at the classifier's input."""
    activation: Literal["relu", "softplus", "elu", "tanh", "maxout"] = "relu"
    """Activation of all networks; maxout takes four affine maps for each unit."""
    parted_batch_norm: bool = True
    """Batch norm with separate statistics for labelled and unlabelled rows."""
    latent_noise: float = 0.0
    """Standard deviation of noise added to z in training, before the decoder."""
    num_summed: int = option(1, models=("raoblackwellm2",))
    """Number of most probable classes that raoblackwellm2 sums."""
    num_samples: int = option(2, models=("leaveoneoutm2",))
    """Number of labels that leaveoneoutm2 draws for each row."""
    gumbel_temperature: tuple[float, float, int] = option((0.5, 0.5, 1), models=_GUMBEL)
    """Temperature of gumbelsoftmaxm2, annealed."""
    stgumbelsoftmaxm2_temperature: tuple[float, float, int] = option(
        (0.06, 0.06, 1), models=_STRAIGHT_THROUGH_GUMBEL, in_place_of="gumbel_temperature"
    )
    """Temperature of stgumbelsoftmaxm2's gradient, annealed; its bias has a larger effect."""
    stgumbelsoftmaxm2_alpha: float = option(
        60.0, models=_STRAIGHT_THROUGH_GUMBEL, in_place_of="alpha"
    )
    """alpha of stgumbelsoftmaxm2, larger to balance its gradient of unlabelled rows."""
    stgumbelsoftmaxm2_learning_rate: float = option(
        1e-3, models=_STRAIGHT_THROUGH_GUMBEL, in_place_of="learning_rate"
    )
    """Learning rate of stgumbelsoftmaxm2, whose gradient is noisier at its low temperature."""
    normal_temperature: tuple[float, float, int] = option((1 / 3, 1 / 3, 1), models=_NORMAL)
    """Temperature of logisticnormalm2 and stlogisticnormalm2, annealed; 1 over vae_ssl's sharpening
    (unsharpenedlogisticnormalm2 has 1)."""
    latent_temperature: tuple[float, float, int] = option((0.1, 0.1, 1), models=("logisticnormal",))
    """Temperature of logisticnormal's softmax, annealed."""
    posterior_shift: bool = option(True, models=("logisticnormal",))
    """Learn the shift of logisticnormal's posterior by the label."""
    prior_concentration: tuple[float, float, int] = option((0.05, 0.05, 1), models=("loggamma",))
    """Concentration of loggamma's Dirichlet prior, annealed."""
    kl_z: tuple[float, float, int] = (3.0, 1.0, 1500)
    """Weight of the KL divergence of z, annealed, so that y learns the class first."""
    logisticnormal_kl_z: tuple[float, float, int] = option(
        (3.0, 1.0, 5400), models=_LOGISTIC_NORMAL, in_place_of="kl_z"
    )
    """The same for the four logistic normal models, whose labels learn the class later."""
    kl_y: tuple[float, float, int] = option((1.0, 1.0, 1), models=_LABEL)
    """Weight of the KL divergence of the label, annealed."""
    kl_simplex: tuple[float, float, int] = option((1.0, 1.0, 1), models=_SIMPLEX)
    """Weight of the KL divergence of the latent behind the label, annealed."""
    classification: tuple[float, float, int] = (1.0, 1.0, 1)
    """Factor of alpha, annealed."""
    labelled_bound: tuple[float, float, int] = (1.0, 1.0, 1)
    """Weight of the bound of labelled rows, annealed."""
    optimiser: Literal["adam", "rmsprop"] = "adam"
    """Optimiser."""
    learning_rate_decay: float = 0.75
    """With --learning-rate-schedule step: factor of the step size at each step."""
    learning_rate_decay_epochs: int = 200
    """With --learning-rate-schedule step: epochs between two such steps."""
    max_gradient_norm: float | None = None
    """Cap of the total gradient norm; none for no cap."""
    l1: float = 0.0
    """Weight of the sum of absolute values of the penalised weights, in nats per example."""
    l2: float = 0.0
    """Weight of the sum of squares of the penalised weights, in nats per example."""
    penalised: str = r".*weight"
    """Regular expression for the names of the parameters that --l1 and --l2 penalise."""


def build(name: str, config: Config, data: "SSLData") -> "SSLModel":
    """Return the model of that name, newly initialised."""
    from pyro_ssl import models

    normal = {"temperature": config.normal_temperature[0]}
    gumbel = {"temperature": config.gumbel_temperature[0]}
    latent = {"temperature": config.latent_temperature[0]}
    # Each treatment, with the options that only it has.
    treatments: dict[str, tuple[type[Any], dict[str, Any]]] = {
        "m2": (models.M2, {}),
        "raoblackwellm2": (models.RaoBlackwellM2, {"num_summed": config.num_summed}),
        "leaveoneoutm2": (models.LeaveOneOutM2, {"num_samples": config.num_samples}),
        "approxm2": (models.ApproxM2, {}),
        "gumbelsoftmaxm2": (models.GumbelSoftmaxM2, gumbel),
        "stgumbelsoftmaxm2": (models.GumbelSoftmaxM2, {**gumbel, "straight_through": True}),
        "logisticnormalm2": (models.LogisticNormalM2, normal),
        "unsharpenedlogisticnormalm2": (models.LogisticNormalM2, {"temperature": 1.0}),
        "stlogisticnormalm2": (models.LogisticNormalM2, {**normal, "straight_through": True}),
        "logisticnormal": (
            models.LogisticNormal,
            {**latent, "posterior_shift": config.posterior_shift},
        ),
        "loggamma": (models.LogGamma, {"prior_concentration": config.prior_concentration[0]}),
    }
    treatment, own = treatments[name]
    # Without unlabelled rows there are no statistics of them to predict with.
    separate = config.batch_norm and config.parted_batch_norm and data.num_unlabelled > 0
    return treatment(
        **own,
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        latent_dim=config.latent_dim,
        hidden_dims=config.hidden_dims,
        activation=config.activation,
        batch_norm="separate" if separate else config.batch_norm,
        input_dropout=config.input_dropout,
        latent_noise=config.latent_noise,
        alpha=config.alpha,
    )


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.label_treatments import annealed_training, draw_runs, measure_treatment
    from experiments.engine.semi_supervised import (
        BASELINE,
        build_classifier,
        draw_classes,
        measure_classification,
        semi_supervised,
    )

    names: list[str] = list(dict.fromkeys(config.models))
    if "all" in names:
        names = [name for name in ALL if name != BASELINE or config.any_labels]
    builds: dict[str, Any] = {name: partial(build, name) for name in names}
    builds |= {name: build_classifier for name in names if name == BASELINE}
    found = semi_supervised(
        "mnist_label_treatments",
        config,
        builds,
        (measure_classification, draw_classes, measure_treatment),
        training=annealed_training,
        equal_steps=True,
    )
    return replace(found, after=partial(draw_runs, found, ALL))


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

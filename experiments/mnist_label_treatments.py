"""Eleven ways to treat the missing label on MNIST with 100 labels, and the classifier without them.

Models that differ only in what they do about the unknown label of an unlabelled row: the same
networks, rows, label splits, schedule and objective weights for all, but for those which these
serve badly, and which have options of their own: --logisticnormal-kl-z and --stgumbelsoftmaxm2-*.
Beside the files of every seed it draws all of them together: accuracy on validation rows, losses,
and KL divergences over epochs.
The epoch is chosen on validation rows taken from the training set; the test set is read once, at
the end. Writes to RESULTS_ROOT/mnist_label_treatments/.

Left out on purpose, of what the vae_ssl project has: its "negative KL" trick, with which what is
maximised bounds nothing, and its doubled KL of z on unlabelled rows, which makes the bound looser
for good (--kl-z 2 2 1 does so for all rows). Here z's KL weighs more at first, and 1 in the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from experiments.options import SemiSupervisedOptions

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


@dataclass(frozen=True)
class Config(SemiSupervisedOptions):
    """Options of the experiment.

    An option of three numbers is annealed: its first value, its last, and in how many steps it
    goes from one to the other, along a line.
    """

    epochs: int = 36
    """Epochs, each one pass over the unlabelled rows."""
    labelled_batch_size: int | None = None
    """Labelled rows a step, on top; none for all, at most as many as unlabelled ones."""
    models: tuple[Name, ...] = ("all",)
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
    """With batch norm: take the statistics of labelled and unlabelled rows apart."""
    latent_noise: float = 0.0
    """Standard deviation of noise added to z in training, before the decoder."""
    num_summed: int = 1
    """Likeliest classes that raoblackwellm2 sums."""
    num_samples: int = 2
    """Labels that leaveoneoutm2 draws for each row."""
    gumbel_temperature: tuple[float, float, int] = (0.5, 0.5, 1)
    """Temperature of gumbelsoftmaxm2, annealed."""
    stgumbelsoftmaxm2_temperature: tuple[float, float, int] = (0.06, 0.06, 1)
    """Temperature of stgumbelsoftmaxm2, annealed: of its gradient alone, whose bias shows more."""
    stgumbelsoftmaxm2_alpha: float = 60.0
    """alpha of stgumbelsoftmaxm2, whose gradient of unlabelled rows needs more to hold against."""
    stgumbelsoftmaxm2_learning_rate: float = 1e-3
    """Learning rate of stgumbelsoftmaxm2, whose gradient is noisier at its low temperature."""
    normal_temperature: tuple[float, float, int] = (1 / 3, 1 / 3, 1)
    """Temperature of logisticnormalm2 and stlogisticnormalm2, annealed; 1 over vae_ssl's sharpening
    (unsharpenedlogisticnormalm2 has 1)."""
    latent_temperature: tuple[float, float, int] = (0.1, 0.1, 1)
    """Temperature of logisticnormal's softmax, annealed."""
    posterior_shift: bool = True
    """Learn how logisticnormal's posterior shifts with the label."""
    prior_concentration: tuple[float, float, int] = (0.05, 0.05, 1)
    """Concentration of loggamma's Dirichlet prior, annealed."""
    kl_z: tuple[float, float, int] = (3.0, 1.0, 1500)
    """Weight of the KL divergence of z, annealed: at first it shall leave the class to y."""
    logisticnormal_kl_z: tuple[float, float, int] = (3.0, 1.0, 5400)
    """The same for the four logistic normal models, whose labels need longer to hold their own."""
    kl_y: tuple[float, float, int] = (1.0, 1.0, 1)
    """Weight of the KL divergence of the label, annealed."""
    kl_simplex: tuple[float, float, int] = (1.0, 1.0, 1)
    """Weight of the KL divergence of the latent that the label is observed from, annealed."""
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
    """Cap of the total gradient norm; none for none."""
    l1: float = 0.0
    """Weight of the sum of absolute values of the penalised weights, in nats per example."""
    l2: float = 0.0
    """Weight of the sum of squares of the penalised weights, in nats per example."""
    penalised: str = r".*weight"
    """Regular expression for the names of the parameters that --l1 and --l2 are about."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.label_treatments import LabelTreatments
    from experiments.launch import run_guarded

    return run_guarded("mnist_label_treatments", LabelTreatments, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

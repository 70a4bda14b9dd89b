"""The most accurate classifier of images with few labels that this library makes.

One generative model, RaoBlackwellM2 with a residual network as q(y|x), trained by its ELBO and by
what each word of --leave-out takes away: a share of the images are changed a little when they are
visited; q(y|x) of an image that is changed much is to be q(y|x) of the image, made sharper and
aligned with p(y); an average of the weights is what is validated and tested; and all rows first
have the classes of teachers, trained likewise, whose q(y|x) has no convolutions. --leave-out
trains, on the same seeds, a model without one of them for each word; unlabelled_rows leaves nothing
but q(y|x) on labelled rows, of the same network and steps.

The epoch is chosen on validation rows taken from the training set, 10,000 by default; --validation
100 has as many as labels. The test set is read once, at the end. Writes per-seed CSV, JSON,
checkpoint and figures to RESULTS_ROOT/mnist_record/.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments.engine.changes import ChangeOptions, with_changes
from experiments.engine.colour import folder_digest, named_after_folder
from experiments.engine.options import SemiSupervisedOptions, option

if TYPE_CHECKING:
    from experiments.engine.runner import Comparison
    from experiments.engine.training import Contender
    from pyro_ssl.data import ImageDataset, SSLData
    from pyro_ssl.infer import FitConfig
    from pyro_ssl.models import M2, SSLModel
    from pyro_ssl.nets import WideResNet

WHOLE = "record"
_BOUNDS = ("labelled_bound", "unlabelled_bound")
# Options without which an ingredient is absent.
_ABSENT: dict[str, dict[str, Any]] = {
    "augmentation": {"changed": 0.0},
    "average": {"weight_average": None},
    "consistency": {"consistency": 0.0},
    "unlabelled_rows": {"consistency": 0.0},
    "sharpening": {"temperature": 1.0},
    "alignment": {"aligned": False},
}
# Models without teachers: they are left out, or learn from unlabelled rows, too.
_UNTAUGHT = ("teachers", "unlabelled_rows")
Ingredient = Literal[
    "augmentation", "consistency", "sharpening", "alignment", "average", "generative_model",
    "residual", "teachers", "unlabelled_rows",
]  # fmt: skip


@dataclass(frozen=True)
class Config(SemiSupervisedOptions, ChangeOptions):
    """Options of the experiment."""

    dataset: Literal["mnist", "fashion-mnist", "digits", "cifar10"] = "mnist"  # type: ignore[assignment]
    """Data set; digits is scikit-learn's 8x8 digits and needs no download."""
    folder: str | None = option(None, recorded=False)
    """Folder of 32 by 32 images instead, see `load_class_folders`; its name becomes the name of the
    data set."""
    leave_out: tuple[Ingredient, ...] = option((), recorded=False)
    """Train a model without each of these, too: residual takes convolutions that q(z|x,y) shares;
    generative_model trains q(y|x) alone; unlabelled_rows does so on labelled rows."""
    whole: bool = option(True, recorded=False)
    """Train the whole model."""
    epochs: int = 3
    """Epochs, of --steps-per-epoch each."""
    steps_per_epoch: int = 500
    """Steps an epoch."""
    batch_size: int = 400
    """Unlabelled rows a step."""
    labelled_batch_size: int = 100
    """Labelled rows a step, at most as many as there are."""
    learning_rate: float = 2e-3
    """Adam's step size, at the start."""
    binarise: bool = False
    """Draw pixels from a Bernoulli each time a row is visited; else keep them real-valued."""
    alpha: float = 100.0
    """Weight of the mean of -log q(y|x) over labelled rows beside the bound, in nats."""
    changed: float = 0.25
    """Share of images that are changed a little when they are visited."""
    consistency: float = 100.0
    """Weight of the mean over unlabelled rows of the term of consistency, in nats; 0 for none."""
    weight_average: float | None = 0.995
    """Decay of the average of the weights, a step; none for no average."""
    bound: float = 1.0
    """Weight of the bounds of all rows."""
    latent_dim: int = 50
    """Dimensions of the latent z."""
    likelihood: Literal["bernoulli", "laplace"] = "bernoulli"
    """Family of p(x|y,z)."""
    depth: int = 10
    """Depth of the residual network, 6 n + 4."""
    width: int = 2
    """Factor of its channels."""
    stride: int = 2
    """Stride of its first convolution."""
    channels: int = 16
    """Channels of its first convolution, or of the first of the convolutions in its place."""
    input_dropout: float = 0.0
    """Probability of dropping an entry within a residual block, or an output of these."""
    norm: Literal["batch", "group"] = "batch"
    """Norm in its blocks; that of groups makes no image depend on others of its batch."""
    num_summed: int = 1
    """Likeliest classes of each unlabelled row that are summed; one of the others is drawn."""
    teachers: int = option(3, recorded=lambda config: config.teachers > 0)
    """Number of teachers, whose classifiers have fully connected layers of --hidden-dims."""
    teacher_epochs: int = option(3, recorded=lambda config: config.teachers > 0)
    """Epochs of each."""
    teacher_dropout: float = option(0.2, recorded=lambda config: config.teachers > 0)
    """Probability of dropping one of their inputs."""
    imitation_steps: int = option(300, recorded=lambda config: config.teachers > 0)
    """First steps, in which all rows have the label that the teachers give them."""


def load(config: Config) -> "ImageDataset":
    """Return the images in the folder, or else the data set by name; download it if necessary."""
    from pyro_ssl.data import load_cifar10, load_class_folders, load_dataset

    if config.folder is not None:
        return load_class_folders(config.folder, 32)[0]
    if config.dataset == "cifar10":
        return load_cifar10(config.data_root)
    return load_dataset(config.dataset, config.data_root)


def build(left_out: Ingredient | None, config: Config, data: "SSLData") -> "M2":
    """Return the model, newly initialised, without one of the ingredients."""
    if left_out != "residual":
        network = residual_network(config, data)
        return _m2(config, data, batch_norm=False, input_dropout=0.0, classifier=network)
    return _m2(
        config,
        data,
        channels=config.channels,
        batch_norm="separate" if config.batch_norm else False,
        input_dropout=config.input_dropout,
    )


def build_teacher(config: Config, data: "SSLData") -> "M2":
    """Return a teacher, newly initialised: fully connected layers see an image as a whole."""
    return _m2(config, data, batch_norm="separate", input_dropout=config.teacher_dropout)


def _m2(config: Config, data: "SSLData", **options: Any) -> "M2":
    from pyro_ssl.likelihoods import pixel_likelihood
    from pyro_ssl.models import RaoBlackwellM2

    return RaoBlackwellM2(
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        latent_dim=config.latent_dim,
        hidden_dims=config.hidden_dims,
        alpha=config.alpha,
        num_summed=config.num_summed,
        likelihood=pixel_likelihood(config.likelihood, 1.0),
        **options,
    )


def teach(config: Config, contender: "Contender") -> None:
    """Let a model begin where its teachers end, if it has any."""
    from experiments.engine.teacher import learn_from_teachers

    if is_taught(config, contender.name):
        counts = config.teachers, config.teacher_epochs, config.imitation_steps
        learn_from_teachers(build_teacher, *counts, contender)


def is_taught(config: Config, name: str) -> bool:
    """Return whether the model has teachers."""
    return config.teachers > 0 and name.removeprefix("without_") not in _UNTAUGHT


def residual_network(config: Config, data: "SSLData") -> "WideResNet":
    """Return the network of q(y|x), newly initialised."""
    from pyro_ssl.nets import WideResNet

    return WideResNet(
        data.input_shape,
        data.num_classes,
        config.depth,
        config.width,
        config.channels,
        config.stride,
        config.input_dropout,
        config.norm,
    )


def training(how: "FitConfig", config: Config, name: str, data: "SSLData") -> "FitConfig":
    """Return how a model is trained, given what all experiments have in common of it."""
    left_out = name.removeprefix("without_")
    bound = 0.0 if left_out in ("generative_model", "unlabelled_rows") else config.bound
    how = replace(
        how,
        labelled_batch_size=config.labelled_batch_size,
        steps_per_epoch=config.steps_per_epoch,
        term_weights={} if bound == 1 else dict.fromkeys(_BOUNDS, bound),
    )
    how = with_changes(how, replace(config, **_ABSENT.get(left_out, {})))
    # One that has been taught need not become sure first.
    return replace(how, anneal={}) if is_taught(config, name) else how


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.semi_supervised import (
        draw_classes,
        measure_classification,
        semi_supervised,
    )
    from experiments.engine.teacher import measure_teachers
    from pyro_ssl.errors import ConfigError

    models: dict[str, Callable[..., SSLModel]] = {}
    if config.whole:
        models[WHOLE] = partial(build, None)
    for ingredient in dict.fromkeys(config.leave_out):
        models[f"without_{ingredient}"] = partial(build, ingredient)
    if not models:
        raise ConfigError("whole is False and leave_out is empty: there is no model to train")
    config = named_after_folder(config)
    return semi_supervised(
        "mnist_record",
        config,
        models,
        (measure_classification, draw_classes, measure_teachers),
        load,
        training,
        before=partial(teach, config),
        also_recorded=folder_digest(config),
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

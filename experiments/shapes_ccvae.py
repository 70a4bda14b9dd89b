"""CCVAE, M2 and a classifier on synthetic shapes with six attributes, few of them labelled.

Images are drawn by the project; nothing is downloaded. Besides accuracies, it scores interventions:
each attribute is changed through its latent (CCVAE) or its input of the decoder (M2). A judge, a
classifier trained on all true labels, must see this attribute change and no other.
The epoch is chosen on validation rows taken from the training set; the test set is read once, at
the end. Writes to RESULTS_ROOT/shapes_ccvae/.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments.engine.colour import AttributeOptions

if TYPE_CHECKING:
    from experiments.engine.attributes import AttributeImages
    from experiments.engine.runner import Comparison, Figures, Result
    from experiments.engine.training import Contender
    from pyro_ssl.data import SSLData
    from pyro_ssl.infer import FitConfig

# The classifier that judges changed images.
JUDGE = "judge"
# Number of test images whose attributes are changed, one after the other.
_INTERVENTIONS = 1000


@dataclass(frozen=True)
class Config(AttributeOptions):
    """Options of the experiment."""

    dataset: Literal["shapes"] = "shapes"  # type: ignore[assignment]
    """Data set."""
    train_rows: int = 20_000
    """Number of training images, including validation rows."""
    test_rows: int = 4_000
    """Test images."""
    size: int = 64
    """Height and width of the images."""
    labels: int = 150
    """Labelled training rows; by default 1 % of those that are not for validation."""
    validation: int | None = 5_000
    """Number of labelled validation rows, taken from the training set and never trained on."""
    epochs: int = 24
    """Epochs; each is a pass over the rows, labelled or unlabelled, that need more steps."""
    batch_size: int = 25
    """Unlabelled rows per step, with as many labelled rows. Small by default, since the angle of
    small squares takes many steps to learn, and the time of an epoch depends on its rows."""
    learning_rate: float = 2e-3
    """Adam's initial step size."""
    alpha: float = 100.0
    """Weight of the mean of -log q(y|x) over labelled rows beside the bound per example, all in
    nats; in CCVAE in addition to its weight in the bound itself."""
    input_dropout: float = 0.0
    """Probability of dropping an output of the convolutions at the input of M2's classifier,
    CCVAE's encoder, and the classifier of labelled rows alone."""
    likelihood: Literal["bernoulli", "laplace"] = "bernoulli"
    """Family of p(x|.). The Laplace family first learns the median, which is the background for
    small shapes on a plain background."""
    channels: int = 16
    """Channels of the first convolution, and of the last one after the decoder."""
    hidden_dims: tuple[int, ...] = (512,)
    """Units of each hidden layer between convolutions and latents."""
    latent_dim: int = 8
    """Dimensions of M2's z. Seven numbers describe all that attributes leave open."""
    style_dim: int | None = 4
    """Dimensions of CCVAE's z_style; None for those of M2's z. With few, the latents of attributes
    must encode place, size and angle."""
    judge_epochs: int = 5
    """Epochs of the judge, on all training rows and their true attributes."""


def load(config: Config) -> "AttributeImages":
    """Return the shapes."""
    from experiments.engine.attributes import AttributeImages
    from pyro_ssl.data import SHAPE_ATTRIBUTES, shapes_dataset

    dataset = shapes_dataset(config.train_rows, config.test_rows, config.size)
    return AttributeImages.of(dataset, SHAPE_ATTRIBUTES)


def train_judge_for_less(
    how: "FitConfig", config: Config, name: str, data: "SSLData"
) -> "FitConfig":
    """Return the training of a model; the judge has fewer epochs and more labels."""
    return replace(how, epochs=config.judge_epochs) if name == JUDGE else how


def measure_interventions(
    contender: "Contender", dataset: "AttributeImages", config: Any
) -> "tuple[Result, Figures]":
    """Change the attributes of test images, and classify them by the judge."""
    from pyro_ssl.metrics import intervention_score
    from pyro_ssl.models import MultiLabelCCVAE, MultiLabelM2, SSLModel

    model, result = contender.model, {}
    if isinstance(model, MultiLabelCCVAE | MultiLabelM2):
        judge = contender.run.trained(JUDGE)
        assert isinstance(judge, SSLModel)
        xs = dataset.test_xs[:_INTERVENTIONS].to(contender.device)
        for share, values in intervention_score(model, judge, xs).items():
            result[f"intervention_{share}"] = values.mean().item()
            for attribute, value in zip(dataset.attributes, values.tolist(), strict=True):
                result[f"intervention_{share}_{attribute}"] = value
    return result, {}


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.attributes import attribute_comparison
    from experiments.engine.semi_supervised import build_classifier

    return attribute_comparison(
        "shapes_ccvae",
        config,
        load,
        first={JUDGE: build_classifier},
        measures=(measure_interventions,),
        training=train_judge_for_less,
        every_label=(JUDGE,),
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

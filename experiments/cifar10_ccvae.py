"""CCVAE, M2 and a classifier, all convolutional, on CIFAR-10, few of the images labelled.

--folder takes the images of FOLDER/train/CLASS/ and FOLDER/test/CLASS/ in place of CIFAR-10. M2
sums one label of each unlabelled row and draws one (RaoBlackwellM2). The epoch is chosen on
validation rows taken from the training set; the test set is read once, at the end. Writes to
RESULTS_ROOT/cifar10_ccvae/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from experiments.options import ColourOptions


@dataclass(frozen=True)
class Config(ColourOptions):
    """Options of the experiment."""

    dataset: Annotated[str, tyro.conf.Suppress] = "cifar10"  # type: ignore[assignment]
    """The folder says."""
    folder: str | None = None
    """Folder of images in place of CIFAR-10, see `load_class_folders`; its name is what the data
    set is called."""
    size: int = 32
    """Height and width that a folder's images are scaled to."""
    labels: int = 4000
    """Labelled training rows, shared evenly by the classes."""
    num_summed: int | None = 1
    """Sum only so many of the likeliest classes of each unlabelled row in M2 and draw one of the
    others (RaoBlackwell_ELBO); none to sum all."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.cifar10 import Cifar10Experiment
    from experiments.launch import run_guarded

    return run_guarded("cifar10_ccvae", Cifar10Experiment, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

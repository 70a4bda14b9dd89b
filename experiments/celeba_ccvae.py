"""CCVAE, M2 and a classifier on CelebA's attributes, few of the photographs labelled.

CelebA cannot be downloaded by a program without signing in: its files are expected in
DATA_ROOT/celeba, and what is missing is named. --folder takes images and a CSV file of attributes
of one's own instead. The epoch is chosen on validation rows taken from the training set; the test
set is read once, at the end. Writes to RESULTS_ROOT/celeba_ccvae/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from experiments.options import AttributeOptions


@dataclass(frozen=True)
class Config(AttributeOptions):
    """Options of the experiment."""

    dataset: Annotated[str, tyro.conf.Suppress] = "celeba"  # type: ignore[assignment]
    """The folder says."""
    folder: str | None = None
    """Folder of images and attributes.csv in place of CelebA, see `load_attribute_folder`."""
    size: Literal[64, 128] = 64
    """Height and width of the images."""
    attributes: Literal[18, 40] = 18
    """CelebA's attributes: the 18 of the paper, or all."""
    rows: int | None = None
    """Take only so many of CelebA's first training images, and a tenth of that to test."""
    labels: int = 611
    """Labelled training rows; 0.4 % of those of CelebA that are not for validation."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.celeba import CelebAExperiment
    from experiments.launch import run_guarded

    return run_guarded("celeba_ccvae", CelebAExperiment, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

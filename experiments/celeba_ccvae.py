"""CCVAE, M2 and a classifier on CelebA's attributes, with few labelled photographs.

CelebA cannot be downloaded by a program without signing in: its files are expected in
DATA_ROOT/celeba, and an error names missing ones. --folder uses other images instead, with a CSV
file of their attributes. The epoch is chosen on validation rows taken from the training set; the
test set is read once, at the end. Writes to RESULTS_ROOT/celeba_ccvae/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from experiments.engine.colour import AttributeOptions, folder_digest, named_after_folder
from experiments.engine.options import option

if TYPE_CHECKING:
    from experiments.engine.attributes import AttributeImages
    from experiments.engine.runner import Comparison


def _without_folder(config: "Config") -> bool:
    return config.folder is None


def _with_minus_one(config: "Config") -> bool:
    return config.minus_one is not None


@dataclass(frozen=True)
class Config(AttributeOptions):
    """Options of the experiment."""

    dataset: Annotated[str, tyro.conf.Suppress] = "celeba"  # type: ignore[assignment]
    """Set by the folder."""
    folder: str | None = option(None, recorded=False)
    """Folder of images and attributes.csv instead of CelebA, see `load_attribute_folder`."""
    minus_one: Literal["unknown", "absent"] | None = option(None, recorded=_with_minus_one)
    """Meaning of -1 in the folder's attributes.csv; required if it is ambiguous."""
    size: Literal[64, 128] = 64
    """Height and width of the images."""
    attributes: Literal[18, 40] = option(18, recorded=_without_folder)
    """CelebA's attributes: the 18 of the paper, or all."""
    rows: int | None = option(None, recorded=_without_folder)
    """Number of first training images of CelebA to use, with a tenth as many test images."""
    labels: int = 611
    """Labelled training rows; by default 0.4 % of CelebA's rows that are not for validation."""


def load(config: Config) -> "AttributeImages":
    """Return CelebA, or the images in the folder."""
    from experiments.engine.attributes import AttributeImages
    from pyro_ssl.data import CELEBA_18, load_attribute_folder, load_celeba
    from pyro_ssl.errors import ConfigError

    if config.folder is None:
        names = CELEBA_18 if config.attributes == 18 else None
        if config.minus_one is not None:
            raise ConfigError("minus_one is for a folder: CelebA's attributes are all known")
        return AttributeImages.of(*load_celeba(config.data_root, config.size, names, config.rows))
    if config.rows is not None:
        raise ConfigError("rows is for CelebA: all images of a folder are taken")
    return AttributeImages.of(
        *load_attribute_folder(config.folder, config.size, minus_one=config.minus_one)
    )


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.attributes import attribute_comparison

    config = named_after_folder(config)
    return attribute_comparison("celeba_ccvae", config, load, also_recorded=folder_digest(config))


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

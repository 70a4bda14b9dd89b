"""CCVAE, M2 and a classifier, all convolutional, on CIFAR-10 with few labelled images.

--folder uses the images of FOLDER/train/CLASS/ and FOLDER/test/CLASS/ instead of CIFAR-10. For each
unlabelled row, M2 sums one label and draws one (RaoBlackwellM2). The epoch is chosen on validation
rows taken from the training set; the test set is read once, at the end. Writes to
RESULTS_ROOT/cifar10_ccvae/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from experiments.engine.colour import (
    ColourOptions,
    ccvae_options,
    common_options,
    folder_digest,
    named_after_folder,
)
from experiments.engine.options import option

if TYPE_CHECKING:
    from experiments.engine.runner import Comparison
    from pyro_ssl.data import ImageDataset, SSLData
    from pyro_ssl.models import CCVAE, M2


@dataclass(frozen=True)
class Config(ColourOptions):
    """Options of the experiment."""

    dataset: Annotated[str, tyro.conf.Suppress] = "cifar10"  # type: ignore[assignment]
    """Set by the folder."""
    folder: str | None = option(None, recorded=False)
    """Folder of images instead of CIFAR-10, see `load_class_folders`; its name becomes the name of
    the data set."""
    size: int = option(32, recorded=lambda config: config.folder is not None)
    """Height and width to which a folder's images are scaled."""
    labels: int = 4000
    """Labelled training rows, shared evenly by the classes."""
    num_summed: int | None = 1
    """Number of most probable classes that M2 sums for each unlabelled row; one of the others is
    drawn (RaoBlackwell_ELBO). None to sum all."""


def load(config: Config) -> "ImageDataset":
    """Return CIFAR-10, or the images in the folder."""
    from pyro_ssl.data import load_cifar10, load_class_folders

    if config.folder is not None:
        return load_class_folders(config.folder, config.size)[0]
    return load_cifar10(config.data_root)


def build_ccvae(config: Config, data: "SSLData") -> "CCVAE":
    """Return the CCVAE, newly initialised."""
    from pyro_ssl.models import CCVAE

    return CCVAE(**ccvae_options(config, data))


def build_m2(config: Config, data: "SSLData") -> "M2":
    """Return the M2, newly initialised."""
    from pyro_ssl.models import M2, RaoBlackwellM2

    options = common_options(config, data)
    options |= {"latent_dim": config.latent_dim, "alpha": config.alpha}
    if config.num_summed is None:
        return M2(**options)
    return RaoBlackwellM2(num_summed=config.num_summed, **options)


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.measures import measure_latents
    from experiments.engine.semi_supervised import (
        BASELINE,
        build_classifier,
        draw_classes,
        measure_classification,
        semi_supervised,
    )

    models = {
        "ccvae": ("ccvae", build_ccvae),
        "m2": ("m2" if config.num_summed is None else "raoblackwellm2", build_m2),
        "classifier": (BASELINE, build_classifier),
    }
    config = named_after_folder(config)
    return semi_supervised(
        "cifar10_ccvae",
        config,
        dict(models[kind] for kind in config.model),
        (measure_classification, draw_classes, measure_latents),
        load,
        equal_steps=True,
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

"""A GAN's generator as the decoder of a VAE: the ELBO rises, the images get worse.

The third experiment of Shekhovtsov et al. (2022), in stages that each start from the one before:

- gan: train a DCGAN on images;
- encoder: fix its generator, and fit an encoder to images drawn from it, with noise, by log q(z|x);
- joint: train encoder and generator by the ELBO on such images of the fixed generator, for which
  that generator is already the best decoder;
- fid: the Frechet distance between samples of the fixed generator and other sets of images: fresh
  samples of it; samples after joint training; and reconstructions of noisy images, with z drawn
  from q(z|x), after the encoder's stage and after joint training.

Distances use Inception's features if torch-fidelity and its weights are installed, otherwise those
of a classifier that is trained here; `features` in the results says which. Each stage keeps a
checkpoint, from which --resume continues. The stages have their own training loops, in float32:
--precision, --compile, --cuda-graph and --engine have no effect here. Writes to
RESULTS_ROOT/gan_decoder_vae/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import tyro

from experiments.engine.options import RunOptions, option, recorded_options
from pyro_ssl.errors import ConfigError

if TYPE_CHECKING:
    from experiments.engine.gan_stages import GanStages
    from experiments.engine.runner import Comparison, Result, SeedRun
    from pyro_ssl.data import ImageDataset
    from pyro_ssl.models import GeneratorVAE

NAME = "generatorvae"
STAGES = ("gan", "encoder", "joint", "fid")
# Default number of synthetic shapes, and number of images that are drawn.
_SHAPES_ROWS, _SHOWN = 20_000, 100


@dataclass(frozen=True)
class Config(RunOptions):
    """Options of the experiment."""

    # Steps run in float32.
    precision: Literal["auto", "float32", "bfloat16"] = option("auto", recorded=False)
    """Precision of matrix products; auto is bfloat16, twice as fast, if the device supports it."""
    stage: Literal["gan", "encoder", "joint", "fid", "all"] = option("all", recorded=False)
    """The last stage to run; earlier ones are run too, or continued with --resume."""
    dataset: Literal["mnist", "shapes", "celeba"] = "mnist"
    """Images: MNIST (32x32), the synthetic shapes (32x32), or CelebA (64x64)."""
    rows: int | None = None
    """Number of training images to use; none for all (20,000 shapes)."""
    gan_steps: int = 20_000
    """Steps of generator and discriminator."""
    encoder_steps: int = 10_000
    """Steps of the encoder alone."""
    joint_steps: int = 20_000
    """Steps of encoder and generator."""
    short: bool = False
    """A tenth of those steps: under 15 minutes on two cores."""
    batch_size: int = 128
    """Images per step."""
    gan_learning_rate: float = 2e-4
    """Adam's step size for the DCGAN, with its betas 0.5 and 0.999."""
    encoder_learning_rate: float = 1e-3
    """Adam's step size for the encoder alone."""
    joint_learning_rate: float = 3e-4
    """Adam's step size for encoder and generator."""
    latent_dim: int = 64
    """Dimensions of z."""
    channels: int = 32
    """Channels of the networks' widest images; they double towards the latents."""
    scale: float = 0.1
    """Standard deviation of the noise of p(x|z), for pixels in [0, 1]."""
    compared_rows: int = 10_000
    """Number of images in each set that is compared."""
    measurements: int = 20
    """Number of measurements of ELBO and distance during joint training."""


def steps_of(config: Config) -> dict[str, int]:
    """Return the steps of each stage that is trained."""
    part = 10 if config.short else 1
    return {stage: max(getattr(config, f"{stage}_steps") // part, 2) for stage in STAGES[:3]}


def load(config: Config) -> "ImageDataset":
    """Return the images, of 32 by 32 pixels, CelebA's of 64 by 64."""
    from pyro_ssl.data import ImageDataset, load_celeba, load_dataset, shapes_dataset
    from pyro_ssl.metrics.frechet import padded

    if config.dataset == "celeba":
        return load_celeba(config.data_root, 64, rows=config.rows)[0]
    if config.dataset == "shapes":
        rows = _SHAPES_ROWS if config.rows is None else config.rows
        return shapes_dataset(rows, 100, 32)
    found = load_dataset(config.dataset, config.data_root)
    xs, ys = found.train_xs[: config.rows], found.train_ys[: config.rows]
    return ImageDataset(found.name, padded(xs, 32), ys, padded(found.test_xs, 32),
                        found.test_ys, found.num_classes)  # fmt: skip


def build(config: Config, dataset: "ImageDataset") -> "GeneratorVAE":
    """Return the VAE, newly initialised, for these images."""
    from pyro_ssl.models import GeneratorVAE

    return GeneratorVAE(
        dataset.input_shape,
        config.latent_dim,
        config.channels,
        config.channels,
        scale=config.scale,
    )


def check(run: "SeedRun") -> None:
    """Raise an error if the options are invalid."""
    build(run.config, run.dataset)
    if len(run.dataset.train_xs) < run.config.batch_size:
        raise ConfigError(
            f"batch_size is {run.config.batch_size}, but there are {len(run.dataset.train_xs)} "
            "images: use a smaller one"
        )


def run_seed(run: "SeedRun") -> None:
    """Run the stages up to the one asked for."""
    import torch

    from experiments.engine.gan_stages import GanStages

    last = len(STAGES) - 1 if run.config.stage == "all" else STAGES.index(run.config.stage)
    torch.manual_seed(run.seed)
    # One model draws the images of all stages after the first; the other one is trained.
    source, vae = (build(run.config, run.dataset).to(run.device) for _ in range(2))
    stages = GanStages(run, NAME, steps_of(run.config), source, vae)
    for stage in STAGES[: last + 1]:
        if stage != "fid":
            getattr(stages, stage)()
        else:
            run.finish(NAME, compare_images(run, stages))


def compare_images(run: "SeedRun", stages: "GanStages") -> "Result":
    """Compare the sets of images, draw them, and return the results."""
    import pandas as pd

    from experiments.engine.gan_stages import draw_images
    from pyro_ssl import plots
    from pyro_ssl.infer.checkpoint import own_random_state

    config, first, last = run.config, stages.rows[0], stages.rows[-1]
    with own_random_state(run.seed + 2, run.device):
        again = draw_images(stages.source, config.compared_rows)
        samples = draw_images(stages.vae, config.compared_rows)
    result: Result = {
        "elbo_encoder": first["elbo"],
        "elbo_joint": last["elbo"],
        "elbo_gain": last["elbo"] - first["elbo"],
        "frechet_generator": stages.distance(again),
        "frechet_reconstructions": first["frechet_reconstructions"],
        "frechet_joint": stages.distance(samples),
        "frechet_joint_reconstructions": last["frechet_reconstructions"],
        "features": stages.features,
        "compared_rows": config.compared_rows,
        **{f"seconds_{stage}": seconds for stage, seconds in stages.seconds.items()},
        "steps": steps_of(config),
        "validation_rows": 0,
        "selection": "last step",
        "precision": "float32",
    }
    pictures = {"generator": again[:_SHOWN].cpu(), "joint": samples[:_SHOWN].cpu()}
    for name, images in {**stages.pictures, **pictures}.items():
        figure = plots.image_grid(images.clamp(0, 1), 10, name)
        figure.savefig(run.file(NAME, f"_{name}.png"), dpi=80)
    figure = plots.elbo_and_distance(pd.DataFrame(stages.rows), result["frechet_generator"])
    figure.savefig(run.file(NAME, "_elbo_and_distance.png"), dpi=110)
    return result


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it.

    Raises:
        ConfigError: if a number is out of range.
    """
    from experiments.engine.runner import Comparison

    numbers = ("gan_steps", "encoder_steps", "joint_steps", "compared_rows", "measurements")
    for name in (*numbers, "batch_size"):
        if getattr(config, name) < 2:
            raise ConfigError(f"{name} is {getattr(config, name)}, expected at least 2")
    if config.engine != "native":
        raise ConfigError(f"engine is {config.engine!r}, but `fit` trains none of the stages")
    if config.rows is not None and config.rows < 1:
        raise ConfigError(f"rows is {config.rows}, expected at least 1")
    return Comparison(
        name="gan_decoder_vae",
        config=config,
        models=(NAME,),
        suffix=f"{config.dataset}-short" if config.short else config.dataset,
        load=load,
        settings=lambda model, dataset: recorded_options(config),
        check=check,
        run_seed=run_seed,
        shared=False,
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

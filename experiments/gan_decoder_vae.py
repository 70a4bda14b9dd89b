"""A GAN's generator as the decoder of a VAE: the ELBO rises, the images get worse.

The third experiment of Shekhovtsov et al. (2022), in stages that each go on from the one before:

- gan: train a DCGAN on images;
- encoder: fix its generator, and fit an encoder to images drawn from it, with noise, by log q(z|x);
- joint: train encoder and generator by the ELBO on such images of the fixed generator, a decoder
  that nothing could improve as a model of them;
- fid: the Frechet distance of sets of images from samples of the fixed generator: fresh samples of
  the same; samples after joint training; and reconstructions of noisy images, z drawn from q(z|x),
  after the encoder's stage and after joint training.

Distances are by Inception's features where torch-fidelity and its weights are installed, else by
those of a classifier that is trained here; `features` in the results says which. Each stage keeps a
checkpoint, and --resume goes on from it. Steps run in float32 as they are: --precision, --compile
and --cuda-graph are for other experiments. Writes to RESULTS_ROOT/gan_decoder_vae/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from experiments.options import RunOptions


@dataclass(frozen=True)
class Config(RunOptions):
    """Options of the experiment."""

    stage: Literal["gan", "encoder", "joint", "fid", "all"] = "all"
    """The last stage to run; what comes before it is run too, or with --resume gone on with."""
    dataset: Literal["mnist", "shapes", "celeba"] = "mnist"
    """Images: MNIST (32x32), the synthetic shapes (32x32), or CelebA (64x64)."""
    rows: int | None = None
    """Take only so many training images; none for all (20,000 shapes)."""
    gan_steps: int = 20_000
    """Steps of generator and discriminator."""
    encoder_steps: int = 10_000
    """Steps of the encoder alone."""
    joint_steps: int = 20_000
    """Steps of encoder and generator."""
    short: bool = False
    """A tenth of those steps: under 15 minutes on two cores."""
    batch_size: int = 128
    """Images a step."""
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
    """Standard deviation of the noise of p(x|z), pixels being in [0, 1]."""
    compared_rows: int = 10_000
    """Images of each set whose distance is taken."""
    measurements: int = 20
    """Times that ELBO and distance are measured during joint training."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.gan_decoder import GanDecoderExperiment
    from experiments.launch import run_guarded

    return run_guarded("gan_decoder_vae", GanDecoderExperiment, config, args)


if __name__ == "__main__":
    raise SystemExit(main())

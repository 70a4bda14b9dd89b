"""A VAE whose decoder is an already trained generator, such as that of a GAN."""

from typing import Any

import pyro
import torch
from pyro.infer import ELBO
from torch import Tensor

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.likelihoods import Gaussian
from pyro_ssl.models.base import PyroModel
from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.normal import normal_of, standard_normal
from pyro_ssl.models.rows import Batch
from pyro_ssl.nets.conv import ConvEncoder
from pyro_ssl.nets.dcgan import Generator
from pyro_ssl.nets.mlp import MLP
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.option_kinds import Natural, Positive, Shape, Size
from pyro_ssl.options import checked


class GeneratorVAE(PyroModel):
    """VAE with the generator of a DCGAN as decoder.

    Generative program and guide, S the scale of the pixels' noise::

        p(z) = Normal(0, I)     p(x|z) = Normal(generator(z), S^2)
        q(z|x) = Normal(loc(x), diag scale(x)^2)

    The objective, maximised, is the ELBO in nats per image, with its KL divergence in closed form:
    E_q(z|x)[log p(x|z)] - KL(q(z|x) || p(z)). On images that `sample` draws from the model itself,
    p(x) is already the best: joint training of encoder and generator can raise the ELBO only by
    making p(z|x) easier for the encoder, at the expense of the images (Shekhovtsov et al. 2022).
    `code_log_prob` fits the encoder alone to such images, without the ELBO.

    The statistics of the generator's batch norm do not change, not even in training mode.

    Source: Shekhovtsov, Schlesinger, Flach, "VAE approximation error: ELBO and exponential
    families", ICLR 2022, section 4.

    Differs from the paper: the encoder has strided convolutions and no batch norm; S is given.

    Args:
        image_shape: channels, height and width, see `Generator`.
        latent_dim: dimensions of z.
        generator_channels: `channels` of the generator.
        encoder_channels: channels of the encoder's first convolution, see `ConvEncoder`.
        hidden_dim: number of units between the encoder's convolutions and z.
        scale: S, for pixels in [0, 1].

    Attributes:
        generator: the decoder; load a state dict into it.

    Raises:
        ConfigError: if an option is invalid.
    """

    @checked
    def __init__(
        self,
        image_shape: Shape = (1, 32, 32),
        latent_dim: Size = 64,
        generator_channels: int = 32,
        encoder_channels: int = 32,
        hidden_dim: Size = 256,
        scale: Positive = 0.1,
    ) -> None:
        super().__init__(image_shape)
        self.image_shape = tuple(image_shape)
        self.latent_dim = latent_dim
        self.generator_channels = generator_channels
        self.encoder_channels = encoder_channels
        self.hidden_dim = hidden_dim
        self.scale = scale
        self._set_likelihood(Gaussian(scale))
        self.generator = Generator(image_shape, latent_dim, generator_channels)
        self.image_encoder = ConvEncoder(self.input_shape, encoder_channels)
        self.encoder = MLP(self.image_encoder.out_features, (hidden_dim,), 2 * latent_dim)
        self.generator.eval()

    def train(self, mode: bool = True) -> "GeneratorVAE":
        """Set training mode, or evaluation mode; the generator is always in evaluation mode."""
        super().train(mode)
        self.generator.eval()
        return self

    def make_elbo(self) -> ELBO:
        """Return the ELBO with its KL in closed form."""
        return StaticEnum_ELBO(self.max_plate_nesting, closed_form_kl=True)

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(x, z) on images `xs` `[B, *image_shape]`; `ys` only tells which are labelled."""
        pyro.module(self._name, self)
        for rows in self._batch(xs, ys).parts():
            with rows.plate():
                z = pyro.sample("z", standard_normal(rows.xs, self.latent_dim))
                self._observe_inputs(rows.xs, self._p_x(z))

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run q(z|x); arguments as for `model`."""
        pyro.module(self._name, self)
        for rows in self._batch(xs, ys).parts():
            with rows.plate():
                pyro.sample("z", self._q_z(rows.xs))

    def code_log_prob(self, xs: Tensor, zs: Tensor) -> Tensor:
        """Return log q(z|x) in nats, `[B]`, of images `[B, *image_shape]` and latents `[B, D]`."""
        return self._q_z(xs).log_prob(zs)

    def _q_z(self, xs: Tensor) -> Any:
        return normal_of(self.encoder(self.image_encoder(xs))).to_event(1)

    def _p_x(self, zs: Tensor) -> Any:
        images = self.generator(zs.reshape(-1, self.latent_dim)).to(zs.dtype)
        loc = images.view(*zs.shape[:-1], *self.image_shape)
        return self._p_x_of(loc)

    @checks_data
    def encode(self, xs: Tensor) -> tuple[Tensor, Tensor]:
        """Return location and scale of q(z|x), each `[B, D]`, in evaluation mode."""
        with evaluating(self):
            q_z = self._q_z(xs).base_dist
            return q_z.loc, q_z.scale

    @checks_data
    def decode(self, zs: Tensor) -> Tensor:
        """Return the means of p(x|z), `[B, *image_shape]`, of latents `[B, D]`."""
        with evaluating(self):
            return self._p_x(zs).base_dist.loc

    @checks_data
    def sample(self, num: Natural, noise: bool = True) -> tuple[Tensor, Tensor]:
        """Draw images from the model.

        Args:
            num: number of images.
            noise: draw x from p(x|z), which may leave [0, 1]; otherwise return the mean of p(x|z).

        Returns:
            The images `[num, *image_shape]` and their latents `[num, D]`.
        """
        parameter = next(self.parameters())
        zs = torch.randn(num, self.latent_dim, dtype=parameter.dtype, device=parameter.device)
        images = self.decode(zs)
        return (images + self.scale * torch.randn_like(images) if noise else images), zs

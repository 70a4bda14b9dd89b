"""DCGAN: a convolutional generator, a discriminator, and their losses."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError
from pyro_ssl.option_kinds import Shape, Size
from pyro_ssl.options import checked


class Generator(nn.Module):
    """Images from latents, by transposed convolutions with batch norm.

    Source: Radford, Metz, Chintala, "Unsupervised representation learning with deep convolutional
    generative adversarial networks", ICLR 2016; pixels here end in a sigmoid instead of a tanh,
    since they are in [0, 1].

    Args:
        image_shape: channels, height and width; images are square, of side 16, 32, 64 and so on.
        latent_dim: dimensions of z.
        channels: channels of the last hidden layer; they double towards the latents.

    Raises:
        ConfigError: if images of this shape cannot be made.
    """

    @checked
    def __init__(
        self, image_shape: Shape = (1, 32, 32), latent_dim: Size = 64, channels: Size = 32
    ) -> None:
        super().__init__()
        widths = _widths(image_shape, channels)[::-1]
        self.image_shape, self.latent_dim = tuple(image_shape), latent_dim
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, widths[0], 4, bias=False)]
        for before, after in zip(widths, [*widths[1:], image_shape[0]], strict=True):
            layers += [nn.BatchNorm2d(before), nn.ReLU()]
            layers.append(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1))
        self.layers = nn.Sequential(*layers)
        _initialise(self)

    def forward(self, zs: Tensor) -> Tensor:
        """Return images `[B, *image_shape]` in [0, 1] of latents `[B, latent_dim]`."""
        return self.layers(zs[..., None, None]).sigmoid()


class Discriminator(nn.Module):
    """Log-odds that an image is real, by strided convolutions with batch norm.

    Args:
        image_shape: as for `Generator`.
        channels: channels of the first layer; each further layer doubles them.

    Raises:
        ConfigError: as for `Generator`.
    """

    @checked
    def __init__(self, image_shape: Shape = (1, 32, 32), channels: Size = 32) -> None:
        super().__init__()
        widths = _widths(image_shape, channels)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise([image_shape[0], *widths])):
            layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1))
            if number:
                # As in the paper, there is no batch norm in the layer of the pixels.
                layers.append(nn.BatchNorm2d(after))
            layers.append(nn.LeakyReLU(0.2))
        layers.append(nn.Conv2d(widths[-1], 1, 4))
        self.layers = nn.Sequential(*layers)
        _initialise(self)

    def forward(self, xs: Tensor) -> Tensor:
        """Return logits `[B]` of images `[B, *image_shape]`."""
        return self.layers(xs).flatten()


def discriminator_loss(discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean of -log D(real) - log(1 - D(fake)), a scalar in nats.

    `real` and `fake` are images `[B, *image_shape]`; `fake` is detached.
    """
    return F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake.detach())).mean()


def generator_loss(discriminator: Discriminator, fake: Tensor) -> Tensor:
    """Return the mean of -log D(fake), a scalar in nats, for images `[B, *image_shape]`.

    This is the non-saturating loss of Goodfellow et al., "Generative adversarial nets", NeurIPS
    2014, section 3.
    """
    return F.softplus(-discriminator(fake)).mean()


def _widths(image_shape: tuple[int, ...], channels: int) -> list[int]:
    """Return the channels after each halving, down to 4 by 4 pixels."""
    side = image_shape[-1]
    if len(image_shape) != 3 or image_shape[1] != side or side < 16 or side & (side - 1):
        raise ConfigError(
            f"image_shape is {tuple(image_shape)}, expected (channels, side, side) with a side of "
            "16, 32, 64 or so on"
        )
    return [channels * 2**i for i in range(side.bit_length() - 3)]


@torch.no_grad()
def _initialise(network: nn.Module) -> None:
    """Draw weights as in the paper: N(0, 0.02^2); scales of batch norm from N(1, 0.02^2)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.weight.normal_(0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.normal_(1.0, 0.02)

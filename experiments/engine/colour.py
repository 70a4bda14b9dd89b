"""Convolutional models of colour images: their options, and a folder instead of a data set."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from experiments.engine.options import SemiSupervisedOptions, option

if TYPE_CHECKING:
    from pyro_ssl.data import ImageDataset, SSLData


@dataclass(frozen=True)
class ColourOptions(SemiSupervisedOptions):
    """Convolutional models of colour images."""

    model: tuple[Literal["ccvae", "m2", "classifier"], ...] = option(
        ("ccvae", "m2", "classifier"), recorded=False
    )
    """Models to train; the classifier sees only labelled rows."""
    epochs: int = 30
    """Epochs; each is a pass over the rows, labelled or unlabelled, that need more steps."""
    batch_size: int = 100
    """Unlabelled rows per step, and labelled rows per step; all of them if there are fewer."""
    learning_rate: float = 1e-3
    """Adam's initial step size."""
    binarise: bool = False
    """Draw pixels from a Bernoulli each time a row is visited; otherwise they stay real-valued."""
    alpha: float = 200.0
    """Weight of the mean of -log q(y|x) over labelled rows beside the bound per example, all in
    nats; in CCVAE in addition to its weight in the bound itself."""
    latent_dim: int = 64
    """Dimensions of M2's z."""
    style_dim: int | None = None
    """Dimensions of CCVAE's z_style; None for those of M2's z."""
    channels: int = 32
    """Channels of the first convolution, and of the last one after the decoder."""
    hidden_dims: tuple[int, ...] = (256,)
    """Units of each hidden layer between convolutions and latents."""
    input_dropout: float = 0.3
    """Probability of dropping an output of the convolutions at the input of M2's classifier,
    CCVAE's encoder, and the classifier of labelled rows alone."""
    batch_norm: bool = False
    """Batch norm in M2's classifier, CCVAE's encoder, and the classifier of labelled rows alone."""
    likelihood: Literal["bernoulli", "laplace"] = "laplace"
    """Family of p(x|.)."""
    laplace_scale: float = 1.0
    """Scale of the Laplace likelihood, for pixels in [0, 1]. With a small scale, pixels weigh so
    much that CCVAE's z_class describes them instead of the class."""
    kl_weight: float = 1.0
    """Weight of log p(z|y) - log q(z|x) of CCVAE."""
    num_samples: int = 100
    """Number of draws over which CCVAE's q(y|x) of labelled rows is averaged."""


@dataclass(frozen=True)
class AttributeOptions(ColourOptions):
    """Models of binary attributes."""

    temperature: float = 0.5
    """Temperature of M2's relaxed attributes."""


def common_options(config: ColourOptions, data: "SSLData") -> dict[str, Any]:
    """Return the constructor arguments that CCVAE and M2 have in common."""
    from pyro_ssl.likelihoods import pixel_likelihood

    return {
        "input_shape": data.input_shape,
        "num_classes": data.num_classes,
        "hidden_dims": config.hidden_dims,
        "batch_norm": config.batch_norm,
        "input_dropout": config.input_dropout,
        "likelihood": pixel_likelihood(config.likelihood, config.laplace_scale),
        "channels": config.channels,
    }


def ccvae_options(config: ColourOptions, data: "SSLData") -> dict[str, Any]:
    """Return the constructor arguments of a CCVAE."""
    return common_options(config, data) | {
        "style_dim": config.latent_dim if config.style_dim is None else config.style_dim,
        "kl_weight": config.kl_weight,
        "num_samples": config.num_samples,
        "alpha": config.alpha,
    }


Folder = TypeVar("Folder", bound=Any)


def named_after_folder(config: Folder) -> Folder:
    """Return the options, with the folder's name as the data set's if there is a folder."""
    if config.folder is None:
        return config
    return replace(config, dataset=Path(config.folder).resolve().name)


def folder_digest(config: Any) -> Callable[["ImageDataset"], dict[str, Any]]:
    """Return a function for `also_recorded`: the digest of a folder's images, which may change."""
    return lambda dataset: {} if config.folder is None else {"digest": dataset.digest}

"""Networks: perceptrons, convolutions, and those of a DCGAN."""

from pyro_ssl.nets.conv import ConvDecoder, ConvEncoder, FlatDecoder, FlatEncoder
from pyro_ssl.nets.dcgan import Discriminator, Generator
from pyro_ssl.nets.given import GivenNetwork
from pyro_ssl.nets.mlp import ACTIVATIONS, MLP, LabelledLinear
from pyro_ssl.nets.residual import WideResNet

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "Discriminator",
    "FlatDecoder",
    "FlatEncoder",
    "Generator",
    "GivenNetwork",
    "LabelledLinear",
    "WideResNet",
]

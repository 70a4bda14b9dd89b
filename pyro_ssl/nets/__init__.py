"""Networks: perceptrons, convolutions, and those of a DCGAN."""

from pyro_ssl.nets.conv import ConvCanvas, ConvTrunk, FlatCanvas, FlatTrunk
from pyro_ssl.nets.dcgan import Discriminator, Generator
from pyro_ssl.nets.mlp import ACTIVATIONS, MLP, LabelledLinear

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "ConvCanvas",
    "ConvTrunk",
    "Discriminator",
    "FlatCanvas",
    "FlatTrunk",
    "Generator",
    "LabelledLinear",
]

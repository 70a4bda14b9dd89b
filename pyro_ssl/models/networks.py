"""The networks between a model's inputs and its latents: the library's, or the user's."""

import math
from collections.abc import Sequence

from torch import nn

from pyro_ssl.likelihoods import CovariateLikelihood, Likelihood
from pyro_ssl.nets.conv import image_nets
from pyro_ssl.nets.given import GivenNetwork
from pyro_ssl.nets.mlp import MLP


class NetworkMaker:
    """Makes a model's encoders and decoders: the user's network if given, else the library's.

    Args:
        likelihood: the family of p(x|.).
        input_shape: shape of one input.
        hidden_dims: widths of an encoder's hidden layers, reversed in a decoder.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        channels: channels of a `ConvEncoder` before all encoders and of a `ConvDecoder` after the
            decoder; None for fully connected networks.

    Attributes:
        image_encoder: network between the inputs and an encoder.
        image_decoder: network after a decoder.

    Raises:
        ConfigError: as for `ConvEncoder`, if `channels` are given.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        input_shape: tuple[int, ...],
        hidden_dims: Sequence[int],
        activation: str,
        channels: int | None = None,
    ) -> None:
        self._hidden_dims, self._activation = tuple(hidden_dims), activation
        self._seen = likelihood.feature_shape(input_shape)
        self._made = likelihood.output_shape(input_shape)
        self._conditions = 0
        if isinstance(likelihood, CovariateLikelihood):
            self._conditions = likelihood.num_conditions
        self.image_encoder, self.image_decoder = image_nets(
            self._seen, channels, activation, self._made
        )
        if channels is not None:
            self._seen = (self.image_encoder.out_features,)
            self._made = (self.image_decoder.in_features,)

    def encoder(
        self,
        given: nn.Module | None,
        name: str,
        outputs: int,
        num_labels: int | None = None,
        batch_norm: bool | str = False,
        input_dropout: float = 0.0,
        beside: int = 0,
    ) -> nn.Module:
        """Return a network that maps inputs, and labels if `num_labels` is given.

        Args:
            given: the user's network; None for an `MLP`.
            name: the option's name, for errors.
            outputs: number of outputs for one input.
            num_labels: size of a label vector; None if the network sees no label.
            batch_norm: as for `MLP`.
            input_dropout: as for `MLP`.
            beside: as for `MLP`; a user's network takes no second input.

        Raises:
            ConfigError: as for `GivenNetwork` and `MLP`.
        """
        if given is not None:
            return GivenNetwork(given, self._seen, (outputs,), num_labels, name)
        options = num_labels, self._activation, batch_norm, input_dropout, beside
        return MLP(math.prod(self._seen), self._hidden_dims, outputs, *options)

    def decoder(
        self,
        given: nn.Module | None,
        inputs: int,
        num_labels: int | None = None,
        batch_norm: bool | str = False,
        hidden_dims: Sequence[int] | None = None,
        beside: int = 0,
    ) -> nn.Module:
        """Return a network that maps `inputs` latents; see `encoder` for the other arguments.

        It also sees the `conditions` of covariates, after the latents, if the likelihood has any.
        If `hidden_dims` is None, they are the encoder's widths, reversed.
        """
        inputs += self._conditions
        if given is not None:
            return GivenNetwork(given, (inputs,), self._made, num_labels, "decoder")
        options = num_labels, self._activation, batch_norm, 0.0, beside
        dims = self._hidden_dims[::-1] if hidden_dims is None else hidden_dims
        return MLP(inputs, dims, math.prod(self._made), *options)

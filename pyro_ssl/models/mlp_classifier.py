"""The baseline that learns from labelled rows only: the classifier of the other models."""

import pyro
import pyro.distributions as dist
from torch import Tensor

from pyro_ssl.models.base import SSLModel
from pyro_ssl.models.rows import Batch
from pyro_ssl.nets.conv import image_nets
from pyro_ssl.nets.mlp import MLP, Activation
from pyro_ssl.nets.norm import BatchNorm, as_one_batch_norm
from pyro_ssl.option_kinds import Dropout, Shape, Size, Widths
from pyro_ssl.options import checked


class MLPClassifier(SSLModel):
    """Discriminative classifier p(y|x), the same network as M2's q(y|x).

    Generative program: `p(y|x) = Categorical(classifier(x))`; the guide is empty, so the
    objective, maximised, is the sum of log p(y|x) over labelled rows. Unlabelled rows
    contribute nothing. Compared with M2 it shows what the unlabelled rows are worth.

    Differs from the paper: no paper; it corresponds to "NN" in table 1 of Kingma et al. 2014.

    Args:
        input_shape: shape of one input; pixels in [0, 1].
        num_classes: number of classes K.
        hidden_dims: widths of the hidden layers.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        batch_norm: use batch norm.
        input_dropout: dropout probability at the input.
        channels: channels of the first convolution of a `ConvEncoder` before the classifier; None
            to give the classifier the pixels.
        multi_label: labels are rows of `num_classes` binary attributes, -1 where unknown, each
            `Bernoulli(classifier(x)_l)`; the objective is the sum over known attributes.

    Raises:
        ConfigError: if a width, a probability or the activation is invalid.
    """

    learns_from_unlabelled = False

    @checked
    def __init__(
        self,
        input_shape: Shape = (1, 28, 28),
        num_classes: Size = 10,
        hidden_dims: Widths = (300, 300),
        activation: Activation = "relu",
        batch_norm: BatchNorm = True,
        input_dropout: Dropout = 0.5,
        channels: Size | None = None,
        multi_label: bool = False,
    ) -> None:
        super().__init__(input_shape, num_classes)
        batch_norm = as_one_batch_norm(batch_norm, "but MLPClassifier sees labelled rows alone")
        self.hidden_dims = tuple(hidden_dims)
        self.activation = activation
        self.batch_norm = batch_norm
        self.input_dropout = input_dropout
        self.channels = channels
        self.multi_label = multi_label
        self.image_encoder, _ = image_nets(self.input_shape, channels, activation)
        self.classifier = MLP(
            self.image_encoder.out_features,
            hidden_dims,
            num_classes,
            activation=activation,
            batch_norm=batch_norm,
            input_dropout=input_dropout,
        )

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(y|x) on `xs` `[B, *input_shape]` and `ys`, None or `[B]` with -1 if unknown."""
        pyro.module(self._name, self)
        for rows in self._batch(xs, ys).parts():
            if rows.ys is None:
                continue
            logits = self.class_logits(rows.xs)
            with rows.plate():
                if self.multi_label:
                    each = dist.Bernoulli(logits=logits).mask(rows.ys >= 0)
                    given = rows.ys.clamp(min=0).to(logits.dtype)
                    pyro.sample("y", each.to_event(1), obs=given)
                else:
                    pyro.sample("y", dist.Categorical(logits=logits), obs=rows.ys)

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Do nothing, since nothing is latent; arguments as for `model`."""

    def class_logits(self, xs: Tensor) -> Tensor:
        """Return unnormalised log p(y|x), `[B, K]`, for inputs `xs` `[B, *input_shape]`."""
        return self.classifier(self.image_encoder(xs))

"""Networks shared by the models.

Every network accepts any number of leading batch dimensions, so that a Pyro plate, an enumerated
label and a particle dimension all pass through it unchanged. It returns its input's dtype even
under autocast, so that log-probabilities are never computed in bfloat16.
"""

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.nets.norm import BatchNorm, SeparateBatchNorm, as_batch_norm
from pyro_ssl.option_kinds import Dropout, Natural, OneOf, Size, Widths
from pyro_ssl.options import checked

MAXOUT_PIECES = 4


def maxout(hs: Tensor) -> Tensor:
    """Return the largest of each 4 (`MAXOUT_PIECES`) neighbours, `[..., F / 4]` of `[..., F]`.

    Source: Goodfellow, Warde-Farley, Mirza, Courville, Bengio, "Maxout networks", ICML 2013.
    """
    return hs.unflatten(-1, (-1, MAXOUT_PIECES)).amax(-1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "softplus": F.softplus,
    "elu": F.elu,
    "tanh": torch.tanh,
    "maxout": maxout,
}
Activation = Annotated[str, OneOf(tuple(ACTIVATIONS))]


class LabelledLinear(nn.Module):
    """Affine map of an input and a label, `W x + E[y] + b`.

    The same function as a linear layer on `[x, one_hot(y)]`, but `W x` does not depend on the
    label: for `K` enumerated labels it is computed once per row, not `K` times.

    Args:
        in_features: size of the last dimension of `xs`.
        num_classes: number of labels `K`.
        out_features: size of the last dimension of the result.
    """

    @checked
    def __init__(self, in_features: Size, num_classes: Size, out_features: Size) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.embedding = nn.Embedding(num_classes, out_features)
        # The range that nn.Linear would draw from if the one-hot label were concatenated.
        bound = (in_features + num_classes) ** -0.5
        nn.init.uniform_(self.embedding.weight, -bound, bound)

    def forward(self, xs: Tensor, ys: Tensor) -> Tensor:
        """Map inputs and labels, broadcast against each other.

        Args:
            xs: inputs `[..., in_features]`.
            ys: labels `[...]`, integers; or points of the simplex `[..., num_classes]`, whose
                corners are the labels.
        """
        hs = self.linear(xs)
        if ys.is_floating_point():
            return hs + F.linear(ys, self.embedding.weight.T)
        return hs + self.embedding(ys).to(hs.dtype)


class MLP(nn.Module):
    """Multi-layer perceptron, optionally conditioned on a label in its first layer.

    Args:
        in_features: size of the last dimension of the input.
        hidden_dims: width of each hidden layer; empty for a linear map.
        out_features: size of the last dimension of the output.
        num_classes: if given, `forward` takes labels too, see `LabelledLinear`.
        activation: a key of `ACTIVATIONS`.
        batch_norm: normalise before each activation over all leading dimensions; `"separate"` takes
            statistics over labelled and over unlabelled rows apart, see `SeparateBatchNorm`.
        input_dropout: probability of dropping each input in training mode.
        beside: size of a second input, 0 for none. It enters the first layer through its own
            matrix: the same function as a layer of both inputs concatenated, but the contribution
            of the first input is computed only once for any number of second inputs.

    Raises:
        ConfigError: if a width is below 1, the activation unknown, or a probability outside [0, 1).
    """

    @checked
    def __init__(
        self,
        in_features: Size,
        hidden_dims: Widths,
        out_features: Size,
        num_classes: Size | None = None,
        activation: Activation = "relu",
        batch_norm: BatchNorm = False,
        input_dropout: Dropout = 0.0,
        beside: Natural = 0,
    ) -> None:
        super().__init__()
        dims = [in_features, *hidden_dims, out_features]
        batch_norm = as_batch_norm(batch_norm)
        self.activation = activation
        self.input_dropout = input_dropout
        # Maxout takes several affine maps for each unit.
        pieces = MAXOUT_PIECES if activation == "maxout" else 1
        wide = [*(pieces * width for width in hidden_dims), out_features]
        layers: list[nn.Module] = [nn.Linear(i, o) for i, o in zip(dims, wide, strict=False)]
        if num_classes is not None:
            layers[0] = LabelledLinear(dims[0], num_classes, wide[0])
        self.layers = nn.ModuleList(layers)
        self.beside = nn.Linear(beside, wide[0], bias=False) if beside else None
        norm = {False: nn.Identity, True: nn.BatchNorm1d, "separate": SeparateBatchNorm}[batch_norm]
        self.norms = nn.ModuleList(norm(width) for width in wide[:-1])

    def forward(
        self,
        xs: Tensor,
        ys: Tensor | None = None,
        labelled: bool = False,
        beside: Tensor | None = None,
        shares: Tensor | None = None,
    ) -> Tensor:
        """Map inputs to outputs `[..., out_features]`.

        Args:
            xs: inputs `[..., in_features]`.
            ys: labels, as `LabelledLinear` takes them, if `num_classes` is given.
            labelled: whether the labels of these rows are known, for `SeparateBatchNorm`.
            beside: second inputs `[..., beside]`, broadcast against the first ones, if any.
            shares: weights `[...]` in the statistics of `SeparateBatchNorm`; None for equal ones.

        Raises:
            ConfigError: if there are too few rows for batch norm in training mode.
            DataError: if second inputs are missing, or the network takes none.
        """
        if (beside is None) != (self.beside is None):
            given = "None" if beside is None else f"of shape {list(beside.shape)}"
            size = self.beside.in_features if self.beside is not None else 0
            raise DataError(f"beside is {given}, but the network was made with beside={size}")
        hs = xs
        if self.training and self.input_dropout > 0:
            # The same as F.dropout, whose bernoulli_ is four times slower on a CPU.
            kept = torch.rand_like(xs) >= self.input_dropout
            hs = xs * kept / (1 - self.input_dropout)
        hs = self.layers[0](hs) if ys is None else self.layers[0](hs, ys)
        if self.beside is not None:
            hs = hs + self.beside(beside)
        activate = ACTIVATIONS[self.activation]
        for norm, layer in zip(self.norms, self.layers[1:], strict=True):
            # BatchNorm1d takes only one batch dimension.
            rows = hs.flatten(0, -2)
            if self.training and len(rows) < 2 and not isinstance(norm, nn.Identity):
                raise ConfigError(
                    f"batch norm needs at least 2 rows (of each kind, if it is 'separate'), got "
                    f"{len(rows)}: give larger batches, or construct the model with "
                    "batch_norm=False"
                )
            if isinstance(norm, SeparateBatchNorm):
                rows = norm(rows, labelled, None if shares is None else shares.flatten())
            else:
                rows = norm(rows)
            hs = rows.view(hs.shape)
            hs = layer(activate(hs))
        return hs.to(xs.dtype)


def in_class_chunks(function: Callable[..., Tensor], chunk: int | None, *tensors: Tensor) -> Tensor:
    """Return `function(*tensors)`, computed for `chunk` classes (the first dimension) at a time.

    The backward pass computes each chunk again instead of storing its intermediate results, so that
    memory grows with the chunk and not with the number of classes. `function` must draw no random
    numbers. If `chunk` is None, all classes are computed at once, and only once.
    """
    if chunk is None:
        return function(*tensors)
    parts = zip(*(t.split(chunk) for t in tensors), strict=True)
    return torch.cat(
        [checkpoint(function, *p, use_reentrant=False, preserve_rng_state=False) for p in parts]
    )

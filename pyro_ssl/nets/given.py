"""A user's network, used instead of one of the library's."""

import math
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from pyro_ssl.errors import ConfigError
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.option_kinds import Shape, Size
from pyro_ssl.options import checked

# The annotation of an option that is a user's network, or None.
Network = Annotated[nn.Module | None, "a torch.nn.Module, or None"]


class GivenNetwork(nn.Module):
    """A user's network in a form that models can call like the library's networks.

    The user's network is called with rows `[N, *input_shape]`, for any dimensions of the batch. If
    `num_labels` is given, it is also called with labels `[N, num_labels]`, floating: one-hot,
    points of the simplex, or attributes. It returns `[N, *output_shape]`.

    Args:
        network: the user's network.
        input_shape: shape of its input for one row.
        output_shape: shape of its output for one row.
        num_labels: size of a label vector; None for a network without labels.
        name: the option's name, for errors.

    Raises:
        ConfigError: if it is not a module, cannot be called like this, or returns another shape.
    """

    @checked
    def __init__(
        self,
        network: nn.Module,
        input_shape: Shape,
        output_shape: Shape,
        num_labels: Size | None = None,
        name: str = "network",
    ) -> None:
        super().__init__()
        self.network = network
        self.input_shape, self.output_shape = tuple(input_shape), tuple(output_shape)
        self.num_labels = num_labels
        self._check(name)

    def forward(self, xs: Tensor, ys: Tensor | None = None, labelled: bool = False) -> Tensor:
        """Map inputs, flattened, and labels to outputs, flattened, of the inputs' dtype.

        Args:
            xs: inputs `[..., F]`.
            ys: labels `[...]`, integers, or floating `[..., num_labels]`; None without labels.
            labelled: whether the rows' labels are known; not used.
        """
        lead = xs.shape[:-1]
        arguments: tuple[Tensor, ...] = ()
        if ys is not None:
            assert self.num_labels is not None
            if not ys.is_floating_point():
                # Not F.one_hot: it reads the tensor's values, which a compiled step cannot do.
                ys = torch.eye(self.num_labels, dtype=xs.dtype, device=xs.device)[ys]
            lead = torch.broadcast_shapes(lead, ys.shape[:-1])
            arguments = (ys.expand(*lead, self.num_labels).reshape(-1, self.num_labels),)
        rows = xs.expand(*lead, xs.shape[-1]).reshape(-1, *self.input_shape)
        outputs = self.network(rows, *arguments)
        return outputs.reshape(*lead, math.prod(self.output_shape)).to(xs.dtype)

    def _check(self, name: str) -> None:
        """Call the network once, in evaluation mode, on two rows of zeros."""
        like: Any = next(self.network.parameters(), torch.zeros(()))
        kinds = {"dtype": like.dtype, "device": like.device}
        arguments = [torch.zeros(2, *self.input_shape, **kinds)]
        given = f"inputs {list(arguments[0].shape)}"
        if self.num_labels is not None:
            arguments.append(torch.zeros(2, self.num_labels, **kinds))
            given += f" and labels {list(arguments[1].shape)}"
        try:
            with torch.no_grad(), evaluating(self.network):
                found = self.network(*arguments)
        except Exception as error:
            # A network may raise any error if its arguments do not suit it.
            raise ConfigError(
                f"{name} cannot be called with {given} ({error}): see the model's docstring for "
                "the arguments that it gets"
            ) from error
        wanted = [2, *self.output_shape]
        if not isinstance(found, Tensor) or list(found.shape) != wanted:
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ConfigError(f"{name} returns {shape} for {given}, expected {wanted}")

"""What every model shares: identity in Pyro's parameter store, evaluation mode, checks."""

import inspect
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from pyro_ssl.data.checks import check_inputs
from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.models.rows import Batch

_serial = itertools.count()


class PyroModel(nn.Module):
    """Base of every model: a pair of Pyro programs of the same inputs.

    A subclass keeps each constructor argument as an attribute of the same name; it may take
    those of its own base as `**options` and pass them on. Its programs are
    `model(xs, ys)` and `guide` of the same arguments. It registers its parameters
    with `pyro.module(self._name, self)`; `_name` is unique to the instance, also after
    `copy.deepcopy` and unpickling, since two instances of one name would share an entry in
    Pyro's parameter store and the second would silently never train.

    Args:
        input_shape: shape of one input, without the batch dimension.

    Attributes:
        learns_from_unlabelled: whether rows without a label contribute to the objective.
        takes_real_values: whether inputs may be any real numbers; otherwise they are in [0, 1].
        takes_pixels: whether inputs may be drawn anew from a Bernoulli, `binarise` of `fit`.
        objective_name: what is maximised, as validation reports it of models that do not classify.
        class_chunk: summed labels evaluated at a time, to save memory; None for all.
        max_plate_nesting: plates of the programs, the rows' being dimension -1.
    """

    learns_from_unlabelled = True
    takes_real_values = False
    takes_pixels = True
    objective_name = "elbo"
    class_chunk: int | None = None
    max_plate_nesting = 1

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)
        self._name = self._new_name()

    @property
    def options(self) -> dict[str, Any]:
        """The arguments this model was constructed with, from which to construct its like."""
        names: dict[str, None] = {}
        for cls in type(self).__mro__:
            if issubclass(cls, PyroModel) and "__init__" in vars(cls) and cls not in _BASES:
                for name, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]:
                    if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                        names[name] = None
        return {name: getattr(self, name) for name in names}

    def _new_name(self) -> str:
        return f"{type(self).__name__.lower()}_{next(_serial)}"

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._name = self._new_name()

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run the generative program; see `Batch` for its arguments."""
        raise NotImplementedError

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run the variational program; arguments as for `model`."""
        raise NotImplementedError

    def make_elbo(self) -> ELBO:
        """Return the Pyro ELBO these programs are meant to be trained with."""
        return StaticEnum_ELBO(max_plate_nesting=self.max_plate_nesting)

    def check(self, xs: Tensor, name: str = "xs") -> None:
        """Check that `xs` are inputs this model can take, see `pyro_ssl.data.check_inputs`.

        Raises:
            DataError: naming what is wrong with which argument and the remedy.
        """
        dtype = next(self.parameters()).dtype
        check_inputs(xs, self.input_shape, name, dtype, real_ok=self.takes_real_values)

    def _flat(self, xs: Tensor) -> Tensor:
        return xs.flatten(-len(self.input_shape))


class SSLModel(PyroModel):
    """Base of the semi-supervised models, which classify.

    Args:
        input_shape: shape of one input, without the batch dimension.
        num_classes: number of classes `K`; of attributes `L` if the model is `multi_label`.

    Attributes:
        multi_label: whether a label is a row of binary attributes `[L]`, not one of K classes.
    """

    multi_label = False

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__(input_shape)
        self.num_classes = num_classes

    def class_logits(self, xs: Tensor) -> Tensor:
        """Return unnormalised log q(y|x), `[B, K]`, for inputs `xs` `[B, *input_shape]`.

        Of attributes, return the log-odds of each, `[B, L]`.
        """
        raise NotImplementedError

    @torch.no_grad()
    def predict_proba(self, xs: Tensor) -> Tensor:
        """Return q(y|x), `[B, K]` with rows that sum to 1, in evaluation mode.

        Of attributes, return the probability that each is present, `[B, L]`.

        Args:
            xs: inputs `[B, *input_shape]`, in [0, 1] unless the model `takes_real_values`, of the
                dtype of the parameters.

        Raises:
            DataError: if `xs` has the wrong shape, dtype or range, or is not finite.
        """
        self.check(xs)
        with evaluating(self):
            logits = self.class_logits(xs)
            return logits.sigmoid() if self.multi_label else logits.softmax(-1)


_BASES = (PyroModel, SSLModel)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put `module` in evaluation mode, and afterwards every submodule back as it was."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode

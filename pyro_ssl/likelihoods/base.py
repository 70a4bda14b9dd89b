"""The interface of a likelihood, a family of p(x|.)."""

import re
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, TypeVar

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.likelihoods.scaling import Scaling
from pyro_ssl.option_kinds import Into, shown
from pyro_ssl.options import check_fields

# Rows are checked in blocks, since a memory-mapped file may be larger than the memory.
_BLOCK = 4096


@dataclass(frozen=True)
class Likelihood:
    """A family of distributions for p(x|.), compared and hashed by its fields, plain numbers.

    A likelihood states the shape of the decoder's outputs, makes a distribution from these outputs,
    and computes the `features` of an input that the encoder sees. Shapes are those of one input,
    `input_shape`; all tensors may have any number of leading dimensions. Only `check` and
    `fit_scaling` read the values of tensors, so that everything else can be compiled.

    A family of independent values overrides `values`, any other family overrides `distribution`.
    Your own class is a frozen dataclass that does so, and that states in `inside` and `support`
    which inputs it takes.

    Attributes:
        takes_real_values: whether inputs may be any numbers; otherwise they are in [0, 1].
        takes_pixels: whether inputs are pixels that can be binarised by draws from a Bernoulli.
        takes_missing: whether NaN stands for a missing value.
        by_value: whether the values of an input are independent, so that `values` exists.
        filler: a number inside the support, which replaces missing values.
        outputs_per_value: number of the decoder's outputs for each value of an input.
        support: in words, which inputs are allowed, and what to do with others.
        unit: in words, the unit of the log-density.
    """

    takes_real_values: ClassVar[bool] = True
    takes_pixels: ClassVar[bool] = False
    by_value: ClassVar[bool] = True
    filler: ClassVar[float] = 0.0
    support: ClassVar[str] = "finite numbers: remove such rows, or take the likelihood Mixed"
    unit: ClassVar[str] = "nats per input, a density in the units of its values"

    def __post_init__(self) -> None:
        check_fields(self)
        self.check_options()

    def check_options(self) -> None:
        """Check the options beyond what the fields' annotations check.

        Raises:
            ConfigError: naming the field that is invalid.
        """

    @property
    def takes_missing(self) -> bool:
        """Whether NaN stands for a missing value."""
        return False

    @property
    def outputs_per_value(self) -> int:
        """Number of the decoder's outputs for each value of an input."""
        return 1

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the decoder's outputs for one input.

        The first dimension is `outputs_per_value` times that of the input: first come all outputs
        of the first kind (such as locations), then all of the second.

        Raises:
            ConfigError: if this family does not take inputs of this shape.
        """
        return (self.outputs_per_value * input_shape[0], *input_shape[1:])

    def num_shared(self, input_shape: tuple[int, ...]) -> int:
        """Return the number of learned numbers that all inputs share, such as a scale."""
        return 0

    def values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return the distributions of the single values, batch shape `[..., *input_shape]`.

        Arguments are those of `distribution`.
        """
        raise NotImplementedError

    def distribution(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> dist.TorchDistribution:
        """Return p(x|.), batch shape `[...]`, event shape `input_shape`; its unit is `unit`.

        Args:
            outputs: the decoder's outputs, `[..., *output_shape]`.
            input_shape: shape of one input.
            shared: the learned numbers that all inputs share, `[num_shared]`, unconstrained; None
                if there are none.
        """
        return self.values(outputs, input_shape, shared).to_event(len(input_shape))

    def mean(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None = None
    ) -> Tensor:
        """Return the mean of p(x|.), `[..., *input_shape]`; arguments as for `distribution`.

        For categories, return the most probable one.
        """
        return self.distribution(outputs, input_shape, shared).mean

    def feature_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the `features` of an input."""
        return input_shape

    def features(self, xs: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return the inputs that encoder and classifier see, `[..., *feature_shape]`."""
        return xs

    def inside(self, xs: Tensor) -> Tensor:
        """Return whether each of the values `xs` is inside the support, of the same shape."""
        return torch.isfinite(xs)

    def check(self, xs: Tensor, name: str = "xs") -> None:
        """Check that inputs `[B, *input_shape]` are inside the support.

        Raises:
            DataError: naming the first row that is outside of the support, and the remedy.
        """
        for number, block in enumerate(xs.split(_BLOCK)):
            inside = self.inside(block)
            if not bool(inside.all()):
                at = (~inside).nonzero()[0].tolist()
                raise DataError(
                    f"{name} has the value {float(block[tuple(at)]):g} in row "
                    f"{at[0] + number * _BLOCK}, but {self._taken(at[1:])}"
                )

    def _taken(self, at: list[int]) -> str:
        """Return a text for errors: which inputs are allowed at index `at` of an input."""
        return f"the likelihood {type(self).__name__} takes {self.support}"

    def fit_scaling(self, xs: Tensor) -> Scaling:
        """Return the scaling of raw inputs for this family, fitted on rows `[N, *input_shape]`.

        The default changes nothing; families of real values standardise, families of pixels divide
        bytes by 255.
        """
        return Scaling.identity(tuple(xs.shape[1:]))

    def to_dict(self) -> dict[str, Any]:
        """Return the family's name and fields as plain data, for `likelihood_from_dict`."""
        return {"family": type(self).__name__} | {
            f.name: _to_plain(getattr(self, f.name)) for f in fields(self)
        }


FAMILIES: dict[str, type[Likelihood]] = {}
_Family = TypeVar("_Family", bound=type[Likelihood])


def register_likelihood(cls: _Family) -> _Family:
    """Register a family, so that checkpoints with it can be loaded; a class decorator.

    A file can only name classes that the running program has registered.
    """
    FAMILIES[cls.__name__] = cls
    return cls


def as_likelihood(likelihood: str | Likelihood) -> Likelihood:
    """Return a likelihood, given as an object or by name: `"student_t"` is `StudentT()`.

    Raises:
        ConfigError: if it is neither a likelihood nor the name of one that needs no options.
    """
    if isinstance(likelihood, Likelihood):
        return likelihood
    names = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", n).lower(): cls for n, cls in FAMILIES.items()}
    plain = [name for name, cls in names.items() if _needs_nothing(cls)]
    if isinstance(likelihood, str) and likelihood in plain:
        return names[likelihood]()
    expected = f"expected one of {', '.join(sorted(plain))}, or a Likelihood"
    if isinstance(likelihood, str) and likelihood in names:
        expected = f"which needs options: give {names[likelihood].__name__}(...)"
    raise ConfigError(f"likelihood is {shown(likelihood)}, {expected}")


# The annotation of an option that is a likelihood.
Family = Annotated[str | Likelihood, Into(as_likelihood)]


def likelihood_from_dict(state: dict[str, Any]) -> Likelihood:
    """Return the likelihood that `Likelihood.to_dict` describes; no code of `state` is executed.

    Raises:
        ConfigError: if it names a family that is not registered, or fields that the family lacks.
    """
    state = dict(state)
    name = state.pop("family", None)
    if name not in FAMILIES:
        raise ConfigError(
            f"family is {name!r}, which is none of {', '.join(sorted(FAMILIES))}: import its "
            "class and decorate it with @register_likelihood"
        )
    known = {f.name for f in fields(FAMILIES[name])}
    if not state.keys() <= known:
        raise ConfigError(
            f"{name} has no {', '.join(sorted(state.keys() - known))}, expected "
            f"{', '.join(sorted(known)) or 'no options'}"
        )
    return FAMILIES[name](**{key: _from_plain(value) for key, value in state.items()})


def _needs_nothing(cls: type[Likelihood]) -> bool:
    try:
        cls()
    except TypeError:
        return False
    return True


def _to_plain(value: Any) -> Any:
    if isinstance(value, Likelihood):
        return value.to_dict()
    return [_to_plain(v) for v in value] if isinstance(value, tuple) else value


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return likelihood_from_dict(value)
    return tuple(_from_plain(v) for v in value) if isinstance(value, (list, tuple)) else value

"""The base of families of rows that end in covariates, which are conditioned on, not modelled."""

from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods.base import Likelihood


class CovariateLikelihood(Likelihood):
    """A family p(x|., c) of rows `[x, c]` that end in covariates c; the base of such families.

    Networks see covariates as well: encoders among the `features` of a row, decoders beside the
    latents, as `conditions`. A distribution is of rows as they are, so that data, batches and
    checks need know nothing of covariates; its draws and means have the covariates it was made
    for, and its log-probability is that of x alone.

    Attributes:
        num_covariates: the last columns of a row that are covariates.
        num_conditions: the numbers that a decoder sees of them.
    """

    by_value: ClassVar[bool] = False

    @property
    def num_covariates(self) -> int:
        """The last columns of a row that are covariates."""
        raise NotImplementedError

    @property
    def num_conditions(self) -> int:
        """The numbers that a decoder sees of the covariates."""
        return 0

    def conditions(self, covariates: Tensor) -> Tensor:
        """Return what a decoder sees of covariates `[..., C]`, `[..., num_conditions]`."""
        return covariates[..., :0]

    def of_values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None, given: Tensor
    ) -> dist.TorchDistribution:
        """Return p(x|., c) of the modelled values alone; `given` are the covariates `[..., C]`."""
        raise NotImplementedError

    def mean_of_values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None, given: Tensor
    ) -> Tensor:
        """Return the mean of the modelled values alone; arguments as for `of_values`."""
        return self.of_values(outputs, input_shape, shared, given).mean

    def distribution(
        self,
        outputs: Tensor,
        input_shape: tuple[int, ...],
        shared: Tensor | None = None,
        covariates: Tensor | None = None,
    ) -> dist.TorchDistribution:
        """Return p(x|., c) of whole rows, see `BesideCovariates`.

        Args:
            outputs: the decoder's, `[..., *output_shape]`.
            input_shape: shape of one row, `(values + covariates,)`.
            shared: as for any family.
            covariates: `[..., C]`, which broadcast to the outputs' leading dimensions.

        Raises:
            ConfigError: if there are no covariates.
        """
        given = self.checked(covariates)
        return BesideCovariates(self.of_values(outputs, input_shape, shared, given), given)

    def mean(
        self,
        outputs: Tensor,
        input_shape: tuple[int, ...],
        shared: Tensor | None = None,
        covariates: Tensor | None = None,
    ) -> Tensor:
        """Return the means of rows, whose covariates are those given; see `distribution`."""
        given = self.checked(covariates)
        return beside(self.mean_of_values(outputs, input_shape, shared, given), given)

    def checked(self, covariates: Tensor | None) -> Tensor:
        """Return covariates, which there must be.

        Raises:
            ConfigError: if they are None or of another number.
        """
        if covariates is None or covariates.shape[-1:] != (self.num_covariates,):
            found = "None" if covariates is None else f"of shape {tuple(covariates.shape)}"
            raise ConfigError(
                f"covariates is {found}, but {type(self).__name__} conditions on "
                f"{self.num_covariates} numbers: give covariates [B, {self.num_covariates}], "
                "what rows end in"
            )
        return covariates

    def _modelled_shape(self, input_shape: tuple[int, ...], own: int) -> tuple[int, ...]:
        """Return the shape of a row without its last columns.

        Raises:
            ConfigError: if it has no others.
        """
        if len(input_shape) != 1 or input_shape[0] <= own:
            raise ConfigError(
                f"input_shape is {tuple(input_shape)}, but {type(self).__name__} takes rows of "
                f"values and then {own} covariates: expected (values + {own},)"
            )
        return (input_shape[0] - own,)


class BesideCovariates(dist.TorchDistribution):
    """Rows `[x, c]` of a distribution of x, for given covariates c.

    Args:
        values: the distribution of x, event shape `[D]`.
        covariates: `[..., C]`, which broadcast to the batch shape. `log_prob` takes those of a row
            for these, and does not read them again.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, values: dist.TorchDistribution, covariates: Tensor) -> None:
        self.values, self.covariates = values, covariates
        event_shape = torch.Size([values.event_shape[-1] + covariates.shape[-1]])
        super().__init__(values.batch_shape, event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The means of x, and the covariates."""
        return beside(self.values.mean, self.covariates)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> "BesideCovariates":
        """Return the distribution with another batch shape."""
        return BesideCovariates(self.values.expand(torch.Size(batch_shape)), self.covariates)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x|., c) of rows `[..., D + C]`, `[...]`, in nats."""
        return self.values.log_prob(value[..., : self.values.event_shape[-1]])

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw x, `[*sample_shape, ..., D]`, and return it with the covariates."""
        return beside(self.values.sample(sample_shape), self.covariates)


def beside(values: Tensor, covariates: Tensor) -> Tensor:
    """Return values `[..., D]` with covariates, broadcast and of their dtype, after them."""
    given = covariates.to(values.dtype).expand(*values.shape[:-1], covariates.shape[-1])
    return torch.cat([values, given], -1)

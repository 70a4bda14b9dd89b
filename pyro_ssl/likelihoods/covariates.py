"""The base of families of rows that end in covariates, which are given, not modelled."""

from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods.base import Likelihood


class CovariateLikelihood(Likelihood):
    """A family p(x|., c) of rows `[x, c]` that end in covariates c; the base of such families.

    Networks see covariates too: encoders among the `features` of a row, decoders after the
    latents, as `conditions`. A distribution is over whole rows, so that data, batches and checks
    need not know about covariates. Its draws and means contain the covariates that it was made
    with, and its log-probability is that of x alone.

    Attributes:
        num_covariates: number of last columns of a row that are covariates.
        num_conditions: number of values that a decoder sees of the covariates.
    """

    by_value: ClassVar[bool] = False

    @property
    def num_covariates(self) -> int:
        """Number of last columns of a row that are covariates."""
        raise NotImplementedError

    @property
    def num_conditions(self) -> int:
        """Number of values that a decoder sees of the covariates."""
        return 0

    def conditions(self, covariates: Tensor) -> Tensor:
        """Return the decoder's view of covariates `[..., C]`, `[..., num_conditions]`."""
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
            outputs: the decoder's outputs, `[..., *output_shape]`.
            input_shape: shape of one row, `(values + covariates,)`.
            shared: as for any family.
            covariates: `[..., C]`, broadcastable to the outputs' leading dimensions.

        Raises:
            ConfigError: if `covariates` is None or has another number of columns.
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
        """Return the means of whole rows, `[..., *input_shape]`; see `distribution`."""
        given = self.checked(covariates)
        return beside(self.mean_of_values(outputs, input_shape, shared, given), given)

    def checked(self, covariates: Tensor | None) -> Tensor:
        """Return covariates `[..., C]` after checking that they are given.

        Raises:
            ConfigError: if they are None or have another number of columns.
        """
        if covariates is None or covariates.shape[-1:] != (self.num_covariates,):
            found = "None" if covariates is None else f"of shape {tuple(covariates.shape)}"
            raise ConfigError(
                f"covariates is {found}, but {type(self).__name__} conditions on "
                f"{self.num_covariates} numbers: give covariates [B, {self.num_covariates}], "
                "the last columns of the rows"
            )
        return covariates

    def _modelled_shape(self, input_shape: tuple[int, ...], own: int) -> tuple[int, ...]:
        """Return the shape of a row without its last columns.

        Raises:
            ConfigError: if it has no other columns.
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
        covariates: `[..., C]`, broadcastable to the batch shape. `log_prob` does not compare them
            with the last columns of its rows.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, values: dist.TorchDistribution, covariates: Tensor) -> None:
        self.values, self.covariates = values, covariates
        event_shape = torch.Size([values.event_shape[-1] + covariates.shape[-1]])
        super().__init__(values.batch_shape, event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The means of x, followed by the covariates, `[..., D + C]`."""
        return beside(self.values.mean, self.covariates)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> "BesideCovariates":
        """Return the distribution with another batch shape."""
        return BesideCovariates(self.values.expand(torch.Size(batch_shape)), self.covariates)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x|., c) in nats, `[...]`, of rows `[..., D + C]`."""
        return self.values.log_prob(value[..., : self.values.event_shape[-1]])

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw x, `[*sample_shape, ..., D]`, and return it followed by the covariates."""
        return beside(self.values.sample(sample_shape), self.covariates)


def beside(values: Tensor, covariates: Tensor) -> Tensor:
    """Return values `[..., D]` followed by covariates, broadcast and of the values' dtype."""
    given = covariates.to(values.dtype).expand(*values.shape[:-1], covariates.shape[-1])
    return torch.cat([values, given], -1)

"""Rows of any family that end in covariates of any kinds."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods.base import Likelihood, as_likelihood, register_likelihood
from pyro_ssl.likelihoods.covariates import CovariateLikelihood
from pyro_ssl.likelihoods.mixed import Families, Mixed
from pyro_ssl.likelihoods.scaling import Scaling
from pyro_ssl.option_kinds import Into


@register_likelihood
@dataclass(frozen=True)
class Conditional(CovariateLikelihood):
    """Rows `[x, c]`: any family of x, given covariates c of any kinds, such as a batch or a site.

    The family of a covariate decides how encoder and decoder see it: a category as indicators, a
    real number unchanged. `Conditional(Gaussian(), (Categorical(3),))` is for rows of real numbers
    that end in the code of one of three batches. A covariate has no distribution; its family only
    decides its features and its valid values.

    Source: Sohn, Lee, Yan, "Learning structured output representation using deep conditional
    generative models", NeurIPS 2015; with batches as covariates: Lopez, Regier, Cole, Jordan,
    Yosef, "Deep generative modeling for single-cell transcriptomics" (scVI), Nature Methods 2018.

    Differs from the papers: as in scVI, the prior of the latents does not depend on c; the encoder
    always sees c, which is an option in scVI.

    Args:
        likelihood: the family of x, an object or a name; for rows of shape `(values,)`.
        covariates: the family of each covariate, an object or a name; families of single values.
        missing: accept missing covariates (NaN): networks then see zeros and a mask of the known
            ones.

    Raises:
        ConfigError: if an option is invalid.
    """

    likelihood: Annotated[Likelihood, Into(as_likelihood)]
    covariates: Families
    missing: bool = False

    def check_options(self) -> None:
        """Check that each covariate has a family of single values.

        Raises:
            ConfigError: naming a covariate whose family is invalid.
        """
        try:
            Mixed(self.covariates, self.missing)
        except ConfigError as error:
            raise ConfigError(f"covariates: {error}") from error

    @cached_property
    def _seen(self) -> Mixed:
        """The features that networks see of the covariates."""
        return Mixed(self.covariates, self.missing)

    @property
    def _own(self) -> int:
        return len(self.covariates)

    @property
    def columns(self) -> tuple[Likelihood, ...]:
        """The family of each column of a row, if the columns of x have their own, else ()."""
        of_values: tuple[Likelihood, ...] = getattr(self.likelihood, "columns", ())
        return (*of_values, *self.covariates) if of_values else ()

    @property
    def support(self) -> str:  # type: ignore[override]
        """In words, which inputs are allowed."""
        return f"{self.likelihood.support}; and then covariates"

    @property
    def unit(self) -> str:  # type: ignore[override]
        """In words, the unit of the log-density."""
        return self.likelihood.unit

    @property
    def takes_missing(self) -> bool:
        """Whether NaN stands for a missing value of x or of a covariate."""
        return self.missing or self.likelihood.takes_missing

    @property
    def num_covariates(self) -> int:
        """Number of last columns that are covariates, including those of the inner family."""
        inner = self.likelihood
        return self._own + (inner.num_covariates if isinstance(inner, CovariateLikelihood) else 0)

    @property
    def num_conditions(self) -> int:
        """Number of values that a decoder sees of the covariates."""
        inner = self.likelihood
        found = self._seen.feature_shape((self._own,))[0]
        return found + (inner.num_conditions if isinstance(inner, CovariateLikelihood) else 0)

    def conditions(self, covariates: Tensor) -> Tensor:
        """Return the decoder's view of covariates `[..., C]`, `[..., num_conditions]`."""
        seen = self._seen.features(covariates[..., -self._own :], (self._own,))
        if isinstance(self.likelihood, CovariateLikelihood):
            inner = self.likelihood.conditions(covariates[..., : -self._own])
            return torch.cat([inner, seen], -1)
        return seen

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the decoder's outputs, which are those of x.

        Raises:
            ConfigError: if rows consist of covariates alone, or x does not take the other values.
        """
        return self.likelihood.output_shape(self._modelled_shape(input_shape, self._own))

    def num_shared(self, input_shape: tuple[int, ...]) -> int:
        """Return the number of learned numbers that all rows share."""
        return self.likelihood.num_shared(self._modelled_shape(input_shape, self._own))

    def of_values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None, given: Tensor
    ) -> dist.TorchDistribution:
        """Return p(x|., c) of x alone, batch shape `[...]`, without the covariates."""
        shape, inner = self._modelled_shape(input_shape, self._own), self.likelihood
        if isinstance(inner, CovariateLikelihood):
            return inner.of_values(outputs, shape, shared, given[..., : -self._own])
        return inner.distribution(outputs, shape, shared)

    def mean_of_values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None, given: Tensor
    ) -> Tensor:
        """Return the mean of x alone, `[..., values]`; for categories the most probable one."""
        shape, inner = self._modelled_shape(input_shape, self._own), self.likelihood
        if isinstance(inner, CovariateLikelihood):
            return inner.mean_of_values(outputs, shape, shared, given[..., : -self._own])
        return inner.mean(outputs, shape, shared)

    def feature_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the number of features of x and of the covariates."""
        inner = self.likelihood.feature_shape(self._modelled_shape(input_shape, self._own))
        return (inner[0] + self._seen.feature_shape((self._own,))[0],)

    def features(self, xs: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return the features of x, followed by those of covariates, `[..., *feature_shape]`."""
        shape = self._modelled_shape(input_shape, self._own)
        values = self.likelihood.features(xs[..., : -self._own], shape)
        seen = self._seen.features(xs[..., -self._own :], (self._own,))
        return torch.cat([values, seen], -1)

    def inside(self, xs: Tensor) -> Tensor:
        """Return whether each value and each covariate is inside the support of its family."""
        values = self.likelihood.inside(xs[..., : -self._own])
        return torch.cat([values, self._seen.inside(xs[..., -self._own :])], -1)

    def check(self, xs: Tensor, name: str = "xs") -> None:
        """Check that values and covariates are inside the supports of their families.

        Raises:
            DataError: naming the first row that is outside of a support, and the remedy.
        """
        self.likelihood.check(xs[..., : -self._own], name)
        self._seen.check(xs[..., -self._own :], f"{name}, in its covariates,")

    def fit_scaling(self, xs: Tensor) -> Scaling:
        """Return the scaling of x and of the covariates; covariates have no density."""
        seen = self._seen.fit_scaling(xs[:, -self._own :])
        seen = Scaling(seen.shift, seen.scale, torch.zeros_like(seen.density))
        return Scaling.concatenated([self.likelihood.fit_scaling(xs[:, : -self._own]), seen])

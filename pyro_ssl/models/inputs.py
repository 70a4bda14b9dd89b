"""A model's inputs: their likelihood, the features that networks see, and covariates."""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods import Bernoulli, CovariateLikelihood, Likelihood, as_likelihood


class InputModel(nn.Module):
    """The part of all models that handles inputs; the base of `PyroModel`.

    Attributes:
        input_shape: shape of one input.
        likelihood: the family of p(x|.).
        likelihood_parameters: parameters of the likelihood that all rows share, or None.
        takes_covariates: whether the decoder sees covariates, through `_beside`.
    """

    input_shape: tuple[int, ...]
    likelihood: Likelihood = Bernoulli()
    likelihood_parameters: nn.Parameter | None
    takes_covariates = False

    @property
    def takes_real_values(self) -> bool:
        """Whether inputs may be any real numbers; otherwise they are in [0, 1]."""
        return self.likelihood.takes_real_values

    @property
    def takes_pixels(self) -> bool:
        """Whether inputs are pixels that can be binarised, see `binarise` of `FitConfig`."""
        return self.likelihood.takes_pixels

    @property
    def takes_missing(self) -> bool:
        """Whether NaN among the inputs stands for a missing value."""
        return self.likelihood.takes_missing

    def _set_likelihood(self, likelihood: str | Likelihood) -> None:
        """Set the family of p(x|.), and make the parameters that all rows share.

        Raises:
            ConfigError: if it is not a likelihood, does not fit inputs of this shape, or needs
                covariates that the decoder does not see.
        """
        self.likelihood = as_likelihood(likelihood)
        if isinstance(self.likelihood, CovariateLikelihood) and not self.takes_covariates:
            raise ConfigError(
                f"likelihood is {self.likelihood}, but {type(self).__name__}'s decoder sees no "
                "covariates: use M2 or a model derived from it, VAE, M1M2, ADGM, SDGM or CCVAE, "
                "or call _beside and _covariates in your program and set takes_covariates = True"
            )
        self.likelihood.output_shape(self.input_shape)
        number = self.likelihood.num_shared(self.input_shape)
        self.likelihood_parameters = nn.Parameter(torch.zeros(number)) if number else None

    def _features(self, xs: Tensor) -> Tensor:
        """Return inputs as the networks see them, `[..., *feature_shape]` of the likelihood."""
        self._check_support(xs)
        return self.likelihood.features(xs, self.input_shape)

    def _flat(self, xs: Tensor) -> Tensor:
        """Return the features of inputs as vectors, `[..., F]`."""
        return self._features(xs).flatten(-len(self.likelihood.feature_shape(self.input_shape)))

    def _covariates(self, xs: Tensor) -> Tensor | None:
        """Return the covariates, the last C values of each input, `[..., C]`, or None."""
        family = self.likelihood
        if not isinstance(family, CovariateLikelihood):
            return None
        return xs[..., xs.shape[-1] - family.num_covariates :]

    def _beside(self, zs: Tensor, covariates: Tensor | None) -> Tensor:
        """Return a decoder's inputs: latents `[..., D]`, then the `conditions` of covariates.

        Raises:
            ConfigError: if covariates are missing, or given to a likelihood without covariates.
        """
        family = self.likelihood
        if not isinstance(family, CovariateLikelihood):
            if covariates is not None:
                raise ConfigError(f"covariates were given, but {family} has none: leave them out")
            return zs
        seen = family.conditions(family.checked(covariates)).to(zs.dtype)
        return torch.cat([zs, seen.expand(*zs.shape[:-1], seen.shape[-1])], -1)

    def _p_x_of(self, outputs: Tensor, covariates: Tensor | None = None) -> dist.TorchDistribution:
        """Return p(x|.) for the decoder's outputs `[..., *output_shape]`.

        Args:
            outputs: the decoder's outputs.
            covariates: what `_covariates` returns.
        """
        family, shared = self.likelihood, self.likelihood_parameters
        if isinstance(family, CovariateLikelihood):
            return family.distribution(outputs, self.input_shape, shared, covariates)
        return family.distribution(outputs, self.input_shape, shared)

    def _mean_of(self, outputs: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the mean of p(x|.), `[..., *input_shape]`; arguments as for `_p_x_of`."""
        family, shared = self.likelihood, self.likelihood_parameters
        if isinstance(family, CovariateLikelihood):
            return family.mean(outputs, self.input_shape, shared, covariates)
        return family.mean(outputs, self.input_shape, shared)

    def _observe_inputs(self, xs: Tensor, p_x: dist.TorchDistribution) -> None:
        """Observe inputs as the site "x"."""
        self._check_support(xs)
        pyro.sample("x", p_x, obs=xs)

    def _check_support(self, xs: Tensor) -> None:
        """Check inputs if Pyro's validation is on; `fit` switches it off and checks data once."""
        if is_validation_enabled():
            self.likelihood.check(xs)

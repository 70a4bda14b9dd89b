"""Counts of genes in cells, given the number of counts of a cell: negative binomial."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.likelihoods.base import register_likelihood
from pyro_ssl.likelihoods.covariates import CovariateLikelihood
from pyro_ssl.likelihoods.spread import Per, Spread, outputs_of_spread, shared_of_spread
from pyro_ssl.option_kinds import Range

_LEAST_COUNT = 1e-3


@register_likelihood
@dataclass(frozen=True)
class GeneCounts(CovariateLikelihood):
    """Rows `[x, s]`: counts x of G genes in a cell, given the cell's size factor s > 0.

    ::

        x_g ~ NegativeBinomial(mean = s softmax(outputs)_g, variance = mean + mean^2 / r_g)

    The size factor s is the number of counts of the cell (its library size), or any other known
    factor. It is a covariate: it scales the means, and decoders do not see it. Encoders see
    log(1 + target x / s), the usual normalisation of such counts.

    Source: Lopez, Regier, Cole, Jordan, Yosef, "Deep generative modeling for single-cell
    transcriptomics" (scVI), Nature Methods 2018, with observed library sizes; Xu, Lopez, Mehlman,
    Regier, Jordan, Yosef, "Probabilistic harmonization and annotation of single-cell
    transcriptomics data with deep generative models" (scANVI), Molecular Systems Biology 2021.

    Differs from the papers: no zero inflation, which is an option in scvi-tools; library sizes have
    no distribution; encoders see normalised counts, not log(1 + x).

    Args:
        target: number of counts to which the encoder's normalisation scales each cell; the median
            of the size factors is a good choice.
        total_count: the inverse dispersion r, one for all genes; None to learn it.
        per: what shares one learned r: "dimension" (each gene has its own), "all" (one for all), or
            "value" (the decoder gives one for each count).

    Raises:
        ConfigError: if an option is invalid.
    """

    target: Annotated[float, "a positive number of counts", Range(above=0)] = 1e4
    total_count: Spread = None
    per: Per = "dimension"

    support: ClassVar[str] = (
        "counts, whole numbers of at least 0, and at the end of a row a size factor above 0: give "
        "raw counts, and leave out rows without any"
    )
    unit: ClassVar[str] = "nats per cell, a probability of counts"

    @property
    def num_covariates(self) -> int:
        """1, the size factor."""
        return 1

    @property
    def outputs_per_value(self) -> int:
        """2 if the decoder also gives dispersions, after all scores of genes; otherwise 1."""
        return outputs_of_spread(self.total_count, self.per)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the number of the decoder's outputs, a score for each gene.

        Raises:
            ConfigError: if rows are not counts followed by a size factor.
        """
        return (self.outputs_per_value * self._modelled_shape(input_shape, 1)[0],)

    def num_shared(self, input_shape: tuple[int, ...]) -> int:
        """Return the number of dispersions that all cells share."""
        genes = self._modelled_shape(input_shape, 1)
        return shared_of_spread(self.total_count, self.per, genes)

    def feature_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the number of genes."""
        return self._modelled_shape(input_shape, 1)

    def features(self, xs: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return log(1 + target x / s) of rows, `[..., G]`."""
        return (xs[..., :-1] * (self.target / xs[..., -1:])).log1p()

    def inside(self, xs: Tensor) -> Tensor:
        """Return whether each count is a whole number of at least 0 and each size above 0."""
        counts, sizes = xs[..., :-1], xs[..., -1:]
        whole = (counts >= 0) & (counts.floor() == counts)
        return torch.cat([whole, sizes > 0], -1) & torch.isfinite(xs)

    def of_values(
        self, outputs: Tensor, input_shape: tuple[int, ...], shared: Tensor | None, given: Tensor
    ) -> dist.TorchDistribution:
        """Return the counts' distribution for size factors `given` `[..., 1]`."""
        if self.total_count is not None:
            total = torch.full_like(outputs[..., :1], self.total_count)
        elif self.per == "value":
            outputs, raw = outputs.chunk(2, -1)
            total = _LEAST_COUNT + F.softplus(raw)
        else:
            assert shared is not None
            total = _LEAST_COUNT + F.softplus(shared)
        return GeneCountValues(given.log() + outputs.log_softmax(-1), total)


class GeneCountValues(dist.TorchDistribution):
    """Negative binomial counts of the genes of a cell, `[..., G]`.

    The binomial coefficients, log-gamma functions of counts and dispersions, are computed in
    float64: in float32 their differences would be wrong by more than a nat for small dispersions.
    They do not depend on the means, and are computed once for all labels that are summed over.

    Args:
        log_mean: logs of the means, `[..., G]`.
        total_count: inverse dispersions, positive, broadcastable to the means.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, log_mean: Tensor, total_count: Tensor) -> None:
        self.log_mean, self.total_count = log_mean, total_count
        super().__init__(log_mean.shape[:-1], log_mean.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The means, `[..., G]`."""
        return self.log_mean.exp()

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> "GeneCountValues":
        """Return the distribution with another batch shape."""
        shape = (*batch_shape, *self.event_shape)
        return GeneCountValues(self.log_mean.expand(shape), self.total_count)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(counts) in nats per cell, `[...]`, of counts `[..., G]`."""
        r, exact, r_exact = self.total_count, value.double(), self.total_count.double()
        ways = torch.lgamma(exact + r_exact) - torch.lgamma(r_exact) - torch.lgamma(exact + 1)
        logits = self.log_mean - r.log()
        rest = -r * F.softplus(logits) - value * F.softplus(-logits)
        return ways.sum(-1).to(value.dtype) + rest.sum(-1)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw counts, `[*sample_shape, ..., G]`."""
        with torch.no_grad():
            shape = torch.Size((*sample_shape, *self.batch_shape, *self.event_shape))
            r = self.total_count.expand(shape)
            return torch.poisson(torch._standard_gamma(r.contiguous()) * self.mean / r)

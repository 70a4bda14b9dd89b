"""Known distributions, with which a model can be compared."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from pyro_ssl.option_kinds import Natural
from pyro_ssl.options import check_fields, checked


@dataclass(frozen=True)
class GaussianMixture:
    """A mixture of Gaussians of equal weights.

    Attributes:
        name: its name in tables.
        locs: means `[K, D]`.
        covariances: covariances `[K, D, D]`.
    """

    name: str
    locs: Tensor
    covariances: Tensor

    def __post_init__(self) -> None:
        check_fields(self)

    @checked
    def sample(self, num: Natural, seed: int) -> tuple[Tensor, Tensor]:
        """Return `num` points `[num, D]`, and the index of the component of each, `[num]`."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            ys = torch.randint(len(self.locs), (num,))
            return MultivariateNormal(self.locs[ys], self.covariances[ys]).sample(), ys

    def log_prob(self, xs: Tensor) -> Tensor:
        """Return log p(x) in nats, `[N]`, for points `[N, D]`."""
        weights = Categorical(logits=torch.zeros(len(self.locs)))
        components = MultivariateNormal(self.locs, self.covariances)
        return MixtureSameFamily(weights, components).log_prob(xs)


def two_gaussians() -> GaussianMixture:
    """Return two elongated Gaussians in the plane, which a single curve can pass through."""
    locs = torch.tensor([[-2.0, -1.0], [2.0, 1.0]])
    spread = torch.tensor([[1.0, 0.6], [0.6, 0.5]])
    turned = torch.tensor([[1.0, -0.6], [-0.6, 0.5]])
    return GaussianMixture("two-gaussians", locs, torch.stack([spread, turned]))


def four_gaussians() -> GaussianMixture:
    """Return four overlapping round Gaussians of scale 1 in the plane.

    If two bits number them in this order, the bits are not independent in the posterior.
    Centres and scale are those of the ReScience reproduction of Shekhovtsov et al. (2022).
    """
    locs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [0.0, 0.0], [-1.0, 0.0]])
    return GaussianMixture("four-gaussians", locs, torch.eye(2).expand(4, 2, 2))

"""M2 with the label relaxed by Gumbel noise."""

import pyro.distributions as dist
from torch import Tensor

from pyro_ssl.models.relaxed_m2 import RelaxedM2


class GumbelSoftmaxM2(RelaxedM2):
    """M2 whose unknown label is a draw from the Gumbel-softmax, or concrete, distribution.

    p, q(y|x) = Categorical(classifier(x)) and q(z|x,y) are those of `M2`; objective, bias and
    sites are described in `RelaxedM2`, with::

        h = softmax((classifier(x) + Gumbel noise) / temperature)

    whose largest coordinate is a draw from q(y|x) at any temperature.

    Source: Jang, Gu, Poole, "Categorical reparameterization with Gumbel-softmax", ICLR 2017;
    Maddison, Mnih, Teh, "The concrete distribution", ICLR 2017. The models GumbelSoftmaxM2 and
    STGumbelSoftmaxM2 of the vae_ssl project.

    Differs from the papers: the KL of q(y|x) is that of categorical distributions, as in Jang et
    al., not that of densities, as in Maddison et al.; the model is this library's `M2`, which
    itself differs from Kingma et al. 2014. Differs from vae_ssl: its sharpening is 1 / temperature.

    Args:
        temperature: temperature of the relaxation.
        straight_through: give encoder and decoder one-hot labels, see `RelaxedM2`.
        options: those of `M2`.

    Raises:
        ConfigError: if an option is invalid.
    """

    def _relaxed_label(self, scores: Tensor) -> dist.TorchDistribution:
        family = dist.RelaxedOneHotCategorical
        if self.straight_through:
            family = dist.RelaxedOneHotCategoricalStraightThrough
        return family(self.annealed_temperature, logits=scores, validate_args=False)

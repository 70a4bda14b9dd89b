"""The base of models that draw the unknown label as a point of the simplex."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ssl.elbos import names
from pyro_ssl.models.annealed import AnnealedOption
from pyro_ssl.models.m2 import M2
from pyro_ssl.models.rows import Rows
from pyro_ssl.option_kinds import Positive
from pyro_ssl.options import checked


class RelaxedM2(M2):
    """Base of models with a relaxed unknown label: a differentiable draw near a simplex corner.

    With temperature s, let h(s, noise) be a point of the simplex that tends to a one-hot draw from
    q(y|x) as s falls to 0. The objective of an unlabelled row, maximised, is::

        E_noise E_q(z|x,h)[log p(x|h,z) + log p(z) - log q(z|x,h)] - KL(q(y|x) || p(y))

    The KL divergence is that of the categorical distributions, summed over the classes. A KL of
    relaxed densities would be another objective, whose distance from M2's does not shrink with
    the temperature (Maddison et al. 2017 discuss both). The gradient of the first term is that
    of a relaxed program, not of M2's: its bias is of the order of the temperature, and its variance
    grows as the temperature falls. With `straight_through` encoder and decoder see the one-hot
    draw, and the gradient is computed as if they had seen h. The value is then unbiased at any
    temperature, but the gradient is biased, and its bias need not vanish with the temperature.

    In training mode the site "y" of unlabelled rows is a float `[n, K]`, masked (both programs
    give it log-probability 0), and the guide subtracts the KL as a factor "kl_y": any ELBO of
    Pyro then computes the objective above. In evaluation mode "y" is categorical, as in `M2`, and
    bounds are those of M2.

    Args:
        temperature: s above; initial value of the buffer `annealed_temperature`, which the
            programs use.
        straight_through: use the straight-through estimator.
        options: those of `M2`.

    Raises:
        ConfigError: if an option is invalid.
    """

    sums_labels = False
    temperature = AnnealedOption()
    annealed_temperature: Tensor

    @checked
    def __init__(
        self, temperature: Positive = 0.5, straight_through: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self.temperature = temperature
        self.straight_through = straight_through

    def _relaxed_label(self, scores: Tensor) -> dist.TorchDistribution:
        """Return the reparameterised distribution of h(s, noise), batch `[n]`, event `[K]`."""
        raise NotImplementedError

    def _label_in_guide(self, rows: Rows, scores: Tensor) -> Tensor:
        if rows.ys is not None or not self.training:
            return super()._label_in_guide(rows, scores)
        y = pyro.sample("y", Unscored(self._relaxed_label(scores)))
        log_q = self._class_logits(scores).log_softmax(-1)
        pyro.factor(names.kl("y"), self.p_y.kl_from(log_q), has_rsample=True)
        return y

    def _label_in_model(self, rows: Rows) -> Tensor:
        if rows.ys is not None or not self.training:
            return super()._label_in_model(rows)
        prior = dist.OneHotCategorical(logits=self.p_y(rows.xs))
        return pyro.sample("y", Unscored(prior.expand([len(rows.xs)])))


class Unscored(dist.MaskedDistribution):
    """A distribution whose log-probability is 0, in the dtype of its values.

    Pyro's masked distribution returns zeros of torch's default dtype, and `TraceEnum_ELBO` cannot
    multiply tensors of different dtypes.
    """

    def __init__(self, base_dist: dist.TorchDistribution) -> None:
        super().__init__(base_dist, mask=False)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> "Unscored":
        """Return the distribution with another batch shape."""
        return Unscored(self.base_dist.expand(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return zeros of the batch shape."""
        return super().log_prob(value).to(value.dtype)

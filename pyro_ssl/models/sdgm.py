"""SDGM: the skip deep generative model of Maaloe et al. (2016)."""

from typing import Any

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from pyro_ssl.models.auxiliary import AuxiliaryModel
from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.networks import NetworkMaker
from pyro_ssl.models.normal import normal_of
from pyro_ssl.models.rows import Rows
from pyro_ssl.nets.mlp import MLP
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.nets.norm import BatchNorm
from pyro_ssl.option_kinds import NotNegative, Shape, Size
from pyro_ssl.options import checked


class SDGM(AuxiliaryModel):
    """Skip deep generative model: x depends on two latents, z and, below it, a.

    The guide is that of `ADGM`. The generative program is::

        p(y) = Categorical(label_prior)    p(z) = Normal(0, I_D)
        p(a|y,z) = Normal(loc(z, y), diag scale(z, y)^2)
        p(x|a,y,z) = likelihood(decoder(z, a, y))

    and the objective that of `ADGM`, with p(x|a,y,z) p(a|y,z) in place of p(x|y,z) p(a|x,y,z).
    Here a is not an auxiliary variable: p(x, y, z) depends on p(a|y,z).

    The published accuracy is 98.68 +- 0.07 % on MNIST with 100 labels. The authors' code does not
    shuffle rows here either; as far as is known, the remarks on `ADGM`'s figure apply here, too.

    Source: as `ADGM`.

    Differs from the paper: as `ADGM` does. In the authors' code, batch norm takes statistics over
    rows, draws and all classes alike; it takes running averages from a run with q(y|a,x) in place
    of the label.

    Args:
        input_shape: shape of one input.
        num_classes: number of classes K.
        batch_norm: as for `AuxiliaryModel`; the paper's SDGM has it in all networks.
        alpha: as for `ADGM`; the authors' code uses 60, which is 0.1 N / N_l.
        options: the other options of `AuxiliaryModel`.

    Raises:
        ConfigError: if an option is invalid.
    """

    @checked
    def __init__(
        self,
        input_shape: Shape = (1, 28, 28),
        num_classes: Size = 10,
        *,
        batch_norm: BatchNorm = "separate",
        alpha: NotNegative = 60.0,
        **options: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, batch_norm=batch_norm, alpha=alpha, **options)

    @checks_data
    def decode(self, zs: Tensor, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the mean of p(x|a,y,z,c), `[B, *input_shape]`, at a the mean of p(a|y,z).

        In evaluation mode; arguments as for `AuxiliaryModel.decode`.
        """
        with evaluating(self):
            outputs = self._outputs(zs, ys, covariates, self._p_a(zs, ys).mean)
            return self._mean_of(outputs, covariates)

    def _generative_networks(self, make: NetworkMaker) -> tuple[nn.Module, nn.Module]:
        latent, classes, norm = self.latent_dim, self.num_classes, self.batch_norm
        dims, auxiliary = self.hidden_dims[::-1], self.auxiliary_dim
        of_a = MLP(latent, dims, 2 * auxiliary, classes, self.activation, norm)
        return make.decoder(None, latent, classes, norm, beside=auxiliary), of_a

    def _generate(self, rows: Rows, ys: Tensor, zs: Tensor, apart: bool) -> None:
        given = self._covariates(rows.xs)
        a = pyro.sample("a", self._p_a(zs, ys, apart).to_event(1))
        outputs = self._outputs(zs, ys, given, a, apart)
        self._observe_inputs(rows.xs, self._p_x_of(outputs, given))

    def _p_a(self, zs: Tensor, ys: Tensor, apart: bool = False) -> dist.Normal:
        return normal_of(self.auxiliary_decoder(zs, ys, apart), 1e-2)

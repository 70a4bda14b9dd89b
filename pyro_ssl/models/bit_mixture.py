"""A mixture of Gaussians as a VAE of a few bits, which shows what a factorised encoder costs."""

import math
from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods import Gaussian, Likelihood
from pyro_ssl.models.base import PyroModel
from pyro_ssl.models.rows import Batch
from pyro_ssl.nets.mlp import MLP, Activation
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.option_kinds import Positive, Widths
from pyro_ssl.options import checked


class BitMixture(PyroModel):
    """Mixture of 2^B Gaussians in D dimensions, whose components are numbered by B bits.

    Generative program, where the code z, from 0 to 2^B - 1, has bits z_1 (the highest) to z_B::

        p(z) = 2^-B          p(x|z) = Normal(centre_z, scale^2 I_D)

    Guide, with an MLP of x that ends in B logits or in 2^B scores::

        q(z|x) = prod_b Bernoulli(z_b; logit_b(x))        factorised
        q(z|x) = Categorical(scores(x))                   full

    The code is summed out, so that the objective, the ELBO::

        sum_z q(z|x) (log p(x|z) + log p(z) - log q(z|x))  =  log p(x) - KL(q(z|x) || p(z|x))

    is exact, as are evidence and posterior. The centres of p(x|z) are learned; the scale is
    given. A full encoder can make the KL divergence 0. A factorised encoder can do so only where
    the bits of p(z|x) are independent; joint training of encoder and decoder therefore moves the
    centres until the bits are independent, at the expense of the evidence.

    Source: Shekhovtsov, Schlesinger, Flach, "VAE approximation error: ELBO and exponential
    families", ICLR 2022.

    Differs from the paper: encoders are MLPs; the caller chooses centres, scale and sizes.

    Args:
        initial_centres: initial means of the components, 2^B rows of D numbers.
        scale: standard deviation of each component in each direction.
        factorised: make the bits independent in the encoder.
        hidden_dims: widths of the encoder's hidden layers.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.

    Attributes:
        bits: the bits of every code `[2^B, B]`, 0 or 1.
        centres: the current means, a parameter `[2^B, D]`.

    Raises:
        ConfigError: if the number of centres is not 2, 4, 8 and so on, or `scale` is not positive.
    """

    likelihood: Likelihood = Gaussian()
    bits: Tensor

    @checked
    def __init__(
        self,
        initial_centres: Sequence[Sequence[float]],
        scale: Positive = 1.0,
        factorised: bool = True,
        hidden_dims: Widths = (64, 64),
        activation: Activation = "tanh",
    ) -> None:
        number = len(initial_centres)
        if number < 2 or number & (number - 1):
            raise ConfigError(
                f"initial_centres are {number}, expected 2, 4, 8 or another power of 2"
            )
        if len({len(row) for row in initial_centres}) > 1 or not initial_centres[0]:
            raise ConfigError(
                "initial_centres are points of different dimensions, or of none: expected a point "
                "[D] for each component"
            )
        start = torch.tensor(initial_centres, dtype=torch.get_default_dtype())
        super().__init__(tuple(start.shape[1:]))
        num_bits = number.bit_length() - 1
        self.initial_centres = tuple(tuple(row) for row in initial_centres)
        self.scale = scale
        self.factorised = factorised
        self.hidden_dims = tuple(hidden_dims)
        self.activation = activation
        self.centres = nn.Parameter(start)
        powers = 2 ** torch.arange(num_bits - 1, -1, -1)
        bits = (torch.arange(number).unsqueeze(-1) // powers % 2).to(start.dtype)
        self.register_buffer("bits", bits, persistent=False)
        outputs = num_bits if factorised else number
        self.encoder = MLP(start.shape[1], hidden_dims, outputs, activation=activation)

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(x, z) on points `xs` `[N, D]`; `ys` only tells which rows are labelled."""
        pyro.module(self._name, self)
        for rows in self._batch(xs, ys).parts():
            with rows.plate():
                z = pyro.sample("z", dist.Categorical(logits=rows.xs.new_zeros(len(self.bits))))
                pyro.sample("x", self._p_x(self.centres[z]), obs=rows.xs)

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run q(z|x), the code enumerated; arguments as for `model`."""
        pyro.module(self._name, self)
        for rows in self._batch(xs, ys).parts():
            with rows.plate():
                q_z = dist.Categorical(logits=self.log_q(rows.xs))
                pyro.sample("z", q_z, infer={"enumerate": "parallel"})

    def log_q(self, xs: Tensor) -> Tensor:
        """Return log q(z|x) of every code, `[N, 2^B]`, for points `xs` `[N, D]`."""
        outputs = self.encoder(xs)
        if not self.factorised:
            return outputs.log_softmax(-1)
        on, off = F.logsigmoid(outputs), F.logsigmoid(-outputs)
        # Not a matrix product, which autocast would compute in bfloat16.
        return (on.unsqueeze(-2) * self.bits + off.unsqueeze(-2) * (1 - self.bits)).sum(-1)

    def log_joint(self, xs: Tensor) -> Tensor:
        """Return log p(x, z) of every code in nats, `[N, 2^B]`, for points `xs` `[N, D]`."""
        log_p_x = self._p_x(self.centres).log_prob(xs.unsqueeze(-2))
        return log_p_x - math.log(len(self.bits))

    def _p_x(self, loc: Tensor) -> dist.TorchDistribution:
        # A tensor, since a Python number would be copied to the device each time.
        return dist.Normal(loc, loc.new_full((), self.scale)).to_event(1)

    def bounds(self, xs: Tensor) -> tuple[Tensor, Tensor]:
        """Return ELBO and evidence log p(x), each `[N]` in nats, of points `xs` `[N, D]`.

        Their difference is the KL divergence of q(z|x) from the posterior.
        """
        self.check(xs)
        with evaluating(self):
            log_q, log_joint = self.log_q(xs), self.log_joint(xs)
        return (log_q.exp() * (log_joint - log_q)).sum(-1), log_joint.logsumexp(-1)

"""VAE: the variational autoencoder of Kingma and Welling (2014), M1 of Kingma et al. (2014)."""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.elbos.importance import ImportanceWeighted_ELBO
from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods import Bernoulli, Gaussian, Laplace, StudentT
from pyro_ssl.likelihoods.base import Family
from pyro_ssl.models.base import PyroModel
from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.latent_prior import LatentPrior, MixturePrior, VampPrior
from pyro_ssl.models.networks import NetworkMaker
from pyro_ssl.models.normal import normal_of, standard_normal
from pyro_ssl.models.rows import Batch, Rows
from pyro_ssl.nets.given import Network
from pyro_ssl.nets.mlp import Activation
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.option_kinds import Natural, Shape, Size, Widths
from pyro_ssl.options import checked


class VAE(PyroModel):
    """Variational autoencoder; called M1 where a classifier or an M2 uses its latents as inputs.

    Generative program, with D latent dimensions::

        p(z) = Normal(0, I_D)    p(x|z) = likelihood(decoder(z)), Bernoulli unless said otherwise

    Guide::

        q(z|x) = Normal(loc(x), diag scale(x)^2)

    Objective, maximised, for each row, labelled or not (labels are not used)::

        ELBO(x) = E_q(z|x)[log p(x|z)] - KL(q(z|x) || p(z))

    with the KL in closed form (appendix B of Kingma and Welling) and one draw of z for the rest.
    With a learned `prior` the KL is estimated from that draw, too. `importance_weighted` maximises
    a tighter bound, see `ImportanceWeighted_ELBO`.

    Source: Kingma, Welling, "Auto-encoding variational Bayes", ICLR 2014, sections 2 and 3; as M1:
    Kingma, Rezende, Mohamed, Welling, "Semi-supervised learning with deep generative models",
    NeurIPS 2014, eq. 1, 3 and 5. Learned priors: Tomczak, Welling, "VAE with a VampPrior", AISTATS
    2018, eq. 9 and section 4.2.

    Differs from the papers: the widths are those of the authors' code; scales are softplus of the
    network's output plus 1e-4 (in p(x|z) plus `min_scale` of `Gaussian`), not the exponential of
    half a log-variance; batch norm and other likelihoods are options; no prior on the weights,
    which are initialised as torch does.

    Args:
        input_shape: shape of one input, with values that the likelihood takes.
        latent_dim: number of latent dimensions D.
        hidden_dims: widths of the encoder's hidden layers, reversed in the decoder.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        batch_norm: use batch norm in both networks.
        likelihood: the family of p(x|z), an object or a name: `Gaussian(0.1)`, `"gaussian"` (a
            scale learned for each value and z); see `pyro_ssl.likelihoods`.
        encoder: your own network instead of the library's. It is called with inputs
            `[N, *feature_shape]` of the likelihood, and returns `[N, 2 D]`: locations, then scales
            before softplus. `hidden_dims` and `batch_norm` do not apply to it.
        decoder: your own network, called with latents `[N, D]`; returns `[N, *output_shape]` of the
            likelihood.
        prior: p(z): `normal`, as above; `mixture` of `num_components` normal distributions, all
            learned; or `vamp`, the mean of q(z|u_k) over as many learned pseudo-inputs u_k, for
            real-valued inputs and pixels, without batch norm, whose statistics they would change.
        num_components: components K of a learned prior.
        num_samples: draws of z for each row in training, over which the bound is a mean.
        importance_weighted: average weights instead of bounds over these draws.

    Raises:
        ConfigError: if an option is invalid, or a given network cannot be called as described, or
            options do not go together.
    """

    takes_covariates = True
    # Whether z is latent at all.
    _draws_z = True

    @checked
    def __init__(
        self,
        input_shape: Shape = (1, 28, 28),
        latent_dim: Size = 50,
        hidden_dims: Widths = (500, 500),
        activation: Activation = "softplus",
        batch_norm: bool = False,
        likelihood: Family = "bernoulli",
        encoder: Network = None,
        decoder: Network = None,
        prior: LatentPrior = "normal",
        num_components: Size = 500,
        num_samples: Size = 1,
        importance_weighted: bool = False,
    ) -> None:
        super().__init__(input_shape)
        self._set_likelihood(likelihood)
        self.latent_dim = latent_dim
        self.hidden_dims = tuple(hidden_dims)
        self.activation = activation
        self.batch_norm = batch_norm
        self._output_shape = self.likelihood.output_shape(self.input_shape)
        make = NetworkMaker(self.likelihood, self.input_shape, hidden_dims, activation)
        self.encoder = make.encoder(encoder, "encoder", 2 * latent_dim, batch_norm=batch_norm)
        self.decoder = make.decoder(decoder, latent_dim, batch_norm=batch_norm)
        self.prior, self.num_components = prior, num_components
        self.num_samples, self.importance_weighted = num_samples, importance_weighted
        self._check_latent_options()
        if prior == "mixture":
            self.latent_prior: nn.Module = MixturePrior(latent_dim, num_components)
        elif prior == "vamp":
            within_unit = not self.likelihood.takes_real_values
            self.latent_prior = VampPrior(self.input_shape, num_components, within_unit)

    def _check_latent_options(self) -> None:
        """Check that what p(z) and the bound are goes with the rest."""
        plain = self.prior == "normal" and self.num_samples == 1 and not self.importance_weighted
        if not (self._draws_z or plain):
            raise ConfigError(
                f"prior, num_samples and importance_weighted are about draws of z, but "
                f"{type(self).__name__} draws none: leave them out, or use VAE"
            )
        if self.prior != "vamp":
            return
        if self.batch_norm:
            raise ConfigError(
                "prior is 'vamp', whose pseudo-inputs would change the statistics of batch norm: "
                "use batch_norm=False, or prior='mixture'"
            )
        if not isinstance(self.likelihood, (Bernoulli, Gaussian, Laplace, StudentT)):
            raise ConfigError(
                "prior is 'vamp', whose pseudo-inputs are real numbers, but the likelihood is "
                f"{type(self.likelihood).__name__}: use prior='mixture'"
            )

    def make_elbo(self) -> ELBO:
        """Return the ELBO, its KL in closed form if p(z) is normal; or the weighted bound."""
        if self.importance_weighted:
            return ImportanceWeighted_ELBO(self.num_samples)
        return StaticEnum_ELBO(1, closed_form_kl=True, num_particles=self.num_samples)

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(x, z) on `xs` `[B, *input_shape]`; `ys` only tells which rows are labelled."""
        pyro.module(self._name, self)
        batch = self._batch(xs, ys)
        prior = self.p_z(batch.xs)
        parts, zs = batch.parts(), []
        for rows in parts:
            with rows.plate():
                zs.append(pyro.sample("z", prior))
        self.observe(parts, zs)

    def observe(self, parts: list[Rows], zs: list[Tensor]) -> None:
        """Observe the inputs of `parts` given their latents `[..., n, D]`, as sites "x".

        The decoder runs once for all rows, so that they share the statistics of batch norm.
        """
        given = [self._covariates(rows.xs) for rows in parts]
        seen = [self._beside(z, c) for z, c in zip(zs, given, strict=True)]
        outputs = self.decoder(torch.cat(seen, -2)).split([len(rows.xs) for rows in parts], -2)
        for rows, of_rows, covariates in zip(parts, outputs, given, strict=True):
            of_rows = of_rows.unflatten(-1, self._output_shape)
            with rows.plate():
                self._observe_inputs(rows.xs, self._p_x_of(of_rows, covariates))

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run q(z | x); arguments as for `model`."""
        pyro.module(self._name, self)
        batch = self._batch(xs, ys)
        q_z = self.q_z(batch.xs).base_dist
        for rows in batch.parts():
            with rows.plate():
                q_rows = dist.Normal(q_z.loc[rows.index], q_z.scale[rows.index])
                pyro.sample("z", q_rows.to_event(1))

    def p_z(self, like: Tensor) -> dist.TorchDistribution:
        """Return p(z), batch shape `()`, event shape `[D]`, of dtype and device of `like`."""
        if self.prior == "normal":
            return standard_normal(like, self.latent_dim)
        if self.prior == "mixture":
            return self.latent_prior()
        return self.latent_prior(lambda us: self.encoder(self._flat(us)))

    def q_z(self, xs: Tensor) -> dist.TorchDistribution:
        """Return q(z|x), batch shape `[B]`, event shape `[D]`, of `xs` `[B, *input_shape]`."""
        return normal_of(self.encoder(self._flat(xs))).to_event(1)

    def p_x(self, zs: Tensor, covariates: Tensor | None = None) -> dist.TorchDistribution:
        """Return p(x|z), batch shape `[...]`, event shape `input_shape`, of `zs` `[..., D]`."""
        return self._p_x_of(self._outputs(zs, covariates), covariates)

    def _outputs(self, zs: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the decoder's outputs, `[..., *output_shape]` of the likelihood."""
        return self.decoder(self._beside(zs, covariates)).unflatten(-1, self._output_shape)

    @checks_data
    def encode(self, xs: Tensor) -> tuple[Tensor, Tensor]:
        """Return location and scale of q(z|x), each `[B, D]`, in evaluation mode."""
        with evaluating(self):
            q_z = self.q_z(xs).base_dist
            return q_z.loc, q_z.scale

    @checks_data
    def decode(self, zs: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the mean of p(x|z), `[B, *input_shape]`, of `zs` `[B, D]`, in evaluation mode.

        With covariates `[B, C]`, for a `CovariateLikelihood`, return the mean of p(x|z,c).
        """
        with evaluating(self):
            return self._mean_of(self._outputs(zs, covariates), covariates)

    @checks_data
    def sample(self, num: Natural, covariates: Tensor | None = None) -> Tensor:
        """Draw z `num` times from its prior; return the means of p(x|z), `[num, *input_shape]`."""
        parameter = next(self.parameters())
        if self.prior == "normal":
            zs = torch.randn(num, self.latent_dim, dtype=parameter.dtype, device=parameter.device)
        else:
            with evaluating(self):
                zs = self.p_z(parameter).sample((num,))
        return self.decode(zs, covariates)

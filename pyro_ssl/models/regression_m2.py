"""RegressionM2: the semi-supervised VAE of Kingma et al. (2014) with a real label."""

from collections.abc import Mapping
from typing import ClassVar

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO
from torch import Tensor

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.elbos.names import REGRESSION
from pyro_ssl.errors import DataError
from pyro_ssl.likelihoods.base import Family
from pyro_ssl.models.base import PyroModel
from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.networks import NetworkMaker
from pyro_ssl.models.normal import normal_of, standard_normal
from pyro_ssl.models.rows import Batch, Rows
from pyro_ssl.models.store import warn_of_unread_parameters
from pyro_ssl.models.terms import add_term
from pyro_ssl.nets.given import Network
from pyro_ssl.nets.mlp import Activation
from pyro_ssl.nets.modes import evaluating, warn_of_missing_statistics
from pyro_ssl.option_kinds import Dropout, NotNegative, Positive, Shape, Size, Widths
from pyro_ssl.options import checked


class RegressionM2(PyroModel):
    """Generative semi-supervised regression: M2 whose label y is a standardised real number.

    Generative program, with D latent dimensions::

        p(y) = Normal(0, 1)    p(z) = Normal(0, I_D)
        p(x|y,z) = likelihood(decoder(z, y)), Gaussian unless said otherwise

    Guide::

        q(y|x) = Normal(loc(x), scale(x)^2)    q(z|x,y) = Normal(loc(x, y), diag scale(x, y)^2)

    Objective, maximised, for a labelled row (eq. 6) and an unlabelled one (eq. 7, with an integral
    over labels instead of a sum)::

        -L(x,y) = E_q(z|x,y)[log p(x|y,z) + log p(y) + log p(z) - log q(z|x,y)]
        -U(x)   = E_q(y|x)[-L(x,y) - log q(y|x)]

    plus a term for labelled rows, alpha log q(y|x) (eq. 9). An unknown y, like z, is drawn once for
    each row, from q(y|x) by reparameterisation; KL(q(y|x) || p(y)) and KL(q(z|x,y) || p(z)) are in
    closed form. `pyro_ssl.infer.fit` maximises the objective per example that `M2` states: alpha
    multiplies the mean of log q(y|x) over labelled rows. A plain call sums over its rows.

    Labels `ys` are floating, NaN where unknown, and standardised to the mean 0 and deviation 1 of
    p(y); `SemiSupervisedVAERegressor` standardises them for you. Give known labels as `ys`: do not
    condition the model on "y".

    Source: Kingma, Rezende, Mohamed, Welling, "Semi-supervised learning with deep generative
    models", NeurIPS 2014, section 2; with a continuous label: Siddharth et al., "Learning
    disentangled representations with semi-supervised deep generative models", NeurIPS 2017,
    section 3. pyroVED calls this model ss-reg-VAE.

    Differs from the papers: a continuous label in M2's own factorisation; the scale of q(z|x,y)
    depends on x and y; the label enters the first layer of encoder and decoder times a learned
    vector (the same function as concatenating it); scales are softplus of the network's output plus
    a least scale; no prior on the weights.

    Args:
        input_shape: shape of one input, with values that the likelihood takes.
        latent_dim: number of latent dimensions D.
        hidden_dims: widths of the hidden layers of all three networks, reversed in the decoder.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        batch_norm: batch norm in the network of q(y|x).
        input_dropout: dropout probability at the input of that network.
        alpha: weight of the mean of log q(y|x) over labelled rows beside the bound per example,
            both in nats.
        min_scale: least scale of q(y|x): without one, a network that fits a few labels exactly
            becomes overconfident about all others.
        channels: as for `M2`: convolutions that both encoders share, and convolutions in the
            decoder.
        likelihood: the family of p(x|y,z), an object or a name; see `pyro_ssl.likelihoods`.
        regressor: your own network instead of the library's. It is called with inputs
            `[N, *feature_shape]` of the likelihood, and returns `[N, 2]`: location, then scale
            before softplus.
        encoder: your own network, called with the same inputs and with labels `[N, 1]`; returns
            `[N, 2 D]`: locations, then scales before softplus.
        decoder: your own network, called with latents `[N, D]` and labels `[N, 1]`; returns
            `[N, *output_shape]` of the likelihood.

    Raises:
        ConfigError: if an option is invalid, or a given network cannot be called as described.
    """

    real_labels = True
    takes_covariates = True
    # Early in training, y should learn the label, not z.
    recommended_anneal: ClassVar[Mapping[str, tuple[float, float, float]]] = {
        "kl_z": (3.0, 1.0, 0.3)
    }

    @checked
    def __init__(
        self,
        input_shape: Shape,
        latent_dim: Size = 5,
        hidden_dims: Widths = (64, 64),
        activation: Activation = "relu",
        batch_norm: bool = False,
        input_dropout: Dropout = 0.0,
        alpha: NotNegative = 3.0,
        min_scale: Positive = 0.1,
        channels: Size | None = None,
        likelihood: Family = "gaussian",
        regressor: Network = None,
        encoder: Network = None,
        decoder: Network = None,
    ) -> None:
        super().__init__(input_shape)
        self._set_likelihood(likelihood)
        self.latent_dim, self.hidden_dims = latent_dim, tuple(hidden_dims)
        self.activation, self.channels = activation, channels
        self.batch_norm, self.input_dropout = bool(batch_norm), input_dropout
        self.alpha, self.min_scale = alpha, min_scale

        make = NetworkMaker(self.likelihood, self.input_shape, hidden_dims, activation, channels)
        self.image_encoder, self.image_decoder = make.image_encoder, make.image_decoder
        norm = self.batch_norm
        self.regressor = make.encoder(regressor, "regressor", 2, None, norm, input_dropout)
        self.encoder = make.encoder(encoder, "encoder", 2 * latent_dim, 1)
        self.decoder = make.decoder(decoder, latent_dim, 1)

    def make_elbo(self) -> ELBO:
        """Return the ELBO with its KLs in closed form."""
        return StaticEnum_ELBO(max_plate_nesting=1, closed_form_kl=True)

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(x, y, z) on `xs` `[B, *input_shape]`; `ys` None or floats `[B]`, NaN if unknown."""
        pyro.module(self._name, self)
        batch = self._batch(xs, ys)
        prior = standard_normal(batch.xs, self.latent_dim)
        for rows in batch.parts():
            with rows.plate():
                y = pyro.sample("y", _standard(rows.xs), obs=_known(rows))
                z = pyro.sample("z", prior)
                given = self._covariates(rows.xs)
                self._observe_inputs(rows.xs, self._p_x_of(self._outputs(z, y, given), given))

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run q(y, z | x), "y" drawn where it is unknown; arguments as for `model`."""
        pyro.module(self._name, self)
        batch = self._batch(xs, ys)
        features = self._encoded(batch.xs)
        q_y = self._q_y(features)
        for rows in batch.parts():
            of_rows = dist.Normal(q_y.loc[rows.index], q_y.scale[rows.index])
            with rows.plate():
                y = _known(rows)
                if y is None:
                    y = pyro.sample("y", of_rows)
                elif self.alpha > 0:
                    add_term(REGRESSION, -of_rows.log_prob(y), self.alpha)
                pyro.sample("z", self._q_z(features[rows.index], y))

    def q_y(self, xs: Tensor) -> dist.Normal:
        """Return q(y|x), batch shape `[B]`, for inputs `xs` `[B, *input_shape]`."""
        return self._q_y(self._encoded(xs))

    @torch.no_grad()
    def predict(self, xs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of q(y|x), each `[B]`, in evaluation mode.

        Args:
            xs: inputs `[B, *input_shape]` that the likelihood takes, of the parameters' dtype.

        Raises:
            DataError: if `xs` has the wrong shape, dtype or range, or is not finite.
        """
        self.check(xs)
        warn_of_missing_statistics(self)
        warn_of_unread_parameters(self, self._name)
        with evaluating(self):
            q_y = self.q_y(xs)
            return q_y.loc, q_y.scale

    @checks_data
    def encode(self, xs: Tensor, ys: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return location and scale of q(z|x,y), each `[B, D]`, in evaluation mode.

        If `ys` `[B]` is None, the means of q(y|x) take its place.
        """
        with evaluating(self):
            q_z = self._q_z(self._encoded(xs), self.q_y(xs).loc if ys is None else ys).base_dist
            return q_z.loc, q_z.scale

    @checks_data
    def decode(self, zs: Tensor, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the mean of p(x|y,z), `[B, *input_shape]`, in evaluation mode.

        Args:
            zs: latents `[B, D]`.
            ys: labels `[B]`, floating.
            covariates: c, `[B, C]`, if the likelihood has any.
        """
        with evaluating(self):
            return self._mean_of(self._outputs(zs, ys, covariates), covariates)

    @checks_data
    def sample(self, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Draw z and unknown labels (NaN) of `ys` `[B]` from their priors; return the means."""
        zs = torch.randn(len(ys), self.latent_dim, dtype=ys.dtype, device=ys.device)
        known = torch.where(ys.isnan(), torch.randn_like(ys), ys)
        return self.decode(zs, known, covariates)

    def _encoded(self, xs: Tensor) -> Tensor:
        """Return the features that both encoders see, `[B, F]`."""
        return self.image_encoder(self._features(xs))

    def _q_y(self, features: Tensor) -> dist.Normal:
        q_y = normal_of(self.regressor(features), self.min_scale)
        return dist.Normal(q_y.loc[..., 0], q_y.scale[..., 0])

    def _q_z(self, features: Tensor, ys: Tensor) -> dist.TorchDistribution:
        return normal_of(self.encoder(features, ys.unsqueeze(-1))).to_event(1)

    def _outputs(self, zs: Tensor, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the decoder's outputs, `[..., *output_shape]` of the likelihood."""
        return self.image_decoder(self.decoder(self._beside(zs, covariates), ys.unsqueeze(-1)))


def _standard(like: Tensor) -> dist.Normal:
    """Return Normal(0, 1) of the dtype and device of `like`."""
    origin = like.new_zeros(())
    return dist.Normal(origin, torch.ones_like(origin))


def _known(rows: Rows) -> Tensor | None:
    """Return the labels of `rows`, or None if they are unknown.

    Raises:
        DataError: if they are integers, where -1 would stand for an unknown label.
    """
    if rows.ys is not None and not rows.ys.is_floating_point():
        raise DataError(
            f"ys is {rows.ys.dtype}, expected floating-point labels, NaN where unknown: use "
            "ys.to(xs.dtype)"
        )
    return rows.ys

"""CCVAE: the characteristic capturing VAE of Joy et al. (2021), for one label a row."""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import ELBO
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_ssl.elbos import names
from pyro_ssl.elbos.label_weighted import LabelWeighted_ELBO, RowWeight
from pyro_ssl.likelihoods.base import Family
from pyro_ssl.models.base import SSLModel
from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.label_prior import Prior
from pyro_ssl.models.labels import label_in_guide
from pyro_ssl.models.networks import NetworkMaker
from pyro_ssl.models.normal import mixture_moments, normal_of, normal_points, standard_normal
from pyro_ssl.models.rows import Batch, Rows, side_by_side
from pyro_ssl.models.terms import add_term
from pyro_ssl.nets.given import Network
from pyro_ssl.nets.mlp import Activation
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.nets.norm import BatchNorm, as_one_batch_norm
from pyro_ssl.option_kinds import Dropout, Natural, NotNegative, Positive, Shape, Size, Widths
from pyro_ssl.options import checked

# Number of draws over which q(y|x) is averaged to classify.
_POINTS = 128


class CCVAE(SSLModel):
    """Characteristic capturing VAE: q(y|.) sees some of the latents, and the decoder no label.

    Generative program, with K classes, z = (z_class, z_style), K and S dimensions::

        p(y) = Categorical(label_prior)      p(z_class|y) = Normal(loc_y, diag scale_y^2)
        p(z_style) = Normal(0, I_S)          p(x|z) = likelihood(decoder(z))

    Guide::

        q(z|x) = Normal(loc(x), diag scale(x)^2)     q(y|z_class) = Categorical(a * z_class + b)

    with vectors a and b of K numbers: the logit of a class is a function of one dimension. With
    w = q(y|z_class) / q(y|x), the objective, maximised, of an unlabelled row (eq. 3) and a
    labelled one (eq. 4) is::

        E_q(z|x)[sum_y q(y|z_class) (log p(x|z) + log p(z|y) p(y) - log q(y|z_class) q(z|x))]
        E_q(z|x)[w (log p(x|z) + log p(z|y) - log q(y|z_class) - log q(z|x))]
            + log p(y) + c log q(y|x),         q(y|x) = E_q(z|x)[q(y|z_class)]

    where c = 1; `alpha` adds the mean of log q(y|x) over labelled rows to the bound per example, as
    in `M2`. q(y|x) is a mean over `num_samples` draws of z_class, in log space. As in the authors'
    code, the encoder gets no gradient from the numerator of w.

    Source: Joy, Schmon, Torr, Siddharth, Rainforth, "Capturing label characteristics in VAEs".

    Differs from the paper: a row has one label of K classes (for several: `MultiLabelCCVAE`); by
    default, networks are fully connected, p(y) is uniform and p(x|z) is Bernoulli; scales are
    softplus of the network's output plus 1e-4, in p(z_class|y) plus 1e-3; `kl_weight` and `alpha`
    are options; the sum over labels of unlabelled rows is exact (the authors' code draws one);
    log p(z|y) - log q(z|x) is evaluated at q(y|z_class)'s draw of z (the authors' code: in closed
    form); z_class itself is one of the draws for q(y|x), so that w is at most `num_samples`.

    Args:
        input_shape: shape of one input, with values that the likelihood takes.
        num_classes: number of classes K, and dimensions of z_class.
        style_dim: dimensions S of z_style.
        hidden_dims: widths of the encoder's hidden layers, reversed in the decoder.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        batch_norm: batch norm in the encoder, over labelled and unlabelled rows together.
        input_dropout: dropout probability at the encoder's input.
        likelihood: the family of p(x|z), as for `M2`.
        kl_weight: weight of log p(z|y) - log q(z|x); 1 for the objective above.
        alpha: as for `M2`; it adds to the weight c of log q(y|x). 0 is the paper's objective.
        num_samples: number of draws of z_class over which q(y|x) of labelled rows is averaged.
        channels: as for `M2`.
        label_prior: p(y): `"uniform"`, K probabilities, or `"learned"` from the data.
        encoder: a network as for `VAE`, with K + S latents; with `channels`, called on `[N, F]`.
        decoder: likewise.

    Raises:
        ConfigError: if an option is invalid, or a given network cannot be called as described.
    """

    takes_covariates = True
    points: Tensor
    # Number of label values that p(z_class|y) has parameters for; None for the K classes.
    _num_values: int | None = None

    @checked
    def __init__(
        self,
        input_shape: Shape = (1, 28, 28),
        num_classes: Size = 10,
        style_dim: Natural = 40,
        hidden_dims: Widths = (500, 500),
        activation: Activation = "relu",
        batch_norm: BatchNorm = False,
        input_dropout: Dropout = 0.0,
        likelihood: Family = "bernoulli",
        kl_weight: Positive = 1.0,
        alpha: NotNegative = 0.0,
        num_samples: Size = 100,
        channels: Size | None = None,
        label_prior: Prior = "uniform",
        encoder: Network = None,
        decoder: Network = None,
    ) -> None:
        super().__init__(input_shape, num_classes)
        self._set_likelihood(likelihood)
        batch_norm = as_one_batch_norm(batch_norm, "but CCVAE encodes all rows together")
        self.style_dim, self.num_samples = style_dim, num_samples
        self.kl_weight, self.alpha = kl_weight, alpha
        self.hidden_dims, self.activation, self.channels = tuple(hidden_dims), activation, channels
        self.batch_norm, self.input_dropout = batch_norm, input_dropout
        self._set_label_prior(label_prior)

        make = NetworkMaker(self.likelihood, self.input_shape, hidden_dims, activation, channels)
        self.image_encoder, self.image_decoder = make.image_encoder, make.image_decoder
        latents, options = num_classes + style_dim, (None, batch_norm, input_dropout)
        self.num_latents = latents
        self.encoder = make.encoder(encoder, "encoder", 2 * latents, *options)
        self.decoder = make.decoder(decoder, latents)

        self.prior_loc = nn.Parameter(torch.zeros(self._num_values or num_classes, num_classes))
        # The softplus of this number is 1.
        self.prior_raw_scale = nn.Parameter(torch.full_like(self.prior_loc, math.log(math.e - 1)))
        self.slope = nn.Parameter(torch.ones(num_classes))
        self.intercept = nn.Parameter(torch.zeros(num_classes))
        points = normal_points(_POINTS, num_classes).to(self.slope.device)
        self.register_buffer("points", points, persistent=False)

    def make_elbo(self) -> ELBO:
        """Return `LabelWeighted_ELBO`; no other ELBO computes this objective."""
        return LabelWeighted_ELBO(max_plate_nesting=self.max_plate_nesting)

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(x, y, z) on `xs` `[B, *input_shape]` and `ys`, None or `[B]` with -1 if unknown."""
        pyro.module(self._name, self)
        batch = self._batch(xs, ys)
        prior = standard_normal(batch.xs, self.style_dim)
        for rows in batch.parts():
            with rows.plate():
                z_class = self._label_in_model(rows)
                with poutine.scale(scale=self.kl_weight):
                    z_style = pyro.sample("z_style", prior)
                zs, given = side_by_side(z_class, z_style), self._covariates(rows.xs)
                self._observe_inputs(rows.xs, self._p_x_of(self._outputs(zs, given), given))

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run q(z | x) q(y | z_class), "y" enumerated where unknown; arguments as for `model`."""
        pyro.module(self._name, self)
        batch = self._batch(xs, ys)
        loc, scale = self._loc_and_scale(batch.xs)
        for rows in batch.parts():
            (loc_class, loc_style), (scale_class, scale_style) = (
                t[rows.index].split([self.num_classes, self.style_dim], -1) for t in (loc, scale)
            )
            with rows.plate():
                z_class = self._label_in_guide(rows, loc_class, scale_class)
                with poutine.scale(scale=self.kl_weight):
                    pyro.sample("z_style", dist.Normal(loc_style, scale_style).to_event(1))
                if rows.ys is not None:
                    self._weigh(rows.ys, z_class, loc_class, scale_class)

    def _weigh(self, ys: Tensor, z_class: Tensor, loc: Tensor, scale: Tensor) -> None:
        """Add to the guide log q of known labels `ys`, and the weight w of their rows."""
        shape = (self.num_samples - 1, *z_class.shape)  # Several particles have the same loc.
        noise = torch.randn(shape, dtype=loc.dtype, device=loc.device)
        draws = torch.cat([z_class.unsqueeze(0), loc + scale * noise])
        log_q_y = self._log_q(ys, draws).logsumexp(0) - math.log(self.num_samples)
        weight = (self._log_q(ys, z_class.detach()) - log_q_y).exp()
        with poutine.mask(mask=False):
            pyro.sample(names.WEIGHT, RowWeight(weight), infer={"is_auxiliary": True})
        pyro.factor(names.kl("y"), self._log_q(ys, z_class), has_rsample=True)
        add_term(names.CLASSIFICATION, -log_q_y, self.alpha, bound_weight=1.0)

    # Overridden by models with other kinds of labels:
    def _complete(self, ys: Tensor) -> Tensor:
        """Return labels with unknown ones drawn from p(y)."""
        return self.p_y.complete(ys)

    def _label_in_model(self, rows: Rows) -> Tensor:
        """Sample "y" and "z_class" from the prior, within the plate of the rows; return z_class."""
        y = pyro.sample("y", dist.Categorical(logits=self.p_y(rows.xs)), obs=rows.ys)
        with poutine.scale(scale=self.kl_weight):
            return pyro.sample("z_class", self._p_z_class(y).to_event(1))

    def _label_in_guide(self, rows: Rows, loc: Tensor, scale: Tensor) -> Tensor:
        """Sample "z_class", and "y" where it is unknown; return z_class `[n, K]`."""
        with poutine.scale(scale=self.kl_weight):
            z_class = pyro.sample("z_class", dist.Normal(loc, scale).to_event(1))
        if rows.ys is None:
            label_in_guide(None, self._label_logits(z_class), self.alpha)
        return z_class

    def _log_q(self, ys: Tensor, z_class: Tensor) -> Tensor:
        """Return log q(y|z_class) of known labels, `[..., n]`."""
        return dist.Categorical(logits=self._label_logits(z_class)).log_prob(ys)

    def _mean_over_draws(self, z_class: Tensor) -> Tensor:
        """Return the log of the mean of q(y|z_class), `[n, K]`, over draws `[M, n, K]`."""
        return self._label_logits(z_class).log_softmax(-1).logsumexp(0) - math.log(len(z_class))

    def _p_z_class(self, ys: Tensor) -> dist.Normal:
        """Return p(z_class|y), batch shape `[..., K]`."""
        return dist.Normal(self.prior_loc[ys], F.softplus(self.prior_raw_scale[ys]) + 1e-3)

    def class_logits(self, xs: Tensor) -> Tensor:
        """Return log q(y|x), `[B, K]`, of inputs: a mean over 128 fixed quasi-random points."""
        loc, scale = (t[..., : self.num_classes] for t in self._loc_and_scale(xs))
        return self._mean_over_draws(loc + scale * self.points.unsqueeze(1))

    def _label_logits(self, z_class: Tensor) -> Tensor:
        return self.slope * z_class + self.intercept

    def _outputs(self, zs: Tensor, covariates: Tensor | None) -> Tensor:
        return self.image_decoder(self.decoder(self._beside(zs, covariates)))

    def _loc_and_scale(self, xs: Tensor) -> tuple[Tensor, Tensor]:
        q_z = normal_of(self.encoder(self.image_encoder(self._features(xs))))
        return q_z.loc, q_z.scale

    @checks_data
    def encode(self, xs: Tensor, ys: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return location and scale of q(z|x), each `[B, K + S]`; `ys` are not used."""
        with evaluating(self):
            return self._loc_and_scale(xs)

    @checks_data
    def decode(self, zs: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the mean of p(x|z,c), `[B, *input_shape]`, of `zs` `[B, K + S]`, z_class first."""
        with evaluating(self):
            return self._mean_of(self._outputs(zs, covariates), covariates)

    @torch.no_grad()
    def prior_moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of z_class, each `[K]`, attributes being uniform."""
        scale = F.softplus(self.prior_raw_scale) + 1e-3
        return mixture_moments(self.prior_loc, scale, self.p_y.logits)

    @checks_data
    def sample(self, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Draw unknown labels (-1) of `ys` `[B]`, and z from p(z|y); return the means of p(x|z)."""
        z_class = self._p_z_class(self._complete(ys)).sample()
        z_style = torch.randn(len(ys), self.style_dim, dtype=z_class.dtype, device=z_class.device)
        return self.decode(torch.cat([z_class, z_style], -1), covariates)

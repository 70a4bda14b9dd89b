"""CCVAE: the characteristic capturing VAE of Joy et al. (2021), for one label a row."""

import math
from collections.abc import Sequence
from functools import partial

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import ELBO
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_ssl.elbos import names
from pyro_ssl.elbos.label_weighted import LabelWeighted_ELBO, RowWeight
from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods import Likelihood
from pyro_ssl.models.base import SSLModel, evaluating
from pyro_ssl.models.label_prior import LabelPrior, check_uniform
from pyro_ssl.models.labels import check_alpha
from pyro_ssl.models.rows import Batch, Rows
from pyro_ssl.models.terms import add_term
from pyro_ssl.nets.conv import image_nets
from pyro_ssl.nets.given import given_or
from pyro_ssl.nets.mlp import MLP, as_batch_norm

# Draws at which q(y|x) is averaged to classify.
_POINTS = 128


class CCVAE(SSLModel):
    """Characteristic capturing VAE: the label is read off a part of the latents, not put beside it.

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

    where c is 1, the term's weight in the bound; beside the bound per example, `alpha` adds its
    mean over labelled rows, as in `M2`. q(y|x) is the mean over `num_samples` draws of z_class, in
    log space. Of labelled rows these gradients flow: through w all but that of the numerator with
    respect to the encoder, since there z_class is detached; through everything else all. So does
    the authors' code.

    Source: Joy, Schmon, Torr, Siddharth, Rainforth, "Capturing label characteristics in VAEs", ICLR
    2021, section 4.

    Differs from the paper: it has several labels for each row, here is one of K classes (see
    `MultiLabelCCVAE`); networks are fully connected, p(y) is uniform, and p(x|z) is Bernoulli,
    unless said otherwise; scales are softplus of the network's output plus 1e-4, in p(z_class|y)
    plus 1e-3; `kl_weight` and `alpha` are options. The sum over labels of unlabelled rows is exact,
    where the authors' code draws one; log p(z|y) - log q(z|x) is evaluated at the draw of z that
    q(y|z_class) is of, as in the equations, where that code takes a KL divergence in closed form;
    the draws for q(y|x) begin with z_class itself, which bounds w by `num_samples`: else a
    draw that no other is like makes w overflow.

    In reports of training, `kl_y` of labelled rows is w log q(y|z_class), and their `elbo` leaves
    out log q(y|x), which is reported as `classification`.

    Args:
        input_shape: shape of one input, whose values are what the likelihood takes.
        num_classes: number of classes K, and dimensions of z_class.
        style_dim: dimensions S of z_style.
        hidden_dims: widths of the encoder's hidden layers, reversed in the decoder.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        batch_norm: batch norm in the encoder, over labelled and unlabelled rows together.
        input_dropout: probability of dropping each input of the encoder, in training.
        likelihood: the family of p(x|z), from `pyro_ssl.likelihoods` or the user's, or the name of
            one: `Laplace(0.3)`, `"laplace"`.
        kl_weight: weight of log p(z|y) - log q(z|x); 1 for the objective above.
        alpha: weight of the mean of log q(y|x) over labelled rows beside the bound per example,
            both in nats, on top of that term's weight in the bound; 0 for the paper's objective.
        num_samples: draws of z_class that q(y|x) of labelled rows is a mean of.
        channels: let the encoder see a `ConvEncoder` of so many channels of the image in place of
            its pixels (`input_dropout` is then of its outputs), and let the decoder end in a
            `ConvDecoder`; None for fully connected networks.
        label_prior: p(y): `"uniform"`, K probabilities, or `"learned"` from the data.
        encoder: a network in place of the library's, called as that of `VAE`, with K + S latents;
            where there are `channels`, with `[N, F]`, what is left of the inputs.
        decoder: likewise.

    Raises:
        ConfigError: if an option, or a given network's call, cannot work.
    """

    points: Tensor
    # What the model has in place of p(y), if it has none.
    _instead_of_prior: str | None = None

    def __init__(
        self,
        input_shape: tuple[int, ...] = (1, 28, 28),
        num_classes: int = 10,
        style_dim: int = 40,
        hidden_dims: Sequence[int] = (500, 500),
        activation: str = "relu",
        batch_norm: bool | str = False,
        input_dropout: float = 0.0,
        likelihood: str | Likelihood = "bernoulli",
        kl_weight: float = 1.0,
        alpha: float = 0.0,
        num_samples: int = 100,
        channels: int | None = None,
        label_prior: str | Sequence[float] = "uniform",
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__(input_shape, num_classes)
        if style_dim < 0:
            raise ConfigError(f"style_dim is {style_dim}, expected at least 0")
        self._set_likelihood(likelihood)
        if not 0 < kl_weight < math.inf:
            raise ConfigError(f"kl_weight is {kl_weight}, expected a positive number")
        if num_samples < 1:
            raise ConfigError(f"num_samples is {num_samples}, expected at least 1")
        batch_norm = as_batch_norm(batch_norm)
        if batch_norm == "separate":
            raise ConfigError('batch_norm is "separate", but CCVAE encodes all rows together')
        check_alpha(alpha)
        self.style_dim = style_dim
        self.hidden_dims = tuple(hidden_dims)
        self.activation = activation
        self.batch_norm = batch_norm
        self.input_dropout = input_dropout
        self.kl_weight = kl_weight
        self.alpha = alpha
        self.num_samples = num_samples
        self.channels = channels
        if self._instead_of_prior is not None:
            check_uniform(label_prior, f"{type(self).__name__} has {self._instead_of_prior}")
        self.p_y = LabelPrior(label_prior, num_classes)
        self.label_prior = self.p_y.option
        self._make_networks(encoder, decoder)
        self.prior_loc = nn.Parameter(torch.zeros(self._num_values(), num_classes))
        # softplus of it is 1.
        self.prior_raw_scale = nn.Parameter(torch.full_like(self.prior_loc, math.log(math.e - 1)))
        self.slope = nn.Parameter(torch.ones(num_classes))
        self.intercept = nn.Parameter(torch.zeros(num_classes))
        sobol = torch.quasirandom.SobolEngine(num_classes, scramble=True, seed=0)
        points = torch.special.ndtri(sobol.draw(_POINTS).clamp(1e-6, 1 - 1e-6))
        self.register_buffer("points", points.to(self.slope.device), persistent=False)

    def _make_networks(self, encoder: nn.Module | None, decoder: nn.Module | None) -> None:
        seen = self.likelihood.feature_shape(self.input_shape)
        made = self.likelihood.output_shape(self.input_shape)
        self.image_encoder, self.image_decoder = image_nets(
            seen, self.channels, self.activation, made
        )
        features, outputs = self.image_encoder.out_features, self.image_decoder.in_features
        seen, made = (seen, made) if self.channels is None else ((features,), (outputs,))
        dims, latents = self.hidden_dims, self.num_classes + self.style_dim

        regularised = self.activation, self.batch_norm, self.input_dropout
        own = partial(MLP, features, dims, 2 * latents, None, *regularised)
        self.encoder = given_or(encoder, "encoder", seen, (2 * latents,), None, own)
        own = partial(MLP, latents, dims[::-1], outputs, None, self.activation)
        self.decoder = given_or(decoder, "decoder", (latents,), made, None, own)

    def make_elbo(self) -> ELBO:
        """Return `LabelWeighted_ELBO`; no other has this objective."""
        return LabelWeighted_ELBO(max_plate_nesting=self.max_plate_nesting)

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(x, y, z) on `xs` `[B, *input_shape]` and `ys`, None or `[B]` with -1 if unknown."""
        pyro.module(self._name, self)
        batch = Batch.of(xs, ys)
        origin = batch.xs.new_zeros(self.style_dim)
        for rows in batch.parts():
            with rows.plate():
                z_class = self._label_in_model(rows)
                with poutine.scale(scale=self.kl_weight):
                    prior = dist.Normal(origin, torch.ones_like(origin)).to_event(1)
                    z_style = pyro.sample("z_style", prior)
                self._observe_inputs(rows.xs, self._p_x(torch.cat([z_class, z_style], -1)))

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run q(z | x) q(y | z_class), "y" enumerated where unknown; arguments as for `model`."""
        pyro.module(self._name, self)
        batch = Batch.of(xs, ys)
        loc, scale = self._loc_and_scale(batch.xs)
        sizes = [self.num_classes, self.style_dim]
        for rows in batch.parts():
            (loc_class, loc_style), (scale_class, scale_style) = (
                t[rows.index].split(sizes, -1) for t in (loc, scale)
            )
            with rows.plate():
                z_class = self._label_in_guide(rows, loc_class, scale_class)
                with poutine.scale(scale=self.kl_weight):
                    pyro.sample("z_style", dist.Normal(loc_style, scale_style).to_event(1))
                if rows.ys is not None:
                    self._weigh(rows.ys, z_class, loc_class, scale_class)

    def _weigh(self, ys: Tensor, z_class: Tensor, loc: Tensor, scale: Tensor) -> None:
        """Add to the guide what it says of known labels `ys`, and the weight w of their rows."""
        noise = torch.randn(self.num_samples - 1, *loc.shape, dtype=loc.dtype, device=loc.device)
        draws = torch.cat([z_class.unsqueeze(0), loc + scale * noise])
        log_q_y = self._log_q(ys, draws).logsumexp(0) - math.log(self.num_samples)
        weight = (self._log_q(ys, z_class.detach()) - log_q_y).exp()
        with poutine.mask(mask=False):
            pyro.sample(names.WEIGHT, RowWeight(weight), infer={"is_auxiliary": True})
        pyro.factor(names.kl("y"), self._log_q(ys, z_class), has_rsample=True)
        add_term(names.CLASSIFICATION, -log_q_y, self.alpha, bound_weight=1.0)

    # What other kinds of labels replace:

    def _complete(self, ys: Tensor) -> Tensor:
        """Return labels with unknown ones drawn from p(y)."""
        return self.p_y.complete(ys)

    def _num_values(self) -> int:
        """Return how many values of the label p(z_class|y) has parameters for."""
        return self.num_classes

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
            q_y = dist.Categorical(logits=self._label_logits(z_class))
            pyro.sample("y", q_y, infer={"enumerate": "parallel"})
        return z_class

    def _log_q(self, ys: Tensor, z_class: Tensor) -> Tensor:
        """Return log q(y|z_class) of known labels, `[..., n]`."""
        return dist.Categorical(logits=self._label_logits(z_class)).log_prob(ys)

    def _mean_over_draws(self, z_class: Tensor) -> Tensor:
        """Return the log of the mean of q(y|z_class), `[n, K]`, over draws `[M, n, K]`."""
        log_q = self._label_logits(z_class).log_softmax(-1)
        return log_q.logsumexp(0) - math.log(len(z_class))

    def _p_z_class(self, ys: Tensor) -> dist.Normal:
        """Return p(z_class|y), batch shape `[..., K]`."""
        return dist.Normal(self.prior_loc[ys], F.softplus(self.prior_raw_scale[ys]) + 1e-3)

    def class_logits(self, xs: Tensor) -> Tensor:
        """Return log q(y|x), `[B, K]`, for inputs `xs` `[B, *input_shape]`.

        A mean over 128 fixed quasi-random points.
        """
        loc, scale = (t[..., : self.num_classes] for t in self._loc_and_scale(xs))
        return self._mean_over_draws(loc + scale * self.points.unsqueeze(1))

    def _label_logits(self, z_class: Tensor) -> Tensor:
        return self.slope * z_class + self.intercept

    def _loc_and_scale(self, xs: Tensor) -> tuple[Tensor, Tensor]:
        loc, raw_scale = self.encoder(self.image_encoder(self._features(xs))).chunk(2, -1)
        return loc, F.softplus(raw_scale) + 1e-4

    def _p_x(self, zs: Tensor) -> dist.TorchDistribution:
        return self._p_x_of(self.image_decoder(self.decoder(zs)))

    @torch.no_grad()
    def encode(self, xs: Tensor, ys: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return location and scale of q(z|x), each `[B, K + S]`, in evaluation mode.

        Args:
            xs: inputs `[B, *input_shape]`.
            ys: not looked at: q(z|x) does not depend on the label.
        """
        with evaluating(self):
            return self._loc_and_scale(xs)

    @torch.no_grad()
    def decode(self, zs: Tensor) -> Tensor:
        """Return the mean of p(x|z), `[B, *input_shape]`, of `zs` `[B, K + S]`, z_class first."""
        with evaluating(self):
            return self._mean_of(self.image_decoder(self.decoder(zs)))

    @torch.no_grad()
    def prior_moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each dimension of z_class, `[K]`.

        Those of the mixture of p(z_class|y) over all values of the label: in shares of p(y), of
        attributes in equal ones.
        """
        scale = F.softplus(self.prior_raw_scale) + 1e-3
        if self.p_y.logits is None:
            variance = (scale**2).mean(0) + self.prior_loc.var(0, correction=0)
            return self.prior_loc.mean(0), variance.sqrt()
        shares = self.p_y.logits.softmax(-1)
        loc = shares @ self.prior_loc
        return loc, (shares @ (scale**2 + (self.prior_loc - loc) ** 2)).sqrt()

    @torch.no_grad()
    def sample(self, ys: Tensor) -> Tensor:
        """Draw z from p(z|y) for each of `ys` `[B]` and return the means of p(x|z).

        Unknown labels, -1, are drawn from p(y).
        """
        z_class = self._p_z_class(self._complete(ys)).sample()
        z_style = torch.randn(len(ys), self.style_dim, dtype=z_class.dtype, device=z_class.device)
        return self.decode(torch.cat([z_class, z_style], -1))

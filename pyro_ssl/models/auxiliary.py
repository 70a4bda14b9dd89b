"""What ADGM and SDGM have in common: a guide with a latent a that q(y|.) and q(z|.) see."""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.elbos.sampled import RaoBlackwell_ELBO
from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods.base import Family
from pyro_ssl.models.base import SSLModel
from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.label_prior import Prior
from pyro_ssl.models.labels import label_in_guide
from pyro_ssl.models.networks import NetworkMaker
from pyro_ssl.models.normal import normal_of, normal_points, standard_normal
from pyro_ssl.models.rows import Batch, Rows
from pyro_ssl.nets.mlp import Activation
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.nets.norm import BatchNorm, as_batch_norm, class_shares
from pyro_ssl.option_kinds import Dropout, NotNegative, Shape, Size, Widths
from pyro_ssl.options import checked

# Draws of a at which the classifier is evaluated together, to limit the memory.
_AT_ONCE = 8


class AuxiliaryModel(SSLModel):
    """Base of models of p(x, a, y, z) with the guide q(a|x) q(y|a,x) q(z|a,y,x).

    A subclass says in which order the generative program has x and a, see `_generate`. The
    expectations of the objective, see `ADGM`, are means over `num_samples` draws of a and z, which
    the ELBO makes: both programs draw once, and under Pyro's own ELBO `num_particles` says how
    often.

    With `batch_norm="separate"` every network normalises labelled and unlabelled rows apart, each
    by statistics over these rows and their draws, and new rows by those of unlabelled ones (by
    those of labelled ones where a call has them alone). Where classes are summed, a row still
    counts once: in q(z|a,y,x) its classes share its weight in proportion to q(y|a,x), and evenly
    in the generative networks, which do not know q. With `num_summed` these are the classes that
    are visited.

    Args:
        input_shape: shape of one input, with values that the likelihood takes.
        num_classes: number of classes K.
        latent_dim: number of dimensions D of z.
        auxiliary_dim: number of dimensions A of a.
        hidden_dims: widths of the hidden layers of all networks, reversed in those that do not see
            x: p(x|.), and p(a|y,z) of `SDGM`.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        batch_norm: False, or `"separate"`, see above.
        input_dropout: probability of dropping a value of x at the classifier's input.
        alpha: weight of the mean of log q(y|a,x) over labelled rows, as for `M2`.
        num_samples: draws of a and z for each row in training.
        num_summed: classes that `RaoBlackwell_ELBO` sums for each unlabelled row and draw; None to
            sum all.
        num_points: draws of a that q(y|x) is a mean over in `class_logits`: fixed quasi-random
            ones, so that predictions can be repeated.
        likelihood: the family of p(x|.), as for `M2`; with covariates c all is given c, but for
            p(a|.), which sees them where it sees x.
        label_prior: p(y): `"uniform"`, K probabilities, or `"learned"` from the data.

    Raises:
        ConfigError: if an option cannot work.
    """

    takes_covariates = True
    points: Tensor

    @checked
    def __init__(
        self,
        input_shape: Shape = (1, 28, 28),
        num_classes: Size = 10,
        latent_dim: Size = 100,
        auxiliary_dim: Size = 100,
        hidden_dims: Widths = (500, 500),
        activation: Activation = "relu",
        batch_norm: BatchNorm = False,
        input_dropout: Dropout = 0.0,
        alpha: NotNegative = 1200.0,
        num_samples: Size = 1,
        num_summed: Size | None = None,
        num_points: Size = 100,
        likelihood: Family = "bernoulli",
        label_prior: Prior = "uniform",
    ) -> None:
        super().__init__(input_shape, num_classes)
        self._set_likelihood(likelihood)
        self.latent_dim, self.auxiliary_dim = latent_dim, auxiliary_dim
        self.hidden_dims, self.activation = tuple(hidden_dims), activation
        self.batch_norm, self.input_dropout = as_batch_norm(batch_norm), input_dropout
        if self.batch_norm is True:
            raise ConfigError(
                f"batch_norm is True, but labelled and unlabelled rows pass the networks of "
                f'{type(self).__name__} apart: use "separate", or False'
            )
        self.alpha, self.num_samples, self.num_summed = alpha, num_samples, num_summed
        self.num_points = num_points
        self._set_label_prior(label_prior)
        make = NetworkMaker(self.likelihood, self.input_shape, hidden_dims, activation)
        self.image_encoder, self.image_decoder = make.image_encoder, make.image_decoder
        classes, norm = num_classes, self.batch_norm
        self.auxiliary_encoder = make.encoder(None, "", 2 * auxiliary_dim, None, norm)
        self.classifier = make.encoder(None, "", classes, None, norm, input_dropout, auxiliary_dim)
        self.encoder = make.encoder(None, "", 2 * latent_dim, classes, norm, beside=auxiliary_dim)
        self.decoder, self.auxiliary_decoder = self._generative_networks(make)
        points = normal_points(num_points, auxiliary_dim).to(next(self.parameters()))
        self.register_buffer("points", points, persistent=False)
        self.make_elbo()

    def make_elbo(self) -> ELBO:
        """Return the ELBO of `num_samples` draws that sums all classes, or `num_summed` of them."""
        if self.num_summed is None:
            return StaticEnum_ELBO(num_particles=self.num_samples)
        return RaoBlackwell_ELBO(self.num_summed, num_particles=self.num_samples)

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(x, a, y, z) on `xs` `[B, *input_shape]`, `ys` None or `[B]`, -1 if unknown."""
        pyro.module(self._name, self)
        batch = self._batch(xs, ys)
        prior, p_y = standard_normal(batch.xs, self.latent_dim), self.p_y(batch.xs)
        parts = batch.parts()
        for rows in parts:
            with rows.plate():
                y = pyro.sample("y", dist.Categorical(logits=p_y), obs=rows.ys)
                z = pyro.sample("z", prior)
                self._generate(rows, y, z, _apart(rows, parts))

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run q(a, y, z | x), "y" enumerated where it is unknown; arguments as for `model`."""
        pyro.module(self._name, self)
        batch = self._batch(xs, ys)
        features = self._encoded(batch.xs)
        parts = batch.parts()
        for rows in parts:
            of_rows, apart = features[rows.index], _apart(rows, parts)
            with rows.plate():
                a = pyro.sample("a", self._q_a(of_rows, apart).to_event(1))
                logits = self.classifier(of_rows, labelled=apart, beside=a)
                y = label_in_guide(rows.ys, logits, self.alpha)
                sums = self.batch_norm and rows.ys is None
                shares = class_shares(logits, y) if sums else None
                pyro.sample("z", self._q_z(of_rows, a, y, apart, shares).to_event(1))

    def class_logits(self, xs: Tensor) -> Tensor:
        """Return log q(y|x), `[B, K]`, of inputs: a mean over `num_points` fixed draws of a."""
        features = self._encoded(xs)
        q_a = self._q_a(features)
        found = []
        for points in self.points.split(_AT_ONCE):
            a = q_a.loc + q_a.scale * points.unsqueeze(1)
            found.append(self.classifier(features, beside=a).log_softmax(-1))
        return torch.cat(found).logsumexp(0) - math.log(self.num_points)

    @checks_data
    def encode(self, xs: Tensor, ys: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return location and scale of q(z|a,y,x), each `[B, D]`, a the mean of q(a|x).

        Labels `ys` `[B]` that are None are the likeliest under q(y|x). In evaluation mode.
        """
        with evaluating(self):
            if ys is None:
                ys = self.class_logits(xs).argmax(-1)
            features = self._encoded(xs)
            q_z = self._q_z(features, self._q_a(features).loc, ys)
            return q_z.loc, q_z.scale

    @checks_data
    def decode(self, zs: Tensor, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the mean of p(x|y,z,c), `[B, *input_shape]`, in evaluation mode.

        Args:
            zs: latents `[B, D]`.
            ys: labels `[B]`.
            covariates: c, `[B, C]`, if the likelihood has any.
        """
        with evaluating(self):
            return self._mean_of(self._outputs(zs, ys, covariates), covariates)

    @checks_data
    def sample(self, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Draw unknown labels of `ys` `[B]`, -1, and z from p(y) p(z); return `decode`'s means."""
        parameter = next(self.parameters())
        zs = torch.randn(len(ys), self.latent_dim, dtype=parameter.dtype, device=ys.device)
        return self.decode(zs, self.p_y.complete_any(ys), covariates)

    def _encoded(self, xs: Tensor) -> Tensor:
        """Return what networks see of inputs, `[B, F]`."""
        return self.image_encoder(self._features(xs))

    def _q_a(self, features: Tensor, apart: bool = False) -> dist.Normal:
        return normal_of(self.auxiliary_encoder(features, labelled=apart))

    def _q_z(
        self,
        features: Tensor,
        a: Tensor,
        ys: Tensor,
        apart: bool = False,
        shares: Tensor | None = None,
    ) -> dist.Normal:
        return normal_of(self.encoder(features, ys, apart, a, shares))

    # What the order of the generative program decides:

    def _generative_networks(self, make: NetworkMaker) -> tuple[nn.Module, nn.Module]:
        """Return the networks of p(x|.) and of p(a|.), newly made."""
        raise NotImplementedError

    def _generate(self, rows: Rows, ys: Tensor, zs: Tensor, apart: bool) -> None:
        """Observe "x" and sample "a", within the plate of the rows.

        Args:
            rows: the rows.
            ys: their labels, or all classes along a further dimension.
            zs: their latents `[..., n, D]`.
            apart: whether batch norm is not to keep the statistics of these rows.
        """
        raise NotImplementedError

    def _outputs(
        self,
        zs: Tensor,
        ys: Tensor,
        covariates: Tensor | None,
        a: Tensor | None = None,
        apart: bool = False,
    ) -> Tensor:
        """Return the decoder's outputs, `[..., *output_shape]` of the likelihood."""
        seen = self._beside(zs, covariates)
        return self.image_decoder(self.decoder(seen, ys, apart, a))


def _apart(rows: Rows, parts: list[Rows]) -> bool:
    """Return whether batch norm does not keep the statistics of these rows: of known labels."""
    # Rows that are all labelled have no others whose statistics would be new rows'.
    return rows.ys is not None and len(parts) > 1

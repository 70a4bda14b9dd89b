"""LatentM2: M2 whose inputs are the latents of another model, given by their posteriors."""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO
from torch import Tensor

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.elbos.sampled import RaoBlackwell_ELBO
from pyro_ssl.errors import DataError
from pyro_ssl.likelihoods import Gaussian, Likelihood
from pyro_ssl.models.base import SSLModel
from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.label_prior import Prior
from pyro_ssl.models.labels import label_in_guide
from pyro_ssl.models.normal import normal_of, standard_normal
from pyro_ssl.models.rows import Batch, Rows
from pyro_ssl.nets.mlp import MLP, Activation
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.nets.norm import BatchNorm, as_one_batch_norm
from pyro_ssl.option_kinds import Dropout, NotNegative, Size, Widths
from pyro_ssl.options import checked


class LatentM2(SSLModel):
    """M2 on the latents z1 of a model that is already trained: the upper layer of M1+M2.

    An input is the posterior of A latents, q(z1|x) = Normal(loc, diag scale^2), given as
    `[2, A]`: loc and scale. Generative program, with K classes and E latents z2::

        p(y) = Categorical(label_prior)    p(z2) = Normal(0, I_E)
        p(z1|y,z2) = Normal(loc(z2, y), diag scale(z2, y)^2)

    Guide, which draws a new z1 in every step::

        q(z1|x)    q(y|z1) = Categorical(classifier(z1))
        q(z2|z1,y) = Normal(loc(z1, y), diag scale(z1, y)^2)

    Objective, maximised, for a labelled row and an unlabelled one::

        -L(x,y) = E_q(z1|x) E_q(z2|z1,y)[log p(z1|y,z2) + log p(y) + log p(z2)
                                         - log q(z2|z1,y) - log q(z1|x)]
        -U(x)   = E_q(z1|x) sum_y q(y|z1) (E_q(z2|z1,y)[as above] - log q(y|z1))

    plus log q(y|z1) of labelled rows, weighted as in `M2`. log q(z1|x) has no parameters here; it
    is included so that this is the ELBO of `M1M2` without the term `E_q(z1|x)[log p(x|z1)]`.

    Source: Kingma, Rezende, Mohamed, Welling, "Semi-supervised learning with deep generative
    models", NeurIPS 2014, sections 2.1 and 3; drawing a new z1 in every step is from the authors'
    code.

    Differs from the paper: in what `M2` differs in, with one hidden layer by default; scales of
    p(z1|y,z2) are at least 0.01, which bounds the density and is far below any posterior's scale;
    the sum over classes may be Rao-Blackwellised (`num_summed`).

    Args:
        num_inputs: number A of latents z1.
        num_classes: number of classes K.
        latent_dim: number E of latents z2.
        hidden_dims: widths of the hidden layers of all three networks, reversed in the decoder.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        batch_norm: use batch norm in the classifier.
        input_dropout: probability of dropping a latent at the classifier's input.
        alpha: weight of the mean of log q(y|z1) over labelled rows beside the bound per example,
            both in nats.
        num_summed: classes that `RaoBlackwell_ELBO` sums for each unlabelled row; None to sum all.
        label_prior: p(y): `"uniform"`, K probabilities, or `"learned"` from the data.

    Raises:
        ConfigError: if an option is invalid.
    """

    likelihood: Likelihood = Gaussian()

    @checked
    def __init__(
        self,
        num_inputs: Size,
        num_classes: Size = 10,
        latent_dim: Size = 50,
        hidden_dims: Widths = (500,),
        activation: Activation = "relu",
        batch_norm: BatchNorm = True,
        input_dropout: Dropout = 0.0,
        alpha: NotNegative = 1.0,
        num_summed: Size | None = None,
        label_prior: Prior = "uniform",
    ) -> None:
        super().__init__((2, num_inputs), num_classes)
        self.num_inputs = num_inputs
        self.latent_dim = latent_dim
        self.hidden_dims = tuple(hidden_dims)
        self.activation = activation
        batch_norm = as_one_batch_norm(batch_norm, "expected True or False in LatentM2")
        self.batch_norm = batch_norm
        self.input_dropout = input_dropout
        self.alpha = alpha
        self.num_summed = num_summed
        self._set_label_prior(label_prior)
        self.classifier = MLP(
            num_inputs,
            hidden_dims,
            num_classes,
            activation=activation,
            batch_norm=batch_norm,
            input_dropout=input_dropout,
        )
        self.encoder = MLP(num_inputs, hidden_dims, 2 * latent_dim, num_classes, activation)
        self.decoder = MLP(latent_dim, hidden_dims[::-1], 2 * num_inputs, num_classes, activation)
        self.make_elbo()

    def make_elbo(self) -> ELBO:
        """Return the ELBO that sums all classes, or `num_summed` of them."""
        if self.num_summed is None:
            return StaticEnum_ELBO(max_plate_nesting=1)
        return RaoBlackwell_ELBO(self.num_summed, max_plate_nesting=1)

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(y, z2, z1) on `xs` `[B, *input_shape]`, `ys` None or `[B]`, -1 if unknown."""
        self._register()
        batch = self._batch(xs, ys)
        prior_logits = self.p_y(batch.xs)
        prior = standard_normal(batch.xs, self.latent_dim)
        parts, z1s = batch.parts(), []
        for rows in parts:
            with rows.plate():
                y = pyro.sample("y", dist.Categorical(logits=prior_logits), obs=rows.ys)
                z2 = pyro.sample("z2", prior)
                z1s.append(pyro.sample("z1", self._p_z1(z2, y)))
        self._observe(parts, z1s)

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run q(z1, y, z2 | x), "y" enumerated where it is unknown; arguments as for `model`."""
        self._register()
        batch = self._batch(xs, ys)
        parts = batch.parts()
        q_z1, kept = self._q_z1(batch.xs).base_dist, []
        for rows in parts:
            with rows.plate():
                q_rows = dist.Normal(q_z1.loc[rows.index], q_z1.scale[rows.index])
                kept.append(self._kept(pyro.sample("z1", q_rows.to_event(1))))
        # One call for all rows, so that they share the statistics of batch norm.
        class_logits = self.classifier(torch.cat(kept, -2)).split([len(r.xs) for r in parts], -2)
        for rows, z1, logits in zip(parts, kept, class_logits, strict=True):
            with rows.plate():
                y = label_in_guide(rows.ys, logits, self.alpha)
                pyro.sample("z2", self._q_z2(z1, y))

    def check(self, xs: Tensor, name: str = "xs") -> None:
        """Check that `xs` are posteriors `[B, 2, A]`: finite, with positive scales.

        Raises:
            DataError: naming the argument, what is wrong with it, and the remedy.
        """
        super().check(xs, name)
        if bool((xs[:, 1] <= 0).any()):
            raise DataError(
                f"{name}[:, 1] has values of 0 or below, expected positive scales, as "
                "posteriors(vae, xs, active) returns them"
            )

    def class_logits(self, xs: Tensor) -> Tensor:
        """Return unnormalised log q(y|z1), `[B, K]`, at z1 the mean of q(z1|x)."""
        return self.classifier(self._kept(self._q_z1(xs).mean))

    @checks_data
    def encode(self, xs: Tensor, ys: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return location and scale of q(z2|z1,y), each `[B, E]`, at z1 the mean of q(z1|x).

        Args:
            xs: inputs `[B, *input_shape]`.
            ys: labels `[B]`; if None, the most probable ones under q(y|z1).
        """
        with evaluating(self):
            z1 = self._kept(self._q_z1(xs).mean)
            if ys is None:
                ys = self.classifier(z1).argmax(-1)
            q_z2 = self._q_z2(z1, ys).base_dist
            return q_z2.loc, q_z2.scale

    @checks_data
    def decode(self, zs: Tensor, ys: Tensor) -> Tensor:
        """Return the mean of p(z1|y,z2), `[B, A]`, of latents z2 `[B, E]` and labels `[B]`."""
        with evaluating(self):
            return self._p_z1(zs, ys).mean

    @checks_data
    def sample(self, ys: Tensor) -> Tensor:
        """Draw z2 from its prior for each label of `ys` `[B]` and return `decode(z2, ys)`.

        Unknown labels (-1) are drawn from p(y).
        """
        parameter = next(self.parameters())
        zs = torch.randn(len(ys), self.latent_dim, dtype=parameter.dtype, device=ys.device)
        return self.decode(zs, self.p_y.complete_any(ys))

    def _trained_parts(self) -> list[str]:
        return ["classifier", "encoder", "decoder"] + ["p_y"] * self.p_y.learned

    def _register(self) -> None:
        # Only the trained parts: Pyro would warn about the others at every call.
        for part in self._trained_parts():
            pyro.module(f"{self._name}.{part}", getattr(self, part))

    def _q_z1(self, xs: Tensor) -> dist.TorchDistribution:
        loc, scale = xs.unbind(-2)
        return dist.Normal(loc, scale).to_event(1)

    def _kept(self, z1: Tensor) -> Tensor:
        """Return the latents that M2 sees."""
        return z1

    def _q_z2(self, z1: Tensor, ys: Tensor) -> dist.TorchDistribution:
        return normal_of(self.encoder(z1, ys)).to_event(1)

    def _p_z1(self, z2: Tensor, ys: Tensor) -> dist.TorchDistribution:
        return normal_of(self.decoder(z2, ys), 1e-2).to_event(1)

    def _observe(self, parts: list[Rows], z1s: list[Tensor]) -> None:
        """Observe the sites that depend on z1, for each part; here there are none."""

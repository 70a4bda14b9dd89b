"""M2: the semi-supervised VAE of Kingma et al. (2014), with the label summed out."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ssl.likelihoods.base import Family
from pyro_ssl.likelihoods.chunks import check_class_chunk, chunk_of_summed, in_likelihood_chunks
from pyro_ssl.models.base import SSLModel
from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.label_prior import Prior
from pyro_ssl.models.labels import label_in_guide
from pyro_ssl.models.networks import NetworkMaker
from pyro_ssl.models.normal import normal_of, standard_normal
from pyro_ssl.models.rows import Batch, Rows
from pyro_ssl.nets.given import GivenNetwork, Network
from pyro_ssl.nets.mlp import Activation, in_class_chunks
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.nets.norm import BatchNorm, as_batch_norm
from pyro_ssl.option_kinds import Dropout, NotNegative, Shape, Size, Widths
from pyro_ssl.options import checked


class M2(SSLModel):
    """Generative semi-supervised model, M2.

    Generative program, with K classes and D latent dimensions::

        p(y) = Categorical(label_prior)    p(z) = Normal(0, I_D)
        p(x|y,z) = likelihood(decoder(z, y)), Bernoulli unless said otherwise

    Guide::

        q(y|x) = Categorical(classifier(x))    q(z|x,y) = Normal(loc(x, y), diag scale(x, y)^2)

    Objective, maximised, for a labelled row (eq. 6) and an unlabelled one (eq. 7)::

        -L(x,y) = E_q(z|x,y)[log p(x|y,z) + log p(y) + log p(z) - log q(z|x,y)]
        -U(x)   = sum_y q(y|x) (-L(x,y) - log q(y|x))

    plus a classification term for labelled rows (eq. 9). Per example, with N_l labelled rows among
    the N rows of the data, `pyro_ssl.infer.fit` maximises::

        1/N (sum of -L(x,y) over labelled rows + sum of -U(x) over unlabelled rows)
            + alpha/N_l (sum of log q(y|x) over labelled rows)

    and so does a training loop with `RowWeights` around both programs. Without `RowWeights`, a call
    sums over its rows, and alpha multiplies log q(y|x) of each labelled row. The paper's alpha,
    0.1 N, is N times this one. The defaults suit MNIST with 100 labels. With `batch_norm=True` all
    rows of a call share their statistics, so that in training mode a mixed call is not exactly the
    sum of its labelled and its unlabelled part.

    Give known labels as `ys`. Do not condition the model on "y": the guide would still enumerate
    "y", which gives a wrong objective, and Pyro only warns.

    Source: Kingma, Rezende, Mohamed, Welling, "Semi-supervised learning with deep generative
    models", NeurIPS 2014, sections 2 and 3.

    Differs from the paper: the scale of q(z|x,y) depends on x and y (in eq. 4 only on x); the label
    enters the first layer of encoder and decoder as an added embedding (the same function as
    concatenating a one-hot label); by default there are two hidden layers of rectified linear
    units, where the paper has softplus; convolutions shared by classifier and encoder, other
    likelihoods and label priors, and batch norm and input dropout in the classifier are options;
    scales are softplus of the output plus 1e-4, not the exponential of a log-variance; no prior on
    the weights; log p(z) - log q(z|x,y) is evaluated at the sample, not in closed form.

    Args:
        input_shape: shape of one input, with values that the likelihood takes.
        num_classes: number of classes K.
        latent_dim: number of latent dimensions D.
        hidden_dims: widths of the hidden layers of all three networks, reversed in the decoder.
        decoder_dims: widths of the decoder's hidden layers if they differ; () for a linear decoder.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        batch_norm: batch norm in the classifier. True: statistics over all rows. False: none.
            `"separate"`: statistics over labelled and over unlabelled rows apart; predictions use
            those of unlabelled rows (of labelled rows if a call has no others).
        input_dropout: dropout probability at the classifier's input.
        alpha: weight of the mean of log q(y|x) over labelled rows beside the bound per example,
            both in nats.
        class_chunk: number of classes summed at a time, to save memory: the gradient computes each
            chunk a second time. None for all at once. The objective is the same.
        latent_noise: standard deviation of noise added to z in training mode, a regulariser; the
            objective is then no longer a bound.
        channels: channels of the first convolution of a `ConvEncoder` that classifier and encoder
            share (`input_dropout` then applies to its outputs); the decoder then ends in a
            `ConvDecoder`. None for fully connected networks.
        likelihood: the family of p(x|y,z), an object or a name: `StudentT(df=3)`, `"student_t"`.
            Networks see its `features`, and all see covariates c (`Conditional`), as in q(y|x,c).
        label_prior: p(y): `"uniform"`, K probabilities, or `"learned"` from the data.
        classifier: your own network instead of the library's. It is called with inputs
            `[N, *feature_shape]` of the likelihood (with `channels`, the `ConvEncoder`'s outputs
            `[N, F]`), and returns `[N, K]`; the model then adds no batch norm and no dropout.
        encoder: likewise, called with these inputs and labels `[N, K]`, one-hot or points of the
            simplex, floating; returns `[N, 2 D]`: locations, then scales before softplus.
        decoder: likewise, called with latents `[N, D]` (and `conditions` of covariates) and labels
            `[N, K]`; returns `[N, *output_shape]` (with `channels`, `[N, F]`, see `ConvDecoder`).

    Raises:
        ConfigError: if an option is invalid, or a given network cannot be called as described.

    Attributes:
        scores_per_class: number of the classifier's outputs for each class.
        sums_labels: whether training sums over unknown labels, which can be done in chunks.
    """

    takes_covariates = True
    scores_per_class = 1
    sums_labels = True
    # Early in training, y should learn the class, not z.
    recommended_anneal: ClassVar[Mapping[str, tuple[float, float, float]]] = {
        "kl_z": (3.0, 1.0, 0.3)
    }

    @checked
    def __init__(
        self,
        input_shape: Shape = (1, 28, 28),
        num_classes: Size = 10,
        latent_dim: Size = 50,
        hidden_dims: Widths = (300, 300),
        activation: Activation = "relu",
        batch_norm: BatchNorm = "separate",
        input_dropout: Dropout = 0.5,
        alpha: NotNegative = 15.0,
        class_chunk: Size | None = None,
        latent_noise: NotNegative = 0.0,
        channels: Size | None = None,
        likelihood: Family = "bernoulli",
        label_prior: Prior = "uniform",
        classifier: Network = None,
        encoder: Network = None,
        decoder: Network = None,
        decoder_dims: Widths | None = None,
    ) -> None:
        super().__init__(input_shape, num_classes)
        self._set_likelihood(likelihood)
        check_class_chunk(class_chunk, None if self.sums_labels else type(self).__name__)
        self.latent_dim, self.latent_noise, self.alpha = latent_dim, latent_noise, alpha
        self.class_chunk, self.channels, self.activation = class_chunk, channels, activation
        self.hidden_dims, self.batch_norm = tuple(hidden_dims), as_batch_norm(batch_norm)
        self.input_dropout, self.decoder_dims = input_dropout, decoder_dims and tuple(decoder_dims)
        self._set_label_prior(label_prior)
        make = NetworkMaker(self.likelihood, self.input_shape, hidden_dims, activation, channels)
        self.image_encoder, self.image_decoder = make.image_encoder, make.image_decoder
        scores, norm = self.scores_per_class * num_classes, self.batch_norm
        self.classifier = make.encoder(classifier, "classifier", scores, None, norm, input_dropout)
        self.encoder = make.encoder(encoder, "encoder", 2 * latent_dim, num_classes)
        self.decoder = make.decoder(decoder, latent_dim, num_classes, False, self.decoder_dims)

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(x, y, z) on `xs` `[B, *input_shape]` and `ys`, None or `[B]` with -1 if unknown."""
        pyro.module(self._name, self)
        batch = self._batch(xs, ys)
        prior = standard_normal(batch.xs, self.latent_dim)
        for rows in batch.parts():
            with rows.plate():
                y = self._label_in_model(rows)
                z = pyro.sample("z", prior)
                if self.training and self.latent_noise > 0:
                    z = z + self.latent_noise * torch.randn_like(z)
                self._observe_inputs(rows.xs, self._p_x(z, y, self._covariates(rows.xs)))

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run q(y, z | x), "y" enumerated where it is unknown; arguments as for `model`."""
        pyro.module(self._name, self)
        batch = self._batch(xs, ys)
        features = self._encoded(batch.xs)
        # A user's network has its own batch norm, if any.
        separate = self.batch_norm == "separate" and not isinstance(self.classifier, GivenNetwork)
        all_scores = None if separate else self.classifier(features)
        parts = batch.parts()
        for rows in parts:
            of_rows = features[rows.index]
            if all_scores is None:
                # Without unlabelled rows, new rows use the statistics of labelled ones.
                labelled = rows.ys is not None and len(parts) > 1
                scores = self.classifier(of_rows, labelled=labelled)
            else:
                scores = all_scores[rows.index]
            with rows.plate():
                pyro.sample("z", self._q_z(of_rows, self._label_in_guide(rows, scores)))

    def class_logits(self, xs: Tensor) -> Tensor:
        """Return unnormalised log q(y|x), `[B, K]`, for inputs `xs` `[B, *input_shape]`."""
        return self._class_logits(self.classifier(self._encoded(xs)))

    # Overridden by other treatments of the missing label:
    def _class_logits(self, scores: Tensor) -> Tensor:
        """Return unnormalised log q(y|x), `[B, K]`, for the classifier's outputs."""
        return scores

    def _label_in_model(self, rows: Rows) -> Tensor:
        """Sample "y", within the plate of the rows; return the label that the decoder sees."""
        return pyro.sample("y", dist.Categorical(logits=self.p_y(rows.xs)), obs=rows.ys)

    def _label_in_guide(self, rows: Rows, scores: Tensor) -> Tensor:
        """Sample "y", or add the classification term; return the label that the encoder sees."""
        return label_in_guide(rows.ys, self._class_logits(scores), self.alpha)

    @checks_data
    def encode(self, xs: Tensor, ys: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return location and scale of q(z|x,y), each `[B, D]`, in evaluation mode.

        If `ys` `[B]` is None, the most probable labels under q(y|x) take its place.
        """
        with evaluating(self):
            ys = self.class_logits(xs).argmax(-1) if ys is None else ys
            q_z = self._q_z(self._encoded(xs), ys).base_dist
            return q_z.loc, q_z.scale

    @checks_data
    def decode(self, zs: Tensor, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the mean of p(x|y,z,c), `[B, *input_shape]`, in evaluation mode.

        Args:
            zs: latents `[B, D]`.
            ys: labels `[B]`, or points of the simplex `[B, K]`, floating.
            covariates: c, `[B, C]`, if the likelihood has any.
        """
        with evaluating(self):
            return self._mean_of(self._outputs(zs, ys, covariates), covariates)

    @checks_data
    def sample(self, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Draw z and unknown labels (-1) of `ys` `[B]` from p(y) p(z); return means of p(x|y,z)."""
        zs = next(self.parameters()).new_empty(len(ys), self.latent_dim).normal_()
        return self.decode(zs, self.p_y.complete_any(ys), covariates)

    def _q_z(self, features: Tensor, ys: Tensor) -> dist.TorchDistribution:
        chunk = chunk_of_summed(ys, self.class_chunk)
        return normal_of(in_class_chunks(partial(self.encoder, features), chunk, ys)).to_event(1)

    def _encoded(self, xs: Tensor) -> Tensor:
        """Return the features that classifier and encoder see, `[B, F]`."""
        return self.image_encoder(self._features(xs))

    def _p_x(self, zs: Tensor, ys: Tensor, given: Tensor | None = None) -> dist.TorchDistribution:
        def family(zs: Tensor, ys: Tensor) -> dist.TorchDistribution:
            return self._p_x_of(self._outputs(zs, ys, given), given)

        return in_likelihood_chunks(family, zs, ys, self.class_chunk, self.input_shape)

    def _outputs(self, zs: Tensor, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the decoder's outputs, `[..., *output_shape]` of the likelihood."""
        return self.image_decoder(self.decoder(self._beside(zs, covariates), ys))

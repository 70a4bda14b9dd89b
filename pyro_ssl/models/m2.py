"""M2: the semi-supervised VAE of Kingma et al. (2014), with the label summed out."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods import ClassChunks, Likelihood
from pyro_ssl.models.base import SSLModel, evaluating
from pyro_ssl.models.label_prior import LabelPrior, check_uniform
from pyro_ssl.models.labels import check_alpha, label_in_guide
from pyro_ssl.models.rows import Batch, Rows
from pyro_ssl.nets.conv import image_nets
from pyro_ssl.nets.given import given_or
from pyro_ssl.nets.mlp import MLP, as_batch_norm, in_class_chunks


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

    plus a classification term of labelled rows (eq. 9). Per example, with N_l labelled ones among
    the N rows of the data, `pyro_ssl.infer.fit` maximises::

        1/N (sum of -L(x,y) over labelled rows + sum of -U(x) over unlabelled rows)
            + alpha/N_l (sum of log q(y|x) over labelled rows)

    and so does a training loop with `RowWeights` around both programs. A call by itself sums over
    its rows, alpha then being the weight of each labelled row's log q(y|x). The paper's alpha,
    0.1 N, is N times this one.

    The defaults are those of `fit` on MNIST with 100 labels, 93 to 95 % after 20 epochs, see the
    README. With `batch_norm=True` the classifier's statistics are taken over all rows of a call, so
    that in training mode a mixed call is not the exact sum of its two parts; otherwise it is.

    With `ys` given as a whole, the label is known to model and guide alike. Do not condition
    the model on "y" instead: the guide would go on enumerating it, which is another (wrong)
    objective and only makes Pyro warn.

    Source: Kingma, Rezende, Mohamed, Welling, "Semi-supervised learning with deep generative
    models", NeurIPS 2014, sections 2 and 3.

    Differs from the paper: the scale of q(z|x,y) depends on y as well as on x (eq. 4 has x alone);
    the label enters the first layer of encoder and decoder by an added embedding (the same
    function as concatenating a one-hot label); two hidden layers of rectified linear units by
    default, where the paper has softplus; convolutions that classifier and encoder share, other
    likelihoods and label priors, batch norm and input dropout in the classifier are options;
    scales are softplus of the network's output plus 1e-4, not the exponential of a log-variance; no
    prior on the weights; log p(z) - log q(z|x,y) is evaluated at the sample, not in closed form.

    Args:
        input_shape: shape of one input, whose values are what the likelihood takes.
        num_classes: number of classes K.
        latent_dim: number of latent dimensions D.
        hidden_dims: widths of the hidden layers of all three networks, reversed in the decoder.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        batch_norm: batch norm in the classifier: `"separate"` takes the statistics of labelled and
            of unlabelled rows apart and classifies by those of the latter (of the former, where a
            call has labelled rows alone), True takes those of all rows, False none.
        input_dropout: dropout probability at the classifier's input.
        alpha: weight of the mean of log q(y|x) over labelled rows beside the bound per example,
            both in nats.
        class_chunk: evaluate the summed labels so many classes at a time, each chunk a second
            time for its gradient, to save memory; None for all at once. The objective is the
            same.
        latent_noise: standard deviation of noise added to z before the decoder sees it, in
            training mode: a regulariser, for which the objective is no bound any more.
        channels: let classifier and encoder see one `ConvEncoder` of so many channels of the image
            in place of its pixels (`input_dropout` is then of its outputs), and let the decoder
            end in a `ConvDecoder`; None for fully connected networks.
        likelihood: the family of p(x|y,z), from `pyro_ssl.likelihoods` or the user's, or the name
            of one: `StudentT(df=3)`, `"student_t"`. Networks see its `features` of an input.
        label_prior: p(y): `"uniform"`, K probabilities, or `"learned"` from the data.
        classifier: a network in place of the library's, which is called with inputs
            `[N, *feature_shape]` of the likelihood (`[N, F]`, what is left of them, if there are
            `channels`) and returns `[N, K]`. Hidden layers, batch norm and dropout are its own.
        encoder: likewise, called with such inputs and labels `[N, K]`, one-hot or points of the
            simplex, floating; returns `[N, 2 D]`: locations, then scales before softplus.
        decoder: likewise, called with latents `[N, D]` and labels `[N, K]`; returns
            `[N, *output_shape]` of the likelihood (`[N, F]`, see `ConvDecoder`, with `channels`).

    Raises:
        ConfigError: if an option, or a given network's call, cannot work.

    Attributes:
        scores_per_class: outputs of the classifier for each class.
        sums_labels: whether unknown labels are summed in training, so that they can be in chunks.
    """

    scores_per_class = 1
    sums_labels = True
    # At first z shall leave the class to y.
    recommended_anneal: ClassVar[Mapping[str, tuple[float, float, float]]] = {
        "kl_z": (3.0, 1.0, 0.3)
    }
    # What the model has in place of p(y), if it has none.
    _instead_of_prior: str | None = None

    def __init__(
        self,
        input_shape: tuple[int, ...] = (1, 28, 28),
        num_classes: int = 10,
        latent_dim: int = 50,
        hidden_dims: Sequence[int] = (300, 300),
        activation: str = "relu",
        batch_norm: bool | str = "separate",
        input_dropout: float = 0.5,
        alpha: float = 15.0,
        class_chunk: int | None = None,
        latent_noise: float = 0.0,
        channels: int | None = None,
        likelihood: str | Likelihood = "bernoulli",
        label_prior: str | Sequence[float] = "uniform",
        classifier: nn.Module | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__(input_shape, num_classes)
        self._set_likelihood(likelihood)
        if latent_dim < 1:
            raise ConfigError(f"latent_dim is {latent_dim}, expected at least 1")
        check_alpha(alpha)
        if not 0 <= latent_noise < math.inf:
            raise ConfigError(f"latent_noise is {latent_noise}, expected a finite number >= 0")
        if class_chunk is not None and class_chunk < 1:
            raise ConfigError(f"class_chunk is {class_chunk}, expected at least 1, or None")
        if class_chunk is not None and not self.sums_labels:
            raise ConfigError(
                f"class_chunk is {class_chunk}, but {type(self).__name__} sums no labels: use None"
            )
        self.class_chunk = class_chunk
        self.latent_dim = latent_dim
        self.hidden_dims = tuple(hidden_dims)
        self.activation = activation
        self.batch_norm = as_batch_norm(batch_norm)
        self.input_dropout = input_dropout
        self.latent_noise = latent_noise
        self.alpha = alpha
        self.channels = channels
        if self._instead_of_prior is not None:
            check_uniform(label_prior, f"{type(self).__name__} has {self._instead_of_prior}")
        self.p_y = LabelPrior(label_prior, num_classes)
        self.label_prior = self.p_y.option
        self._make_networks(classifier, encoder, decoder)

    def _make_networks(
        self, classifier: nn.Module | None, encoder: nn.Module | None, decoder: nn.Module | None
    ) -> None:
        classes, latents, dims = self.num_classes, self.latent_dim, self.hidden_dims
        how, channels = self.activation, self.channels
        seen = self.likelihood.feature_shape(self.input_shape)
        made = self.likelihood.output_shape(self.input_shape)
        self.image_encoder, self.image_decoder = image_nets(seen, channels, how, made)
        features, scores = self.image_encoder.out_features, self.scores_per_class * classes
        outputs = self.image_decoder.in_features
        seen, made = (seen, made) if channels is None else ((features,), (outputs,))
        regularised = self.batch_norm, self.input_dropout
        own = partial(MLP, features, dims, scores, None, how, *regularised)
        self.classifier = given_or(classifier, "classifier", seen, (scores,), None, own)
        own = partial(MLP, features, dims, 2 * latents, classes, how)
        self.encoder = given_or(encoder, "encoder", seen, (2 * latents,), classes, own)
        own = partial(MLP, latents, dims[::-1], outputs, classes, how)
        self.decoder = given_or(decoder, "decoder", (latents,), made, classes, own)

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(x, y, z) on `xs` `[B, *input_shape]` and `ys`, None or `[B]` with -1 if unknown."""
        pyro.module(self._name, self)
        batch = Batch.of(xs, ys)
        origin = batch.xs.new_zeros(self.latent_dim)
        for rows in batch.parts():
            with rows.plate():
                y = self._label_in_model(rows)
                z = pyro.sample("z", dist.Normal(origin, torch.ones_like(origin)).to_event(1))
                if self.training and self.latent_noise > 0:
                    z = z + self.latent_noise * torch.randn_like(z)
                self._observe_inputs(rows.xs, self._p_x(z, y))

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run q(y, z | x), "y" enumerated where it is unknown; arguments as for `model`."""
        pyro.module(self._name, self)
        batch = Batch.of(xs, ys)
        features = self._encoded(batch.xs)
        separate = self.batch_norm == "separate"
        all_scores = None if separate else self.classifier(features)
        parts = batch.parts()
        for rows in parts:
            of_rows = features[rows.index]
            if all_scores is None:
                # Rows that are all labelled have no others whose statistics would be new rows'.
                labelled = rows.ys is not None and len(parts) > 1
                scores = self.classifier(of_rows, labelled=labelled)
            else:
                scores = all_scores[rows.index]
            with rows.plate():
                y = self._label_in_guide(rows, scores)
                pyro.sample("z", self._q_z(of_rows, y))

    def class_logits(self, xs: Tensor) -> Tensor:
        """Return unnormalised log q(y|x), `[B, K]`, for inputs `xs` `[B, *input_shape]`."""
        return self._class_logits(self.classifier(self._encoded(xs)))

    # What other treatments of the missing label replace:

    def _class_logits(self, scores: Tensor) -> Tensor:
        """Return unnormalised log q(y|x), `[B, K]`, for the classifier's outputs."""
        return scores

    def _label_in_model(self, rows: Rows) -> Tensor:
        """Sample "y", within the plate of the rows; return what the decoder sees of it."""
        return pyro.sample("y", dist.Categorical(logits=self.p_y(rows.xs)), obs=rows.ys)

    def _label_in_guide(self, rows: Rows, scores: Tensor) -> Tensor:
        """Sample "y", or add the term of known labels; return what the encoder sees of it."""
        return label_in_guide(rows.ys, self._class_logits(scores), self.alpha)

    @torch.no_grad()
    def encode(self, xs: Tensor, ys: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return location and scale of q(z|x,y), each `[B, D]`, in evaluation mode.

        Args:
            xs: inputs `[B, *input_shape]`.
            ys: labels `[B]`; the likeliest under q(y|x) if None.
        """
        with evaluating(self):
            if ys is None:
                ys = self.class_logits(xs).argmax(-1)
            q_z = self._q_z(self._encoded(xs), ys).base_dist
            return q_z.loc, q_z.scale

    @torch.no_grad()
    def decode(self, zs: Tensor, ys: Tensor) -> Tensor:
        """Return the mean of p(x|y,z), `[B, *input_shape]`, in evaluation mode.

        Args:
            zs: latents `[B, D]`.
            ys: labels `[B]`, or points of the simplex `[B, K]`, floating.
        """
        with evaluating(self):
            return self._mean_of(self._outputs(zs, ys))

    def sample(self, ys: Tensor) -> Tensor:
        """Draw z from its prior for each label of `ys` `[B]` and return the means of p(x|y,z).

        Unknown labels, -1, are drawn from p(y).
        """
        parameter = next(self.parameters())
        zs = torch.randn(len(ys), self.latent_dim, dtype=parameter.dtype, device=ys.device)
        return self.decode(zs, self.p_y.complete_any(ys))

    def _chunk(self, ys: Tensor) -> int | None:
        """Return the chunk to take summed labels in; None for labels that are not summed."""
        summed = ys.dim() > 1 and not ys.is_floating_point()
        return self.class_chunk if summed else None

    def _q_z(self, features: Tensor, ys: Tensor) -> dist.TorchDistribution:
        chunk = self._chunk(ys)
        if chunk is None:
            hs = self.encoder(features, ys)
        else:
            hs = in_class_chunks(lambda some: self.encoder(features, some), chunk, ys)
        loc, raw_scale = hs.chunk(2, -1)
        return dist.Normal(loc, F.softplus(raw_scale) + 1e-4).to_event(1)

    def _encoded(self, xs: Tensor) -> Tensor:
        """Return what classifier and encoder see of inputs, `[B, F]`."""
        return self.image_encoder(self._features(xs))

    def _p_x(self, zs: Tensor, ys: Tensor) -> dist.TorchDistribution:
        def family(zs: Tensor, ys: Tensor) -> dist.TorchDistribution:
            return self._p_x_of(self._outputs(zs, ys))

        chunk = self._chunk(ys)
        if chunk is None:
            return family(zs, ys)
        return ClassChunks(family, (zs, ys), chunk, zs.shape[:-1], torch.Size(self.input_shape))

    def _outputs(self, zs: Tensor, ys: Tensor) -> Tensor:
        """Return the decoder's outputs, `[..., *output_shape]` of the likelihood."""
        return self.image_decoder(self.decoder(zs, ys))

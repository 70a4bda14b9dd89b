"""A VAE whose latents are bits: semantic hashing of documents."""

from typing import Annotated, Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO
from torch import Tensor

from pyro_ssl.elbos import names
from pyro_ssl.elbos.antithetic import Antithetic_ELBO, BernoulliCode
from pyro_ssl.elbos.closed_form import divergence
from pyro_ssl.elbos.sampled import ScoreFunction_ELBO
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.likelihoods import Likelihood, Multinomial
from pyro_ssl.models.base import PyroModel
from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.relaxed_m2 import Unscored
from pyro_ssl.models.rows import Batch, Rows
from pyro_ssl.nets.mlp import MLP, Activation
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.option_kinds import Dropout, OneOf, Size, Widths
from pyro_ssl.options import checked

Estimator = Annotated[str, OneOf(("disarm", "arm", "straight_through", "score_function"))]
Inputs = Annotated[str, OneOf(("counts", "frequencies", "tfidf"))]


class BernoulliVAE(PyroModel):
    """VAE of documents as bags of words, whose latent is a code of B bits.

    Generative program and guide, with a vocabulary of V words and counts x::

        p(z_b) = Bernoulli(1/2)     p(x|z) = prod_w softmax(decoder(z))_w ^ x_w
        q(z_b|x) = Bernoulli(logits=encoder(x)_b)

    The objective, maximised, is E_q(z|x)[log p(x|z)] - KL(q(z|x) || p(z)) in nats per document,
    with the KL divergence in closed form. `estimator` chooses the estimate of the encoder's
    gradient:

    - `disarm`, `arm`: unbiased, from an antithetic pair of codes, see `Antithetic_ELBO`;
    - `straight_through`: biased, from one code: the gradient with respect to a bit is used as the
      gradient with respect to its probability;
    - `score_function`: unbiased and noisy, from one code by Pyro's `TraceGraph_ELBO`, which is
      REINFORCE without a baseline. Here the KL divergence is sampled.

    With `inputs="counts"` and without hidden layers the encoder is linear in the counts. If the
    decoder is linear too (apart from its normaliser), so are the posterior's logits; the encoder
    can then be exact where the bits are independent given x (Shekhovtsov et al. 2022).

    Source: Shekhovtsov, Schlesinger, Flach, "VAE approximation error: ELBO and exponential
    families", ICLR 2022, section 4.

    Differs from the paper: the default activation is ReLU; counts are not smoothed; frequencies
    are in percent; there are more estimators.

    Args:
        num_words: size V of the vocabulary.
        num_bits: bits B of a code.
        encoder_dims: widths of the encoder's hidden layers; empty for a linear one.
        decoder_dims: widths of the decoder's hidden layers; empty for a linear one.
        activation: a key of `pyro_ssl.nets.ACTIVATIONS`.
        inputs: what the encoder sees: `counts`; `frequencies`, the counts in percent of their sum
            (zeros for a document without words); or `tfidf`, counts times inverse document
            frequencies, see `weigh_words`, as vectors of length 10. The likelihood is always that
            of the counts.
        estimator: `disarm`, `arm`, `straight_through` or `score_function`, see above.
        input_dropout: probability of dropping a word at the encoder's input in training.

    Attributes:
        idf: inverse document frequencies `[V]` of `tfidf`, a buffer; ones before `weigh_words`.

    Raises:
        ConfigError: if an option is invalid.
    """

    likelihood: Likelihood = Multinomial()
    idf: Tensor

    @checked
    def __init__(
        self,
        num_words: Size,
        num_bits: Size = 64,
        encoder_dims: Widths = (),
        decoder_dims: Widths = (),
        activation: Activation = "relu",
        inputs: Inputs = "counts",
        estimator: Estimator = "disarm",
        input_dropout: Dropout = 0.0,
    ) -> None:
        super().__init__((num_words,))
        self.num_words = num_words
        self.num_bits = self.num_latents = num_bits
        self.encoder_dims = tuple(encoder_dims)
        self.decoder_dims = tuple(decoder_dims)
        self.activation = activation
        self.inputs = inputs
        self.estimator = estimator
        self.input_dropout = input_dropout
        options: dict[str, Any] = {"activation": activation}
        self.encoder = MLP(
            num_words, encoder_dims, num_bits, input_dropout=input_dropout, **options
        )
        self.decoder = MLP(num_bits, decoder_dims, num_words, **options)
        if inputs == "tfidf":
            self.register_buffer("idf", torch.ones(num_words))

    @checked
    @torch.no_grad()
    def weigh_words(self, xs: Tensor) -> None:
        """Set the words' weights of `tfidf` from training documents, counts `[N, V]`.

        They are log((1 + N) / (1 + n)) + 1 for a word that is in n of N documents, as
        scikit-learn has them by default.

        Raises:
            ConfigError: if the encoder does not see `tfidf`.
            DataError: if the model does not take `xs`.
        """
        if self.inputs != "tfidf":
            raise ConfigError(
                f"inputs is {self.inputs!r}, of which no word has a weight: use inputs='tfidf'"
            )
        self.check(xs)
        found = (xs > 0).sum(0)
        self.idf.copy_(((1 + len(xs)) / (1 + found)).log() + 1)

    @checked
    @torch.no_grad()
    def start_from(self, frequencies: Tensor) -> None:
        """Set the decoder's last bias to the log of the words' frequencies `[V]`, all above 0.

        Training then starts near the unigram model instead of finding it first.

        Raises:
            DataError: if `frequencies` has another shape, or a number that is not above 0.
        """
        if frequencies.shape != (self.num_words,) or not bool((frequencies > 0).all()):
            raise DataError(
                f"frequencies has shape {list(frequencies.shape)}, expected [{self.num_words}] "
                "numbers above 0, one for each word"
            )
        last = f"layers.{len(self.decoder_dims)}.bias"
        self.decoder.get_parameter(last).copy_(frequencies.log())

    def make_elbo(self) -> ELBO:
        """Return the ELBO whose gradient is the estimator's."""
        if self.estimator in ("disarm", "arm"):
            return Antithetic_ELBO(self.estimator, self.max_plate_nesting)
        if self.estimator == "score_function":
            return ScoreFunction_ELBO(max_plate_nesting=self.max_plate_nesting)
        return super().make_elbo()

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(x, z) on counts `xs` `[N, V]`; `ys` only tells which rows are labelled."""
        pyro.module(self._name, self)
        for rows in self._batch(xs, ys).parts():
            with rows.plate():
                prior: Any = dist.Bernoulli(logits=rows.xs.new_zeros(self.num_bits)).to_event(1)
                if self._relaxes:
                    prior = Unscored(prior.expand([len(rows.xs)]))
                z = pyro.sample("z", prior)
                self._observe_inputs(rows.xs, self._p_x_of(self.decoder(z)))

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run q(z|x); arguments as for `model`."""
        pyro.module(self._name, self)
        for rows in self._batch(xs, ys).parts():
            with rows.plate():
                self._code_in_guide(rows)

    @property
    def _relaxes(self) -> bool:
        return self.estimator == "straight_through" and self.training

    def _code_in_guide(self, rows: Rows) -> None:
        logits = self._logits(rows.xs)
        q_z = BernoulliCode(dist.Bernoulli(logits=logits), 1)
        if not self._relaxes:
            pyro.sample("z", q_z, infer={"enumerate": "parallel"} if self._pairs else {})
            return
        on = logits.sigmoid()
        hard = (torch.rand_like(on) < on).to(on.dtype)
        pyro.sample("z", Unscored(dist.Delta(hard + (on - on.detach()), event_dim=1)))
        prior = dist.Bernoulli(logits=torch.zeros_like(logits)).to_event(1)
        pyro.factor(names.kl("z"), divergence(q_z, prior), has_rsample=True)

    @property
    def _pairs(self) -> bool:
        return self.estimator in ("disarm", "arm")

    def _logits(self, xs: Tensor) -> Tensor:
        if self.inputs == "frequencies":
            total = xs.sum(-1, keepdim=True)
            # In percent, since Adam learns slowly from shares, hundreds of times below the counts.
            xs = 100 * xs / torch.where(total > 0, total, 1.0)
        elif self.inputs == "tfidf":
            xs = xs * self.idf
            length = xs.norm(dim=-1, keepdim=True)
            xs = 10 * xs / torch.where(length > 0, length, 1.0)
        return self.encoder(xs)

    @checks_data
    def encode(self, xs: Tensor) -> Tensor:
        """Return q(z_b = 1|x), `[N, B]`, of counts `xs` `[N, V]`, in evaluation mode."""
        with evaluating(self):
            return self._logits(xs).sigmoid()

    @checks_data
    def decode(self, zs: Tensor) -> Tensor:
        """Return the words' probabilities `[N, V]` of codes `zs` `[N, B]`, in evaluation mode."""
        with evaluating(self):
            return self._mean_of(self.decoder(zs))

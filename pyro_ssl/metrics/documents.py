"""Measures of a model of bags of words: bounds, perplexity, deviance."""

import torch
from torch import Tensor

from pyro_ssl.errors import DataError
from pyro_ssl.likelihoods import BagOfWords
from pyro_ssl.models.bernoulli_vae import BernoulliVAE
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.option_kinds import Size
from pyro_ssl.options import checked


@checked
@torch.no_grad()
def document_bounds(
    model: BernoulliVAE, xs: Tensor, targets: Tensor | None = None, draws: Size = 10
) -> Tensor:
    """Return an estimate of each document's ELBO in nats, `[N]`, with the KL in closed form.

    This is `E_q(z|x)[log p(t|z)] - KL(q(z|x) || p(z))`, where log p(t|z) (see `BagOfWords`) is
    averaged over `draws` codes.

    Args:
        model: the model, which is evaluated in evaluation mode.
        xs: counts for the encoder, `[N, V]`.
        targets: counts t for the decoder, `[N, V]`; `xs` if None.
        draws: number of codes drawn for each document.

    Raises:
        DataError: if `xs` or `targets` are not counts that the model takes.
    """
    model.check(xs)
    if targets is not None:
        model.check(targets, "targets")
        if len(targets) != len(xs):
            raise DataError(f"there are {len(xs)} rows of xs, but {len(targets)} of targets")
    found = [xs.new_zeros(0)]
    with evaluating(model):
        for rows, wanted in zip(
            xs.split(1000), (xs if targets is None else targets).split(1000), strict=True
        ):
            on = model.encode(rows)
            # KL divergence of a bit from a fair coin: log 2 minus its entropy.
            bits = torch.special.entr(on) + torch.special.entr(1 - on) - torch.log(on.new_tensor(2))
            bounds = bits.sum(-1)
            for _ in range(draws):
                code = (torch.rand_like(on) < on).to(on.dtype)
                bounds = bounds + BagOfWords(model.decoder(code)).log_prob(wanted) / draws
            found.append(bounds)
    return torch.cat(found)


@checked
def perplexity(bounds: Tensor, xs: Tensor) -> float:
    """Return exp(-sum of bounds / number of words): lower is better.

    Args:
        bounds: log p(x) of each document, or bounds on it, in nats, `[N]`.
        xs: counts `[N, V]`.

    Raises:
        DataError: if shapes do not agree, or there are no words.
    """
    if bounds.shape != xs.shape[:1] or not float(xs.sum()) > 0:
        raise DataError(
            f"bounds has shape {list(bounds.shape)} and xs {list(xs.shape)}, expected [N] and "
            "[N, words] with some words"
        )
    return (-bounds.double().sum() / xs.double().sum()).exp().item()


def word_frequencies(train_xs: Tensor) -> Tensor:
    """Return the words' shares of all training counts, `[V]`, with 1/V added to each count."""
    counts = train_xs.double().sum(0)
    counts = counts + 1 / len(counts)
    return (counts / counts.sum()).to(train_xs.dtype)


def smoothed(xs: Tensor, frequencies: Tensor) -> Tensor:
    """Return counts `[N, V]` plus the corpus' frequencies `[V]`: one more word per document."""
    return xs + frequencies


def own_log_prob(targets: Tensor) -> Tensor:
    """Return log p(t) of each document under its own word frequencies, in nats, `[N]`.

    No model of bags of words can do better. The reproduction of Shekhovtsov et al. (2022) reports
    "deviance plus KL divergence", which is this minus the ELBO of the `smoothed` counts, in a model
    whose decoder models the smoothed counts of each document.

    Args:
        targets: counts, all above 0, such as those that `smoothed` returns, `[N, V]`.
    """
    shares = targets / targets.sum(-1, keepdim=True)
    return (targets * shares.log()).sum(-1)


def unigram_log_prob(targets: Tensor, frequencies: Tensor) -> Tensor:
    """Return log p(t) of each document in nats, `[N]`, if all words have one distribution.

    Args:
        targets: counts `[N, V]`.
        frequencies: probabilities of the words `[V]`.
    """
    return targets @ frequencies.log()

"""One row a likelihood: values that it takes, and its log-density by SciPy, one value at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    Laplace,
    Likelihood,
    LogNormal,
    NegativeBinomial,
    Ordinal,
    Poisson,
    StudentT,
)


@dataclass(frozen=True)
class Family:
    """A likelihood of single values, and what it should be.

    Attributes:
        likelihood: the likelihood.
        draw: values `[*shape]` that it takes.
        log_prob: of a value, its outputs (each a number) and the shared ones of its dimension.
        points: values whose probabilities sum to 1; none of a density.
    """

    likelihood: Likelihood
    draw: Callable[[tuple[int, ...]], Tensor]
    log_prob: Callable[..., float]
    points: tuple[int, ...] = ()


def normal(shape):
    return 2 * torch.randn(shape, dtype=torch.float64)


def positive(shape):
    return normal(shape).exp()


def binary(shape):
    return torch.rand(shape, dtype=torch.float64).round()


def fractions(shape):
    return torch.rand(shape, dtype=torch.float64)


def counts(shape):
    return torch.poisson(torch.full(shape, 3.0, dtype=torch.float64))


def codes(number):
    return lambda shape: torch.randint(number, shape).double()


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gaussian(x, loc, raw):
    return stats.norm.logpdf(x, loc, 0.01 + softplus(raw))


def student(df):
    return lambda x, loc, raw: stats.t.logpdf(x, df, loc, 0.01 + softplus(raw))


def negative_binomial(x, log_mean, r):
    return stats.nbinom.logpmf(x, r, r / (r + np.exp(log_mean)))


def ordinal(x, loc, *raw):
    raw = np.array(raw)
    steps = 0.01 + softplus(raw[1:])
    thresholds = np.concatenate([[-np.inf], raw[:1], raw[0] + np.cumsum(steps), [np.inf]])
    cumulative = sigmoid(thresholds - loc)
    return np.log(cumulative[int(x) + 1] - cumulative[int(x)])


def categorical(x, *scores):
    return F.log_softmax(torch.tensor(scores), 0)[int(x)].item()


# Beyond these the outputs drawn in the tests leave no mass that counts.
MANY = tuple(range(3000))
TABLE = {
    "bernoulli": Family(
        Bernoulli(), binary, lambda x, s: stats.bernoulli.logpmf(x, sigmoid(s)), (0, 1)
    ),
    "laplace": Family(
        Laplace(0.3), fractions, lambda x, s: stats.laplace.logpdf(x, sigmoid(s), 0.3)
    ),
    "gaussian": Family(Gaussian(), normal, gaussian),
    "gaussian, a scale a dimension": Family(Gaussian(per="dimension"), normal, gaussian),
    "gaussian, one scale": Family(Gaussian(per="all"), normal, gaussian),
    "gaussian, fixed": Family(Gaussian(0.7), normal, lambda x, loc: stats.norm.logpdf(x, loc, 0.7)),
    "student-t": Family(StudentT(), normal, student(4.0)),
    "student-t, a scale a dimension": Family(StudentT(per="dimension", df=3), normal, student(3.0)),
    "student-t, learned df": Family(
        StudentT(scale=0.7, df=None),
        normal,
        lambda x, loc, raw: stats.t.logpdf(x, 1.01 + softplus(raw), loc, 0.7),
    ),
    "log-normal": Family(
        LogNormal(),
        positive,
        lambda x, loc, raw: stats.lognorm.logpdf(x, 0.01 + softplus(raw), scale=np.exp(loc)),
    ),
    "poisson": Family(Poisson(), counts, lambda x, s: stats.poisson.logpmf(x, np.exp(s)), MANY),
    "negative binomial": Family(
        NegativeBinomial(),
        counts,
        lambda x, m, raw: negative_binomial(x, m, 0.001 + softplus(raw)),
        MANY,
    ),
    "negative binomial, by the decoder": Family(
        NegativeBinomial(per="value"),
        counts,
        lambda x, m, raw: negative_binomial(x, m, 0.001 + softplus(raw)),
        MANY,
    ),
    "negative binomial, fixed": Family(
        NegativeBinomial(2.5), counts, lambda x, m: negative_binomial(x, m, 2.5), MANY
    ),
    "categorical": Family(Categorical(3), codes(3), categorical, (0, 1, 2)),
    "ordinal": Family(Ordinal(4), codes(4), ordinal, (0, 1, 2, 3)),
    "ordinal, two levels": Family(Ordinal(2), codes(2), ordinal, (0, 1)),
}

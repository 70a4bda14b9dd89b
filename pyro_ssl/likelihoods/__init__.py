"""Families of p(x|.) as objects: `Gaussian()`, `StudentT(df=3)`, `Mixed(...)`, or your class."""

from pyro_ssl.likelihoods.base import (
    FAMILIES,
    Likelihood,
    as_likelihood,
    likelihood_from_dict,
    register_likelihood,
)
from pyro_ssl.likelihoods.categories import Categorical, Ordinal
from pyro_ssl.likelihoods.chunks import ClassChunks
from pyro_ssl.likelihoods.conditional import Conditional
from pyro_ssl.likelihoods.counts import Multinomial, NegativeBinomial, Poisson
from pyro_ssl.likelihoods.covariates import CovariateLikelihood
from pyro_ssl.likelihoods.densities import BagOfWords
from pyro_ssl.likelihoods.genes import GeneCounts
from pyro_ssl.likelihoods.mixed import Mixed
from pyro_ssl.likelihoods.pixels import Bernoulli, Laplace, pixel_likelihood
from pyro_ssl.likelihoods.real import Gaussian, LogNormal, StudentT
from pyro_ssl.likelihoods.scaling import Scaling

__all__ = [
    "FAMILIES",
    "BagOfWords",
    "Bernoulli",
    "Categorical",
    "ClassChunks",
    "Conditional",
    "CovariateLikelihood",
    "Gaussian",
    "GeneCounts",
    "Laplace",
    "Likelihood",
    "LogNormal",
    "Mixed",
    "Multinomial",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "Scaling",
    "StudentT",
    "as_likelihood",
    "likelihood_from_dict",
    "pixel_likelihood",
    "register_likelihood",
]

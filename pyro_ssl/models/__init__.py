"""Models, each a generative Pyro program and its guide; one file for each published model."""

from pyro_ssl.models.adgm import ADGM
from pyro_ssl.models.approx_m2 import ApproxM2
from pyro_ssl.models.autoencoder import Autoencoder
from pyro_ssl.models.base import PyroModel, SSLModel
from pyro_ssl.models.bernoulli_vae import BernoulliVAE
from pyro_ssl.models.bit_mixture import BitMixture
from pyro_ssl.models.ccvae import CCVAE
from pyro_ssl.models.generator_vae import GeneratorVAE
from pyro_ssl.models.gumbel_softmax_m2 import GumbelSoftmaxM2
from pyro_ssl.models.latent_m2 import LatentM2
from pyro_ssl.models.leave_one_out_m2 import LeaveOneOutM2
from pyro_ssl.models.log_gamma import LogGamma
from pyro_ssl.models.logistic_normal import LogisticNormal
from pyro_ssl.models.logistic_normal_m2 import LogisticNormalM2
from pyro_ssl.models.m1m2 import M1M2, active_latents, posteriors
from pyro_ssl.models.m2 import M2
from pyro_ssl.models.mlp_classifier import MLPClassifier
from pyro_ssl.models.multi_label_ccvae import MultiLabelCCVAE
from pyro_ssl.models.multi_label_m2 import MultiLabelM2
from pyro_ssl.models.rao_blackwell_m2 import RaoBlackwellM2
from pyro_ssl.models.regression_m2 import RegressionM2
from pyro_ssl.models.relaxed_m2 import RelaxedM2
from pyro_ssl.models.sdgm import SDGM
from pyro_ssl.models.terms import add_term
from pyro_ssl.models.vae import VAE

__all__ = [
    "ADGM",
    "CCVAE",
    "M1M2",
    "M2",
    "SDGM",
    "VAE",
    "ApproxM2",
    "Autoencoder",
    "BernoulliVAE",
    "BitMixture",
    "GeneratorVAE",
    "GumbelSoftmaxM2",
    "LatentM2",
    "LeaveOneOutM2",
    "LogGamma",
    "LogisticNormal",
    "LogisticNormalM2",
    "MLPClassifier",
    "MultiLabelCCVAE",
    "MultiLabelM2",
    "PyroModel",
    "RaoBlackwellM2",
    "RegressionM2",
    "RelaxedM2",
    "SSLModel",
    "active_latents",
    "add_term",
    "posteriors",
]

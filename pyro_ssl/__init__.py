"""Semi-supervised learning with deep generative models, as Pyro programs.

It exports what most programs need: `fit`, `FitConfig`, `SSLData`, the models, their likelihoods,
the estimators, and the parts of a training loop. Each is imported on first use, so that
`import pyro_ssl` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pyro_ssl.data import Augmentation, SSLData, load_dataset, split_labels
    from pyro_ssl.errors import PyroSSLError
    from pyro_ssl.estimator import (
        M2Classifier,
        SemiSupervisedSplit,
        SemiSupervisedVAEClassifier,
        SemiSupervisedVAERegressor,
        from_anndata,
    )
    from pyro_ssl.infer import (
        Anneal,
        Consistency,
        FitConfig,
        History,
        MiniBatches,
        MLflowLogger,
        Objective,
        Progress,
        RowWeights,
        TensorBoardLogger,
        fit,
        load_model,
        save_model,
    )
    from pyro_ssl.likelihoods import (
        Bernoulli,
        Categorical,
        Conditional,
        Gaussian,
        GeneCounts,
        Laplace,
        Likelihood,
        LogNormal,
        Mixed,
        Multinomial,
        NegativeBinomial,
        Ordinal,
        Poisson,
        StudentT,
        register_likelihood,
    )
    from pyro_ssl.models import (
        ADGM,
        CCVAE,
        M1M2,
        M2,
        SDGM,
        VAE,
        ApproxM2,
        Autoencoder,
        BernoulliVAE,
        BitMixture,
        GeneratorVAE,
        GumbelSoftmaxM2,
        LatentM2,
        LeaveOneOutM2,
        LogGamma,
        LogisticNormal,
        LogisticNormalM2,
        MLPClassifier,
        MultiLabelCCVAE,
        MultiLabelM2,
        PyroModel,
        RaoBlackwellM2,
        RegressionM2,
        SSLModel,
        add_term,
    )
    from pyro_ssl.models.rows import Batch
    from pyro_ssl.pretrained import load_pretrained
    from pyro_ssl.results import load_results, load_summary

_MODULES = {
    "pyro_ssl.data": ("Augmentation", "SSLData", "load_dataset", "split_labels"),
    "pyro_ssl.errors": ("PyroSSLError",),
    "pyro_ssl.estimator": (
        "M2Classifier",
        "SemiSupervisedSplit",
        "SemiSupervisedVAEClassifier",
        "SemiSupervisedVAERegressor",
        "from_anndata",
    ),
    "pyro_ssl.infer": (
        "Anneal",
        "Consistency",
        "FitConfig",
        "History",
        "MLflowLogger",
        "MiniBatches",
        "Objective",
        "Progress",
        "RowWeights",
        "TensorBoardLogger",
        "fit",
        "load_model",
        "save_model",
    ),
    "pyro_ssl.likelihoods": (
        "Bernoulli",
        "Categorical",
        "Conditional",
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
        "StudentT",
        "register_likelihood",
    ),
    "pyro_ssl.models": (
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
        "SSLModel",
        "add_term",
    ),
    "pyro_ssl.models.rows": ("Batch",),
    "pyro_ssl.pretrained": ("load_pretrained",),
    "pyro_ssl.results": ("load_results", "load_summary"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])

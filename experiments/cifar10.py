"""CCVAE, M2 and a classifier, all convolutional, on CIFAR-10 or a folder of one's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.ccvae import Characteristics
from experiments.cifar10_ccvae import Config
from experiments.semi_supervised import check_classifier
from pyro_ssl.data import ImageDataset, SSLData, load_cifar10, load_class_folders
from pyro_ssl.likelihoods import pixel_likelihood
from pyro_ssl.models import CCVAE, M2, RaoBlackwellM2, SSLModel


class Cifar10Experiment(Characteristics):
    """CCVAE, M2 and the classifier of labelled rows alone on colour images of one class each.

    Args:
        config: the options of `cifar10_ccvae`.
    """

    def __init__(self, config: Config) -> None:
        if config.folder is not None:
            config = replace(config, dataset=Path(config.folder).resolve().name)
        m2 = "m2" if config.num_summed is None else "raoblackwellm2"
        names = {"ccvae": "ccvae", "m2": m2, "classifier": "mlpclassifier"}
        check_classifier(config)
        super().__init__("cifar10_ccvae", config, [names[m] for m in dict.fromkeys(config.model)])
        self.config: Config = config
        self.channels = config.channels

    def load(self) -> ImageDataset:
        """Return CIFAR-10, or what lies in the folder."""
        config = self.config
        if config.folder is not None:
            return load_class_folders(config.folder, config.size)[0]
        return load_cifar10(config.data_root)

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        del found["model"], found["folder"]
        if self.config.folder is None:
            del found["size"]
        else:
            found["digest"] = dataset.digest
        return found

    def make_model(self, name: str, data: SSLData) -> SSLModel:
        """Return the model of that name, newly initialised."""
        config = self.config
        common: dict[str, Any] = {
            "input_shape": data.input_shape,
            "num_classes": data.num_classes,
            "hidden_dims": config.hidden_dims,
            "batch_norm": config.batch_norm,
            "input_dropout": config.input_dropout,
            "likelihood": pixel_likelihood(config.likelihood, config.laplace_scale),
            "channels": config.channels,
        }
        if name == "ccvae":
            return CCVAE(
                style_dim=config.ccvae_style_dim,
                kl_weight=config.kl_weight,
                num_samples=config.num_samples,
                alpha=config.alpha,
                **common,
            )
        common |= {
            "latent_dim": config.latent_dim,
            "alpha": config.alpha,
        }
        if config.num_summed is None:
            return M2(**common)
        return RaoBlackwellM2(num_summed=config.num_summed, **common)

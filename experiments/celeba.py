"""Models of binary attributes on CelebA, or on a folder of one's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.attributes import AttributeExperiment
from experiments.celeba_ccvae import Config
from pyro_ssl.data import CELEBA_18, ImageDataset, load_attribute_folder, load_celeba
from pyro_ssl.errors import ConfigError


class CelebAExperiment(AttributeExperiment):
    """CCVAE, M2 and the classifier of labelled rows alone on photographs.

    Args:
        config: the options of `celeba_ccvae`.
    """

    def __init__(self, config: Config) -> None:
        if config.folder is not None:
            config = replace(config, dataset=Path(config.folder).resolve().name)
        super().__init__("celeba_ccvae", config)
        self.config: Config = config

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        del found["folder"]
        if self.config.folder is not None:
            del found["attributes"], found["rows"]
            found["digest"] = dataset.digest
        return found

    def load(self) -> ImageDataset:
        """Return CelebA, or what lies in the folder."""
        config = self.config
        if config.folder is not None:
            if config.rows is not None:
                raise ConfigError("rows is for CelebA: all images of a folder are taken")
            dataset, self.attributes = load_attribute_folder(config.folder, config.size)
        else:
            names = CELEBA_18 if config.attributes == 18 else None
            dataset, self.attributes = load_celeba(
                config.data_root, config.size, names, config.rows
            )
        return dataset

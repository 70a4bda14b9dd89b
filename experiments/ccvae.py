"""CCVAE on data sets of one label a row."""

from dataclasses import replace
from typing import Any

import pandas as pd
import torch

from experiments.contender import Contender
from experiments.experiment import Figures, Result, mean_with_error
from experiments.mnist_ccvae import Config
from experiments.rows import examples_of
from experiments.semi_supervised import SemiSupervised
from pyro_ssl import plots
from pyro_ssl.data import ImageDataset, SSLData
from pyro_ssl.infer import FitConfig
from pyro_ssl.likelihoods import pixel_likelihood
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import CCVAE, SSLModel


class Characteristics(SemiSupervised):
    """An experiment whose CCVAEs are bounded and drawn."""

    def baseline_config(self, how: FitConfig, data: SSLData) -> FitConfig:
        """Return how the classifier alone is trained: for as many steps as the others."""
        return replace(super().baseline_config(how, data), steps_per_epoch=how.batches(data).steps)

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: ImageDataset
    ) -> tuple[Result, Figures]:
        """Classify the test rows, bound their log-likelihood, draw what each latent stands for."""
        result, figures = super().test(contender, frame, dataset)
        model, data = contender.model, contender.data
        if isinstance(model, CCVAE):
            torch.manual_seed(contender.seed)
            xs = dataset.test_xs.to(self.device)
            xs = xs.bernoulli() if self.config.binarise else xs
            result |= mean_with_error("test_elbo", importance_weighted_bound(model, xs))
            examples = examples_of(data, 20)
            figures["reconstructions"] = plots.reconstructions(model, examples[:10])
            figures["samples"] = plots.class_samples(model)
            figures["class_swaps"] = plots.class_swaps(model, examples[:10])
            figures["characteristic_walks"] = plots.characteristic_walks(model, examples[0])
            figures["style_walks"] = plots.style_walks(model, examples[:10], examples[-10:])
            figures["class_variances"] = plots.class_variances(model)
        return result, figures


class CCVAEExperiment(Characteristics):
    """CCVAE, and the classifier without unlabelled rows.

    Args:
        config: the options of `mnist_ccvae`.
    """

    def __init__(self, config: Config) -> None:
        names = ["mlpclassifier"] if config.baseline and config.any_labels else []
        super().__init__("mnist_ccvae", config, [*names, "ccvae"])
        self.config: Config = config
        self.channels = config.channels

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        del found["baseline"]
        return found

    def make_model(self, name: str, data: SSLData) -> SSLModel:
        """Return the CCVAE, newly initialised."""
        config = self.config
        return CCVAE(
            input_shape=data.input_shape,
            num_classes=data.num_classes,
            style_dim=config.style_dim,
            hidden_dims=config.hidden_dims,
            batch_norm=config.batch_norm,
            input_dropout=config.input_dropout,
            likelihood=pixel_likelihood(config.likelihood, config.laplace_scale),
            kl_weight=config.kl_weight,
            alpha=config.alpha,
            num_samples=config.num_samples,
            channels=config.channels,
        )

"""Models of binary attributes of images, each attribute known or unknown."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch

from experiments.contender import Contender
from experiments.experiment import Figures, Result, mean_with_error
from experiments.options import AttributeOptions
from experiments.rows import examples_of
from experiments.semi_supervised import SemiSupervised, check_classifier
from pyro_ssl import plots
from pyro_ssl.data import ImageDataset, SSLData
from pyro_ssl.infer import FitConfig
from pyro_ssl.likelihoods import pixel_likelihood
from pyro_ssl.metrics import accuracy, importance_weighted_bound, predict_in_chunks
from pyro_ssl.models import MLPClassifier, MultiLabelCCVAE, MultiLabelM2, SSLModel

# The folders' names of what the command line calls otherwise.
NAMES = {"ccvae": "multilabelccvae", "m2": "multilabelm2", "classifier": "mlpclassifier"}


class AttributeExperiment(SemiSupervised):
    """CCVAE, M2 and the classifier of labelled rows alone. A subclass says on what.

    Args:
        name: name of the experiment, also of its folder.
        config: its options.
        before: names of contenders that a subclass has before these.

    Attributes:
        attributes: names of the attributes; known from `load` on.
    """

    attributes: tuple[str, ...] = ()

    def __init__(self, name: str, config: AttributeOptions, before: Sequence[str] = ()) -> None:
        check_classifier(config)
        super().__init__(name, config, [*before, *(NAMES[m] for m in dict.fromkeys(config.model))])
        self.config: AttributeOptions = config

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        del found["model"]
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
        if name == NAMES["m2"]:
            return MultiLabelM2(
                latent_dim=config.latent_dim,
                temperature=config.temperature,
                alpha=config.alpha,
                **common,
            )
        return MultiLabelCCVAE(
            style_dim=config.ccvae_style_dim,
            kl_weight=config.kl_weight,
            num_samples=config.num_samples,
            alpha=config.alpha,
            **common,
        )

    def make_baseline(self, data: SSLData) -> SSLModel:
        """Return a classifier of attributes, newly initialised."""
        config = self.config
        return MLPClassifier(
            input_shape=data.input_shape,
            num_classes=data.num_classes,
            hidden_dims=config.hidden_dims,
            batch_norm=config.batch_norm,
            input_dropout=config.input_dropout,
            channels=config.channels,
            multi_label=True,
        )

    def baseline_config(self, how: FitConfig, data: SSLData) -> FitConfig:
        """Return how the classifier alone is trained: for as many steps as the others."""
        return replace(super().baseline_config(how, data), steps_per_epoch=how.batches(data).steps)

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: ImageDataset
    ) -> tuple[Result, Figures]:
        """Classify the test rows, also by attribute, bound their likelihood, draw the latents."""
        result, figures = super().test(contender, frame, dataset)
        model = contender.model
        assert isinstance(model, SSLModel)
        probabilities = predict_in_chunks(model, dataset.test_xs.to(self.device)).cpu()
        each = zip(
            self.attributes, probabilities.split(1, 1), dataset.test_ys.split(1, 1), strict=True
        )
        for attribute, likely, ys in each:
            if (ys >= 0).any():
                result[f"test_accuracy_{attribute}"] = accuracy(likely, ys.cpu())
        if isinstance(model, MultiLabelCCVAE | MultiLabelM2):
            torch.manual_seed(contender.seed)
            xs = dataset.test_xs.to(self.device)
            xs = xs.bernoulli() if self.config.binarise else xs
            result |= mean_with_error(
                "test_elbo", importance_weighted_bound(model, xs, at_once=500)
            )
            examples = examples_of(contender.data, 20)
            figures["interventions"] = plots.interventions(model, examples[:10], self.attributes)
            figures["samples"] = plots.class_samples(model)
        if isinstance(model, MultiLabelCCVAE):
            figures["characteristic_walks"] = plots.characteristic_walks(model, examples[0])
            figures["style_walks"] = plots.style_walks(model, examples[:10], examples[-10:])
            figures["class_variances"] = plots.class_variances(model)
        return result, figures

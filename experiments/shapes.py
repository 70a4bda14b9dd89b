"""Models of binary attributes on synthetic shapes, and a judge of what they change."""

from dataclasses import replace
from typing import Any

import pandas as pd
import torch

from experiments.contender import Contender
from experiments.experiment import Figures, Result, mean_with_error
from experiments.semi_supervised import SemiSupervised, seeded_split
from experiments.shapes_ccvae import Config
from pyro_ssl import plots
from pyro_ssl.data import SHAPE_ATTRIBUTES, ImageDataset, SSLData, shapes_dataset
from pyro_ssl.infer import FitConfig
from pyro_ssl.metrics import importance_weighted_bound, intervention_score
from pyro_ssl.models import MLPClassifier, MultiLabelCCVAE, MultiLabelM2, SSLModel

JUDGE = "judge"
# The folders' names of what the command line calls otherwise.
NAMES = {"ccvae": "multilabelccvae", "m2": "multilabelm2", "classifier": "mlpclassifier"}
# Test images whose attributes are changed, one after the other.
_INTERVENTIONS = 1000


class ShapesExperiment(SemiSupervised):
    """CCVAE, M2 and the classifier of labelled rows alone, after the judge of their changes.

    Args:
        config: the options of `shapes_ccvae`.
    """

    def __init__(self, config: Config) -> None:
        names = [JUDGE, *(NAMES[name] for name in dict.fromkeys(config.models))]
        super().__init__("shapes_ccvae", config, names)
        self.config: Config = config

    def load(self) -> ImageDataset:
        """Return the shapes."""
        config = self.config
        return shapes_dataset(config.train_rows, config.test_rows, config.size)

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        del found["models"]
        return found

    def contenders(self, dataset: ImageDataset, seed: int, trial: bool = False) -> list[Contender]:
        """Build the judge, which sees every label, and the others on one split."""
        judge, *others = super().contenders(dataset, seed, trial)
        split = seeded_split(self.config, dataset, seed, None)
        data = SSLData.from_split(dataset, split).to(self.device)
        how = replace(judge.fit_config, epochs=self.config.judge_epochs)
        judge = replace(judge, data=data, fit_config=how, split_digest=split.digest)
        return [judge, *others]

    def make_model(self, name: str, data: SSLData) -> SSLModel:
        """Return the model of that name, newly initialised."""
        config = self.config
        if name == JUDGE:
            return self.make_baseline(data)
        common: dict[str, Any] = {
            "input_shape": data.input_shape,
            "num_classes": data.num_classes,
            "hidden_dims": config.hidden_dims,
            "likelihood": config.likelihood,
            "laplace_scale": config.laplace_scale,
            "convolutional": True,
        }
        if name == NAMES["m2"]:
            return MultiLabelM2(
                latent_dim=config.latent_dim,
                temperature=config.temperature,
                batch_norm=config.batch_norm,
                input_dropout=config.input_dropout,
                classification_weight=self.weight_of_labels(data),
                **common,
            )
        return MultiLabelCCVAE(
            style_dim=config.latent_dim,
            kl_weight=config.kl_weight,
            num_samples=config.num_samples,
            # 1 is what the bound has of it.
            classification_weight=1.0 + self.weight_of_labels(data),
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
            convolutional=True,
            multi_label=True,
        )

    def baseline_config(self, how: FitConfig, data: SSLData) -> FitConfig:
        """Return how the classifier alone is trained: for as many steps as the others."""
        return replace(super().baseline_config(how, data), steps_per_epoch=how.batches(data).steps)

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: ImageDataset
    ) -> tuple[Result, Figures]:
        """Classify the test rows, bound their log-likelihood, change their attributes."""
        result, figures = super().test(contender, frame, dataset)
        model = contender.model
        if isinstance(model, MultiLabelCCVAE | MultiLabelM2):
            torch.manual_seed(contender.seed)
            xs = dataset.test_xs.to(self.device)
            result |= mean_with_error(
                "test_elbo", importance_weighted_bound(model, xs, at_once=500)
            )
            judge = self.trained(JUDGE, contender.seed)
            assert isinstance(judge, SSLModel)
            for share, values in intervention_score(model, judge, xs[:_INTERVENTIONS]).items():
                result[f"intervention_{share}"] = values.mean().item()
                for attribute, value in zip(SHAPE_ATTRIBUTES, values.tolist(), strict=True):
                    result[f"intervention_{share}_{attribute}"] = value
            figures["interventions"] = plots.interventions(model, xs[:10], SHAPE_ATTRIBUTES)
        if isinstance(model, MultiLabelCCVAE):
            figures["characteristic_walks"] = plots.characteristic_walks(model, xs[0])
            figures["style_walks"] = plots.style_walks(model, xs[:10], xs[-10:])
        return result, figures

"""Models of binary attributes on synthetic shapes, and a judge of what they change."""

from dataclasses import replace

import pandas as pd

from experiments.attributes import AttributeExperiment
from experiments.contender import Contender
from experiments.experiment import Figures, Result
from experiments.rows import seeded_split
from experiments.shapes_ccvae import Config
from pyro_ssl.data import SHAPE_ATTRIBUTES, ImageDataset, SSLData, shapes_dataset
from pyro_ssl.metrics import intervention_score
from pyro_ssl.models import MultiLabelCCVAE, MultiLabelM2, SSLModel

JUDGE = "judge"
# Test images whose attributes are changed, one after the other.
_INTERVENTIONS = 1000


class ShapesExperiment(AttributeExperiment):
    """CCVAE, M2 and the classifier of labelled rows alone, after the judge of their changes.

    Args:
        config: the options of `shapes_ccvae`.
    """

    attributes = SHAPE_ATTRIBUTES

    def __init__(self, config: Config) -> None:
        super().__init__("shapes_ccvae", config, [JUDGE])
        self.config: Config = config

    def load(self) -> ImageDataset:
        """Return the shapes."""
        config = self.config
        return shapes_dataset(config.train_rows, config.test_rows, config.size)

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
        return self.make_baseline(data) if name == JUDGE else super().make_model(name, data)

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: ImageDataset
    ) -> tuple[Result, Figures]:
        """Classify the test rows, bound their log-likelihood, change their attributes."""
        result, figures = super().test(contender, frame, dataset)
        model = contender.model
        if isinstance(model, MultiLabelCCVAE | MultiLabelM2):
            judge = self.trained(JUDGE, contender.seed)
            assert isinstance(judge, SSLModel)
            xs = dataset.test_xs[:_INTERVENTIONS].to(self.device)
            for share, values in intervention_score(model, judge, xs).items():
                result[f"intervention_{share}"] = values.mean().item()
                for attribute, value in zip(self.attributes, values.tolist(), strict=True):
                    result[f"intervention_{share}_{attribute}"] = value
        return result, figures

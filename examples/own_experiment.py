"""An experiment on your own data: `python examples/own_experiment.py --labels 20 --seeds 0 1`."""

from dataclasses import dataclass

import torch
import tyro

from experiments.engine import options, runner, semi_supervised
from pyro_ssl import M2
from pyro_ssl.data import ImageDataset


@dataclass(frozen=True)
class Config(options.SemiSupervisedOptions):
    dataset: str = "halves"
    latent_dim: int = 5


def load(config: Config) -> ImageDataset:
    # Your inputs in [0, 1] and labels go here. In these images, class 0 has a darker half.
    random = torch.Generator().manual_seed(0)
    xs, ys = torch.rand(600, 1, 6, 6, generator=random), torch.arange(600) % 2
    xs[ys == 0, :, :3] *= 0.2
    return ImageDataset(config.dataset, xs[:500], ys[:500], xs[500:], ys[500:], num_classes=2)


def build(config: Config, data) -> M2:
    names = ("latent_dim", "hidden_dims", "alpha", "batch_norm", "input_dropout")
    return M2(data.input_shape, data.num_classes, **{n: getattr(config, n) for n in names})


def comparison(config: Config) -> runner.Comparison:
    models = {"mlpclassifier": semi_supervised.build_classifier, "m2": build}
    measures = (semi_supervised.measure_classification,)
    return semi_supervised.semi_supervised("own_experiment", config, models, measures, load)


if __name__ == "__main__":
    raise SystemExit(runner.run_command(comparison, tyro.cli(Config)))

"""The models an experiment compares, built alike from one configuration."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from experiments.devices import resolve_precision
from pyro_ssl.data import ImageDataset, SSLData, split_labels
from pyro_ssl.infer import FitConfig
from pyro_ssl.models import M2, MLPClassifier, RaoBlackwellM2, SSLModel

if TYPE_CHECKING:
    from experiments.mnist_m2 import Config

# A hundred labelled rows are a single batch: the baseline makes at least so many steps an epoch.
_BASELINE_STEPS_PER_EPOCH = 25


@dataclass(frozen=True)
class Contender:
    """One model of the comparison, with one seed.

    Attributes:
        name: the model's name in files and tables.
        seed: the seed.
        model: the model, newly initialised.
        data: the rows it may see.
        fit_config: how it is trained.
        split_digest: which rows are labelled, unlabelled, for validation.
    """

    name: str
    seed: int
    model: SSLModel
    data: SSLData
    fit_config: FitConfig
    split_digest: str

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.fit_config.batches(self.data).steps


def make_contenders(
    names: Iterable[str], config: "Config", dataset: ImageDataset, seed: int, device: torch.device
) -> list[Contender]:
    """Build contenders on the same split, with the same networks and the same schedule.

    Args:
        names: of `m2`, `raoblackwellm2` and `mlpclassifier`.
        config: the experiment's options.
        dataset: where the rows come from.
        seed: seed of split, weights and noise.
        device: where to put models and rows.
    """
    train_ys = dataset.train_ys.numpy()
    validation = validation_rows(config, dataset)
    split = split_labels(train_ys, dataset.num_classes, config.labels, validation, seed)
    data = SSLData.from_split(dataset, split).to(device)
    network: dict[str, Any] = {
        "input_shape": data.input_shape,
        "num_classes": data.num_classes,
        "hidden_dims": config.hidden_dims,
        "batch_norm": config.batch_norm,
        "input_dropout": config.input_dropout,
    }
    how = FitConfig(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        learning_rate_schedule=config.learning_rate_schedule,
        binarise=config.binarise,
        precision=resolve_precision(config.precision, device),
        compile=config.compile,
        cuda_graph=config.cuda_graph,
        keep_best=config.keep_best,
        patience=config.patience,
        seed=seed,
    )
    contenders = []
    for name in names:
        torch.manual_seed(seed)
        if name == "mlpclassifier":
            model: SSLModel = MLPClassifier(**network)
            rows, fit_config = data.labelled_only(), _baseline_config(how, data)
        else:
            total = data.num_labelled + data.num_unlabelled
            weight = config.alpha * total / max(data.num_labelled, 1)
            network_of_m2 = {
                "latent_dim": config.latent_dim,
                "classification_weight": weight,
                "class_chunk": config.class_chunk,
                **network,
            }
            if name == "raoblackwellm2":
                assert config.num_summed is not None
                model = RaoBlackwellM2(num_summed=config.num_summed, **network_of_m2)
            else:
                model = M2(**network_of_m2)
            rows, fit_config = data, how
        model = model.to(device)
        contenders.append(Contender(name, seed, model, rows, fit_config, split.digest))
    return contenders


def _baseline_config(how: FitConfig, data: SSLData) -> FitConfig:
    return replace(
        how,
        batch_size=min(how.batch_size, data.num_labelled),
        steps_per_epoch=max(_BASELINE_STEPS_PER_EPOCH, data.num_labelled // how.batch_size),
    )


def validation_rows(config: "Config", dataset: ImageDataset) -> int:
    """Return how many rows to validate on: the option, or 10,000 but at most a quarter."""
    if config.validation is not None:
        return config.validation
    return min(10_000, len(dataset.train_xs) // 4)

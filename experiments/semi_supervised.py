"""A semi-supervised model and its labelled-only baseline, tested by their classifications."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from experiments.contender import Contender
from experiments.devices import resolve_precision
from experiments.experiment import Experiment, Figures, Result
from experiments.options import ColourOptions, DataOptions, SemiSupervisedOptions, TrainingOptions
from experiments.rows import examples_of, labelled_rows, seeded_split, validation_rows
from pyro_ssl import plots
from pyro_ssl.data import ImageDataset, SSLData, load_dataset
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import FitConfig
from pyro_ssl.metrics import (
    accuracy,
    expected_calibration_error,
    one_label_each,
    predict_in_chunks,
)
from pyro_ssl.models import M2, MLPClassifier, RaoBlackwellM2, SSLModel

if TYPE_CHECKING:
    from experiments import mnist_conv_m2, mnist_m2

# A hundred labelled rows are a single batch: the baseline makes at least so many steps an epoch.
_BASELINE_STEPS_PER_EPOCH = 25


class ImageExperiment(Experiment[ImageDataset]):
    """Contenders on a data set by name, some of whose training rows are set aside to validate on.

    Args:
        name: name of the experiment, also of its folder.
        config: its options.
        names: names of the contenders.
        suffix: what their folders' names end with, before the tag; may be empty.
    """

    def __init__(self, name: str, config: DataOptions, names: list[str], suffix: str) -> None:
        super().__init__(name, config, names, suffix)
        self._data_options = config

    def load(self) -> ImageDataset:
        """Return the data set, downloading it if need be."""
        return load_dataset(self._data_options.dataset, self._data_options.data_root)

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        return super().decisive(dataset) | {
            "validation": validation_rows(self._data_options, dataset)
        }


class SemiSupervised(ImageExperiment):
    """A semi-supervised model against the classifier on the labelled rows alone.

    Args:
        name: name of the experiment, also of its folder.
        config: its options.
        names: names of the models; `mlpclassifier` is the baseline.

    Attributes:
        channels: channels of the convolutions through which networks see images; None for none.
        steps_per_epoch: steps an epoch; None for one pass over the unlabelled rows.
    """

    channels: int | None = None
    steps_per_epoch: int | None = None

    def __init__(self, name: str, config: SemiSupervisedOptions, names: list[str]) -> None:
        labels = config.labels if config.label_fraction is None else config.label_fraction
        super().__init__(name, config, names, f"{config.dataset}-{labels}")
        self.config = config

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        if self.config.label_fraction is not None:
            del found["labels"]
        return found

    def make_model(self, name: str, data: SSLData) -> SSLModel:
        """Return the semi-supervised model of that name, newly initialised, for these rows."""
        raise NotImplementedError

    def how_to_train(self, name: str, seed: int, data: SSLData) -> FitConfig:
        """Return how the contender of that name is trained on the rows of the experiment."""
        how = fit_config(self.config, self.device, seed)
        return replace(how, steps_per_epoch=self.steps_per_epoch)

    def make_baseline(self, data: SSLData) -> SSLModel:
        """Return the classifier alone, newly initialised, for these rows."""
        return MLPClassifier(
            input_shape=data.input_shape,
            num_classes=data.num_classes,
            hidden_dims=self.config.hidden_dims,
            batch_norm=self.config.batch_norm,
            input_dropout=self.config.input_dropout,
            channels=self.channels,
        )

    def baseline_config(self, how: FitConfig, data: SSLData) -> FitConfig:
        """Return how the classifier alone is trained, when the others are trained as `how` says."""
        steps = max(_BASELINE_STEPS_PER_EPOCH, data.num_labelled // how.batch_size)
        return replace(
            how,
            batch_size=min(how.batch_size, data.num_labelled),
            steps_per_epoch=how.steps_per_epoch or steps,
        )

    def contenders(self, dataset: ImageDataset, seed: int, trial: bool = False) -> list[Contender]:
        """Build all on the same split and with the same schedule."""
        config = self.config
        split = seeded_split(config, dataset, seed, labelled_rows(config, dataset))
        data = SSLData.from_split(dataset, split).to(self.device)
        found = []
        for name in self.paths:
            torch.manual_seed(seed)
            how = self.how_to_train(name, seed, data)
            if name == "mlpclassifier":
                model = self.make_baseline(data)
                rows, how_it = data.labelled_only(), self.baseline_config(how, data)
            else:
                model, rows, how_it = self.make_model(name, data), data, how
            model = model.to(self.device)
            found.append(Contender(name, seed, model, rows, how_it, split.digest))
        return found

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: ImageDataset
    ) -> tuple[Result, Figures]:
        """Classify the test rows."""
        model, seed = contender.model, contender.seed
        assert isinstance(model, SSLModel)
        test_ys = dataset.test_ys.to(self.device)
        probabilities = predict_in_chunks(model, dataset.test_xs.to(self.device))
        result = {
            "labels": contender.data.num_labelled,
            "test_accuracy": accuracy(probabilities, test_ys),
            "test_ece": expected_calibration_error(probabilities, test_ys),
            "test_rows": len(test_ys),
        }
        labels = contender.data.num_labelled
        title = f"{contender.name}, {dataset.name}, {labels} labels, seed {seed}"
        each = one_label_each(probabilities, test_ys)
        figures = {"reliability": plots.reliability(*each, f"{title}\ntest set")}
        if isinstance(model, plots.CLASS_CONDITIONAL) and not model.multi_label:
            torch.manual_seed(seed)
            figures["samples"] = plots.class_samples(model)
            figures["analogies"] = plots.analogies(model, examples_of(contender.data, 10))
            if model.latent_dim == 2:
                figures["manifolds"] = plots.class_manifolds(model)
        return result, figures


class M2Experiment(SemiSupervised):
    """M2, or RaoBlackwellM2 where `num_summed` is given.

    Args:
        config: the options of `mnist_m2`.
        name: name of the experiment.
    """

    def __init__(self, config: "mnist_m2.Config", name: str = "mnist_m2") -> None:
        names = ["m2" if config.num_summed is None else "raoblackwellm2"]
        if config.baseline and config.any_labels:
            names.insert(0, "mlpclassifier")
        super().__init__(name, config, names)
        self.config: mnist_m2.Config = config

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        del found["baseline"], found["class_chunk"]
        return found

    def make_model(self, name: str, data: SSLData) -> SSLModel:
        """Return the M2, newly initialised."""
        config = self.config
        options: dict[str, Any] = {
            "input_shape": data.input_shape,
            "num_classes": data.num_classes,
            "latent_dim": config.latent_dim,
            "hidden_dims": config.hidden_dims,
            "batch_norm": config.batch_norm,
            "input_dropout": config.input_dropout,
            "alpha": config.alpha,
            "class_chunk": config.class_chunk,
            "channels": self.channels,
        }
        if config.num_summed is None:
            return M2(**options)
        return RaoBlackwellM2(num_summed=config.num_summed, **options)


class ConvM2Experiment(M2Experiment):
    """M2 with convolutions shared by classifier and encoder.

    Args:
        config: the options of `mnist_conv_m2`.
    """

    def __init__(self, config: "mnist_conv_m2.Config") -> None:
        super().__init__(config, "mnist_conv_m2")
        self.channels = config.channels

    def baseline_config(self, how: FitConfig, data: SSLData) -> FitConfig:
        """Return how the classifier alone is trained: for as many steps as the others."""
        return replace(super().baseline_config(how, data), steps_per_epoch=how.batches(data).steps)


def fit_config(config: TrainingOptions, device: torch.device, seed: int) -> FitConfig:
    """Return how to train, as the options say."""
    return FitConfig(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        learning_rate_schedule=config.learning_rate_schedule,
        learning_rate_warmup=config.learning_rate_warmup,
        binarise=config.binarise,
        precision=resolve_precision(config.precision, device),
        compile=config.compile,
        cuda_graph=config.cuda_graph,
        keep_best=config.keep_best,
        patience=config.patience,
        seed=seed,
    )


def check_classifier(config: ColourOptions) -> None:
    """Raise a ConfigError if the classifier is wanted and no row is labelled."""
    if "classifier" in config.model and not config.any_labels:
        raise ConfigError("labels is 0, but the classifier learns from labelled rows alone")

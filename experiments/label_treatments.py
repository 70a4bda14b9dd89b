"""Models that differ in how they treat the missing label, side by side."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from experiments.contender import Contender
from experiments.experiment import Figures, Result, mean_with_error
from experiments.mnist_label_treatments import Config
from experiments.semi_supervised import SemiSupervised, fit_config
from pyro_ssl import plots
from pyro_ssl.data import ImageDataset, SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import Anneal, FitConfig
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import (
    M2,
    ApproxM2,
    GumbelSoftmaxM2,
    LeaveOneOutM2,
    LogGamma,
    LogisticNormal,
    LogisticNormalM2,
    MLPClassifier,
    RaoBlackwellM2,
    SSLModel,
)

Options = dict[str, Any]

# How to build each model, given the options of its networks.
TREATMENTS: dict[str, Callable[[Config, Options], SSLModel]] = {
    "m2": lambda c, o: M2(**o),
    "raoblackwellm2": lambda c, o: RaoBlackwellM2(num_summed=c.num_summed, **o),
    "leaveoneoutm2": lambda c, o: LeaveOneOutM2(num_samples=c.num_samples, **o),
    "approxm2": lambda c, o: ApproxM2(**o),
    "gumbelsoftmaxm2": lambda c, o: GumbelSoftmaxM2(temperature=c.gumbel_temperature[0], **o),
    "stgumbelsoftmaxm2": lambda c, o: GumbelSoftmaxM2(
        temperature=c.gumbel_temperature[0], straight_through=True, **o
    ),
    "logisticnormalm2": lambda c, o: LogisticNormalM2(temperature=c.normal_temperature[0], **o),
    "unsharpenedlogisticnormalm2": lambda c, o: LogisticNormalM2(temperature=1.0, **o),
    "stlogisticnormalm2": lambda c, o: LogisticNormalM2(
        temperature=c.normal_temperature[0], straight_through=True, **o
    ),
    "logisticnormal": lambda c, o: LogisticNormal(
        temperature=c.latent_temperature[0], posterior_shift=c.posterior_shift, **o
    ),
    "loggamma": lambda c, o: LogGamma(prior_concentration=c.prior_concentration[0], **o),
}

# Options that concern some of the models alone.
_RELAXED_BY_GUMBEL = ("gumbelsoftmaxm2", "stgumbelsoftmaxm2")
_RELAXED_BY_NORMAL = ("logisticnormalm2", "stlogisticnormalm2")
_LOGISTIC_NORMAL = (*_RELAXED_BY_NORMAL, "unsharpenedlogisticnormalm2", "logisticnormal")
_ON_THE_SIMPLEX = ("logisticnormal", "loggamma")
OPTIONS_OF: dict[str, tuple[str, ...]] = {
    "num_summed": ("raoblackwellm2",),
    "num_samples": ("leaveoneoutm2",),
    "gumbel_temperature": _RELAXED_BY_GUMBEL,
    "normal_temperature": _RELAXED_BY_NORMAL,
    "latent_temperature": ("logisticnormal",),
    "posterior_shift": ("logisticnormal",),
    "prior_concentration": ("loggamma",),
    "kl_simplex": _ON_THE_SIMPLEX,
    "kl_y": tuple(name for name in TREATMENTS if name not in _ON_THE_SIMPLEX),
}

# What a model takes from an option of its own, in place of the common one.
OWN_OPTIONS = {
    **{name: {"kl_z": "logisticnormal_kl_z"} for name in _LOGISTIC_NORMAL},
    "stgumbelsoftmaxm2": {
        "gumbel_temperature": "stgumbelsoftmaxm2_temperature",
        "alpha": "stgumbelsoftmaxm2_alpha",
        "learning_rate": "stgumbelsoftmaxm2_learning_rate",
    },
}

# What a model anneals beside the weights that all anneal: its buffer, and the option.
ANNEALED = {
    **dict.fromkeys(_RELAXED_BY_GUMBEL, ("temperature", "gumbel_temperature")),
    **dict.fromkeys(_RELAXED_BY_NORMAL, ("temperature", "normal_temperature")),
    "logisticnormal": ("temperature", "latent_temperature"),
    "loggamma": ("prior_concentration", "prior_concentration"),
}

# The latent that the label is observed from.
SIMPLEX_SITES = {"logisticnormal": "a", "loggamma": "pi"}


class LabelTreatments(SemiSupervised):
    """All treatments of the missing label, and the classifier without unlabelled rows.

    Args:
        config: the options of `mnist_label_treatments`.
    """

    def __init__(self, config: Config) -> None:
        names: list[str] = list(dict.fromkeys(config.models))
        if "all" in names:
            names = [*TREATMENTS, "mlpclassifier"][: None if config.any_labels else -1]
        elif "mlpclassifier" in names and not config.any_labels:
            raise ConfigError("labels is 0, but mlpclassifier learns from labelled rows alone")
        super().__init__("mnist_label_treatments", config, names)
        self.config: Config = config

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        del found["models"]
        return found

    def decisive_for(self, name: str, decisive: dict[str, Any]) -> dict[str, Any]:
        """Return all but the options of other treatments, and common ones it does not take."""
        mine = OWN_OPTIONS.get(name, {})
        owned = {own for options in OWN_OPTIONS.values() for own in options.values()}
        others = {*mine, *(owned - set(mine.values()))}
        return {
            k: v
            for k, v in decisive.items()
            if k not in others and name in OPTIONS_OF.get(k, (name,))
        }

    def config_of(self, name: str) -> Config:
        """Return the options with a model's own ones in place of the common ones."""
        mine = OWN_OPTIONS.get(name, {})
        return replace(self.config, **{k: getattr(self.config, own) for k, own in mine.items()})

    def make_model(self, name: str, data: SSLData) -> SSLModel:
        """Return the model of that name, newly initialised."""
        config = self.config_of(name)
        # Without unlabelled rows there are no statistics of theirs to classify by.
        parted = config.batch_norm and config.parted_batch_norm and data.num_unlabelled > 0
        options: Options = {
            "input_shape": data.input_shape,
            "num_classes": data.num_classes,
            "latent_dim": config.latent_dim,
            "hidden_dims": config.hidden_dims,
            "activation": config.activation,
            "batch_norm": "parted" if parted else config.batch_norm,
            "input_dropout": config.input_dropout,
            "latent_noise": config.latent_noise,
            "alpha": config.alpha,
        }
        return TREATMENTS[name](config, options)

    def make_baseline(self, data: SSLData) -> SSLModel:
        """Return the classifier alone, newly initialised."""
        config = self.config
        return MLPClassifier(
            input_shape=data.input_shape,
            num_classes=data.num_classes,
            hidden_dims=config.hidden_dims,
            activation=config.activation,
            batch_norm=config.batch_norm,
            input_dropout=config.input_dropout,
        )

    def baseline_config(self, how: FitConfig, data: SSLData) -> FitConfig:
        """Return how the classifier alone is trained: for as many steps as the others."""
        steps = how.batches(data).steps
        return replace(super().baseline_config(how, data), steps_per_epoch=steps)

    def how_to_train(self, name: str, seed: int, data: SSLData) -> FitConfig:
        """Return the schedule, the same for all but for what only one of them has."""
        config = self.config_of(name)
        labelled = config.labelled_batch_size
        if labelled is not None:
            labelled = min(labelled, data.num_labelled) or None
        common = replace(
            fit_config(config, self.device, seed),
            labelled_batch_size=labelled,
            optimiser=config.optimiser,
            learning_rate_decay=config.learning_rate_decay,
            learning_rate_decay_epochs=config.learning_rate_decay_epochs,
            max_gradient_norm=config.max_gradient_norm,
            l1=config.l1,
            l2=config.l2,
            penalised=config.penalised,
        )
        if name == "mlpclassifier":
            return common
        options = {
            "kl_z": config.kl_z,
            "classification": config.classification,
            "labelled_bound": config.labelled_bound,
        }
        if name in SIMPLEX_SITES:
            options[f"kl_{SIMPLEX_SITES[name]}"] = config.kl_simplex
        else:
            options["kl_y"] = config.kl_y
        if name in ANNEALED:
            buffer, option = ANNEALED[name]
            options[buffer] = getattr(config, option)
        return replace(
            common,
            anneal={key: Anneal(*v) for key, v in options.items() if _changes(key, v)},
            validation_bound=True,
        )

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: ImageDataset
    ) -> tuple[Result, Figures]:
        """Classify the test rows, bound their log-likelihood, draw what the model generates."""
        result, figures = super().test(contender, frame, dataset)
        if len(contender.data.validation_xs):
            accuracies = frame["validation_accuracy"]
            best = accuracies.max() if self.config.keep_best else accuracies.iloc[-1]
            result["validation_accuracy"] = best
        model = contender.model
        if isinstance(model, M2):
            torch.manual_seed(contender.seed)
            xs = dataset.test_xs.to(self.device)
            xs = xs.bernoulli() if self.config.binarise else xs
            result |= mean_with_error("test_elbo", importance_weighted_bound(model, xs))
            figures["prior_samples"] = plots.prior_samples(model)
            title = f"{contender.name}, {dataset.name}, seed {contender.seed}"
            if "validation_kl_z_0" in frame:
                figures["kl_by_dimension"] = plots.kl_by_dimension(frame, title)
        return result, figures

    def print_summary(self) -> None:
        """Print the table, and draw all models together."""
        super().print_summary()
        name, path = next(iter(self.paths.items()))
        for file in draw_together(path.with_name(path.name.removeprefix(f"{name}-"))):
            print(file)


def draw_together(prefix: Path) -> list[Path]:
    """Draw all finished runs of all models in the same figures, and return their files.

    Args:
        prefix: what the files' names begin with, and, after a model's name, the folders'.
    """
    frames = {}
    for name in (*TREATMENTS, "mlpclassifier"):
        finished = sorted(prefix.with_name(f"{name}-{prefix.name}").glob("seed_*.json"))
        if finished:
            frames[name] = [pd.read_csv(file.with_suffix(".csv")) for file in finished]
    title = f"{prefix.name}, mean and range of the seeds"
    files = []
    columns = {column for seeds in frames.values() for frame in seeds for column in frame}
    for draw, column in (
        (plots.validation_accuracy, "validation_accuracy"),
        (plots.losses, "unlabelled_elbo"),
        (plots.kl_by_site, "unlabelled_kl_z"),
    ):
        if column not in columns:
            continue
        figure = draw(frames, title)
        files.append(prefix.with_name(f"{prefix.name}_{draw.__name__}.png"))
        figure.savefig(files[-1], dpi=110)
    return files


def _changes(key: str, values: tuple[float, float, int]) -> bool:
    """Return whether an annealed option is other than what the model has anyway."""
    weights = ("classification", "labelled_bound")
    unchanged = 1.0 if key in weights or key.startswith("kl_") else values[0]
    return values[:2] != (unchanged, unchanged)

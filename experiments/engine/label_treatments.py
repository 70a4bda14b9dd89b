"""Training, measures and figures of models with different treatments of the missing label."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.engine.measures import measure_bound
from experiments.engine.results import display_name
from experiments.engine.runner import Comparison, Figures, Result
from experiments.engine.semi_supervised import BASELINE
from experiments.engine.training import Contender
from pyro_ssl import plots
from pyro_ssl.data import ImageDataset, SSLData
from pyro_ssl.infer import Anneal, FitConfig
from pyro_ssl.models import M2
from pyro_ssl.results import CARRIED
from pyro_ssl.text_files import read_csv

if TYPE_CHECKING:
    import pandas as pd

# What only one model anneals: its buffer, and the option.
_ANNEALED = {
    "gumbelsoftmaxm2": ("temperature", "gumbel_temperature"),
    "stgumbelsoftmaxm2": ("temperature", "gumbel_temperature"),
    "logisticnormalm2": ("temperature", "normal_temperature"),
    "stlogisticnormalm2": ("temperature", "normal_temperature"),
    "logisticnormal": ("temperature", "latent_temperature"),
    "loggamma": ("prior_concentration", "prior_concentration"),
}

# The latent of which the label is an observation.
_SIMPLEX_SITES = {"logisticnormal": "a", "loggamma": "pi"}


def annealed_training(how: FitConfig, config: Any, name: str, data: SSLData) -> FitConfig:
    """Return the training of a model: the common schedule, and what only this model anneals.

    Args:
        how: the training of all models.
        config: the options of `mnist_label_treatments`, including this model's own.
        name: the model.
        data: its rows.
        data: its rows.
    """
    how = replace(
        how,
        labelled_batch_size=config.labelled_batch_size,
        optimiser=config.optimiser,
        learning_rate_decay=config.learning_rate_decay,
        learning_rate_decay_epochs=config.learning_rate_decay_epochs,
        max_gradient_norm=config.max_gradient_norm,
        l1=config.l1,
        l2=config.l2,
        penalised=config.penalised,
    )
    if name == BASELINE:
        return how
    values = {
        "kl_z": config.kl_z,
        "classification": config.classification,
        "labelled_bound": config.labelled_bound,
    }
    if name in _SIMPLEX_SITES:
        values[f"kl_{_SIMPLEX_SITES[name]}"] = config.kl_simplex
    else:
        values["kl_y"] = config.kl_y
    if name in _ANNEALED:
        buffer, option = _ANNEALED[name]
        values[buffer] = getattr(config, option)
    anneal = {key: Anneal(*value) for key, value in values.items() if _changes(key, value)}
    return replace(how, anneal=anneal, validation_bound=True)


def _changes(key: str, values: tuple[float, float, int]) -> bool:
    """Return whether an annealed option differs from the model's default."""
    weights = ("classification", "labelled_bound")
    unchanged = 1.0 if key in weights or key.startswith("kl_") else values[0]
    return values[:2] != (unchanged, unchanged)


def measure_treatment(
    contender: Contender, dataset: ImageDataset, config: Any
) -> tuple[Result, Figures]:
    """Bound the test rows' log-likelihood, and draw samples from the model."""
    model, frame = contender.model, contender.history
    result: Result = {}
    if len(contender.data.validation_xs):
        accuracies = frame["validation_accuracy"]
        best = accuracies.max() if config.keep_best else accuracies.iloc[-1]
        result["validation_accuracy"] = best
    if not isinstance(model, M2):
        return result, {}
    result |= measure_bound(contender, dataset, config)
    figures = {"prior_samples": plots.prior_samples(model)}
    if "validation_kl_z_0" in frame:
        title = f"{display_name(contender.name)}, {dataset.name}, seed {contender.seed}"
        figures["kl_by_dimension"] = plots.kl_by_dimension(frame, title)
    return result, figures


def _read_course(file: Path) -> "pd.DataFrame":
    """Return a run's CSV file: columns of numbers, except those that identify the run."""
    frame = read_csv(file, ("epoch",))
    return read_csv(file, [str(name) for name in frame if name not in CARRIED])


def draw_runs(comparison: Comparison, models: Sequence[str]) -> None:
    """Draw all finished runs of all models in the same figures, and print the files' names.

    Args:
        comparison: the comparison that was just run.
        models: models that may have been run before; their order determines their colours.
    """
    example = comparison.models[0]
    ending = comparison.path(example).name.removeprefix(f"{example}-")
    frames = {}
    for name in models:
        finished = sorted(comparison.path(name).glob("seed_*.json"))
        if finished:
            files = [file.with_suffix(".csv") for file in finished]
            frames[display_name(name)] = [_read_course(file) for file in files]
    columns = {column for seeds in frames.values() for frame in seeds for column in frame}
    for draw, column in (
        (plots.validation_accuracy, "validation_accuracy"),
        (plots.losses, "unlabelled_elbo"),
        (plots.kl_by_site, "unlabelled_kl_z"),
    ):
        if column in columns:
            figure = draw(frames, f"{ending}, mean and range of the seeds")
            file = comparison.path(example).with_name(f"{ending}_{draw.__name__}.png")
            figure.savefig(file, dpi=110)
            print(file)

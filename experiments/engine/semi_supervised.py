"""Comparisons on images of which few are labelled: rows, training, and measures."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from experiments.engine.options import (
    DataOptions,
    SemiSupervisedOptions,
    options_for,
    recorded_options,
)
from experiments.engine.runner import Comparison, Figures, Result, SeedRun
from experiments.engine.training import (
    Contender,
    Measure,
    check_contenders,
    display_name,
    fit_config,
    fit_contenders,
)
from pyro_ssl import metrics, plots
from pyro_ssl.data import ImageDataset, LabelSplit, SSLData, load_dataset, split_labels
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import FitConfig
from pyro_ssl.models import MLPClassifier, SSLModel

# Returns a newly initialised model for options and rows.
Build = Callable[[Any, SSLData], SSLModel]
# Returns the training of a model, given the training of all models, options, its name, and rows.
Training = Callable[[FitConfig, Any, str, SSLData], FitConfig]

# Draws of the latents for each test row and class, in Bayes' rule.
_BAYES_DRAWS = 10
# The classifier that learns from labelled rows only.
BASELINE = "mlpclassifier"
# A hundred labelled rows are a single batch, so an epoch has at least this many steps.
_BASELINE_STEPS_PER_EPOCH = 25


def load_images(config: DataOptions) -> ImageDataset:
    """Return the data set by name; download it if necessary."""
    return load_dataset(config.dataset, config.data_root)


def build_classifier(config: Any, data: SSLData) -> SSLModel:
    """Return the classifier of labelled rows, newly initialised."""
    # Options that some experiments lack.
    others = {n: getattr(config, n) for n in ("activation", "channels") if hasattr(config, n)}
    return MLPClassifier(
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        hidden_dims=config.hidden_dims,
        batch_norm=config.batch_norm,
        input_dropout=config.input_dropout,
        multi_label=data.multi_label,
        **others,
    )


def semi_supervised(
    name: str,
    config: SemiSupervisedOptions,
    models: Mapping[str, Build],
    measures: Sequence[Measure],
    load: Callable[[Any], ImageDataset] = load_images,
    training: Training = lambda how, config, name, data: how,
    steps_per_epoch: int | None = None,
    equal_steps: bool = False,
    every_label: Collection[str] = (),
    also_recorded: Callable[[ImageDataset], dict[str, Any]] = lambda dataset: {},
    before: Callable[[Contender], None] | None = None,
) -> Comparison:
    """Return a comparison of models on the same few labelled rows of a data set of images.

    Args:
        name: name of the experiment, and of its folder.
        config: its options.
        models: returns each model; `mlpclassifier` gets only the labelled rows.
        measures: read the test set after a model is trained.
        load: returns the data set.
        training: returns the training of a model, if it differs from the others'.
        steps_per_epoch: number of steps per epoch; None for one pass over the rows, see
            `FitConfig`.
        equal_steps: the classifier of labelled rows has as many steps per epoch as the others.
        every_label: models that know the label of every training row.
        also_recorded: returns additional entries that identify configurations.
        before: called before a training that does not go on from a checkpoint.

    Raises:
        ConfigError: if there is a classifier of labelled rows, but no such rows.
    """
    if BASELINE in models and not config.any_labels:
        raise ConfigError("labels is 0, but the classifier learns from labelled rows alone")

    def contenders(run: SeedRun) -> list[Contender]:
        few = labelled_rows(config, run.dataset)
        rows = {}
        for number in dict.fromkeys(None if m in every_label else few for m in models):
            split = seeded_split(config, run.dataset, run.seed, number)
            rows[number] = SSLData.from_split(run.dataset, split).to(run.device), split.digest
        found = []
        for model, build in models.items():
            data, digest = rows[None if model in every_label else few]
            own = options_for(config, model)
            how = fit_config(own, run.device, run.seed, steps_per_epoch)
            how = training(how, own, model, data)
            torch.manual_seed(run.seed)
            built = build(own, data).to(run.device)
            if model == BASELINE:
                data, how = data.labelled_only(), _baseline_training(how, data, equal_steps)
            contender = Contender(model, run, built, data, how, digest)
            if before is not None:
                contender = replace(contender, watch=partial(_at_start, before, contender))
            found.append(contender)
        return found

    labels = config.labels if config.label_fraction is None else config.label_fraction
    return Comparison(
        name=name,
        config=config,
        models=tuple(models),
        suffix=f"{config.dataset}-{labels}",
        load=load,
        settings=lambda model, data: image_settings(config, model, data) | also_recorded(data),
        check=partial(check_contenders, contenders),
        run_seed=partial(fit_contenders, contenders, measures),
    )


def _at_start(before: Callable[[Contender], None], contender: Contender, epochs: int) -> None:
    if not epochs:
        before(contender)


def image_settings(config: DataOptions, model: str, dataset: ImageDataset) -> dict[str, Any]:
    """Return the entries that identify a configuration, with the number of validation rows."""
    return recorded_options(replace(config, validation=validation_rows(config, dataset)), model)


def _baseline_training(how: FitConfig, data: SSLData, equal_steps: bool) -> FitConfig:
    """Return the training of the classifier, given the training `how` of the others."""
    steps = how.steps_per_epoch or max(
        _BASELINE_STEPS_PER_EPOCH, data.num_labelled // how.batch_size
    )
    return replace(how, steps_per_epoch=how.batches(data).steps if equal_steps else steps)


def measure_classification(
    contender: Contender, dataset: ImageDataset, config: Any
) -> tuple[Result, Figures]:
    """Classify the test rows by q(y|x) and by Bayes' rule; draw the reliability diagram."""
    model, labels = contender.model, contender.data.num_labelled
    assert isinstance(model, SSLModel)
    xs, test_ys = (t.to(contender.device) for t in (dataset.test_xs, dataset.test_ys))
    probabilities = metrics.predict_in_chunks(model, xs)
    rules = {"test": probabilities}
    if model.learns_from_unlabelled and not model.multi_label:
        torch.manual_seed(contender.seed)
        bounds = metrics.class_bounds(model, xs, _BAYES_DRAWS)
        rules |= {"test_bayes": bounds.mean.softmax(-1)}
        rules |= {"test_weighted_bayes": bounds.weighted.softmax(-1)}
    result: Result = {"labels": labels, "test_rows": len(test_ys)}
    for rule, found in rules.items():
        result[f"{rule}_accuracy"] = metrics.accuracy(found, test_ys)
        result[f"{rule}_ece"] = metrics.expected_calibration_error(found, test_ys)
    title = f"{display_name(contender.name)}, {dataset.name}, {labels} labels"
    title += f", seed {contender.seed}\ntest set"
    each = metrics.one_label_each(probabilities, test_ys)
    return result, {"reliability": plots.reliability(*each, title)}


def draw_classes(
    contender: Contender, dataset: ImageDataset, config: Any
) -> tuple[Result, Figures]:
    """Draw the images of a class-conditional model."""
    model = contender.model
    if not isinstance(model, plots.CLASS_CONDITIONAL) or model.multi_label:
        return {}, {}
    torch.manual_seed(contender.seed)
    figures = {
        "samples": plots.class_samples(model),
        "analogies": plots.analogies(model, contender.data.examples(10)),
    }
    if model.latent_dim == 2:
        figures["manifolds"] = plots.class_manifolds(model)
    return {}, figures


def seeded_split(
    config: DataOptions, dataset: ImageDataset, seed: int, labels: int | None
) -> LabelSplit:
    """Split the training rows; a seed's validation rows are the same for any number of labels.

    Rows of attributes are not stratified; rows without a known attribute are unlabelled.
    """
    train_ys, validation = dataset.train_ys.numpy(), validation_rows(config, dataset)
    if dataset.multi_label:
        known = dataset.known_rows.numpy()
        rows = np.flatnonzero(known)
        split = split_labels(np.zeros(len(rows), np.int64), 1, labels, validation, seed)
        unlabelled = np.sort(np.concatenate([rows[split.unlabelled], np.flatnonzero(~known)]))
        return LabelSplit(rows[split.labelled], unlabelled, rows[split.validation])
    return split_labels(train_ys, dataset.num_classes, labels, validation, seed)


def labelled_rows(config: SemiSupervisedOptions, dataset: ImageDataset) -> int:
    """Return the number of labelled rows: the option, or the share of the rest, rounded down.

    Raises:
        ConfigError: if the share is not from 0 to 1, or is above 0 and gives no row.
    """
    if config.label_fraction is None:
        return config.labels
    if not 0 <= config.label_fraction <= 1:
        raise ConfigError(f"label_fraction is {config.label_fraction}, expected 0 to 1")
    rows = share_of_rows(config.label_fraction, config, dataset)
    if config.label_fraction and not rows:
        raise ConfigError(f"label_fraction is {config.label_fraction}, which is less than one row")
    return rows


def share_of_rows(share: float, config: DataOptions, dataset: ImageDataset) -> int:
    """Return a share of the training rows that are not for validation, rounded down.

    Raises:
        ConfigError: if there are no such rows.
    """
    known = int(dataset.known_rows.sum())
    rows = known - validation_rows(config, dataset)
    if rows < 1:
        raise ConfigError(
            f"validation is {config.validation}, but {config.dataset} has only {known} training "
            "rows whose labels are known: use fewer"
        )
    # 0.7 of 10 must give 7, although 0.7 * 10 is slightly smaller.
    return int(share * rows + 1e-9)


def validation_rows(config: DataOptions, dataset: ImageDataset) -> int:
    """Return the number of validation rows: the option, or 10,000 but at most a quarter."""
    if config.validation is not None:
        return config.validation
    return min(10_000, int(dataset.known_rows.sum()) // 4)

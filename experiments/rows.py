"""Which rows of a data set an experiment trains and validates on."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.options import DataOptions, SemiSupervisedOptions
from pyro_ssl.data import ImageDataset, LabelSplit, SSLData, split_labels
from pyro_ssl.errors import ConfigError


def seeded_split(
    config: DataOptions, dataset: ImageDataset, seed: int, labels: int | None
) -> LabelSplit:
    """Split the training rows; a seed's validation rows are the same for any number of labels.

    Rows of attributes are drawn without regard to these, those that know none left unlabelled.
    """
    train_ys, validation = dataset.train_ys.numpy(), validation_rows(config, dataset)
    if dataset.multi_label:
        known = _known(dataset)
        rows = np.flatnonzero(known)
        split = split_labels(np.zeros(len(rows), np.int64), 1, labels, validation, seed)
        unlabelled = np.sort(np.concatenate([rows[split.unlabelled], np.flatnonzero(~known)]))
        return LabelSplit(rows[split.labelled], unlabelled, rows[split.validation])
    return split_labels(train_ys, dataset.num_classes, labels, validation, seed)


def labelled_rows(config: SemiSupervisedOptions, dataset: ImageDataset) -> int:
    """Return how many rows are labelled: the number, or the share, rounded down, of the rest.

    Raises:
        ConfigError: if the share is not from 0 to 1, or above 0 and less than a row.
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
    """Return a share, rounded down, of the training rows that are not for validation.

    Raises:
        ConfigError: if there are no such rows.
    """
    known = int(_known(dataset).sum())
    rows = known - validation_rows(config, dataset)
    if rows < 1:
        raise ConfigError(
            f"validation is {config.validation}, but {config.dataset} has only {known} training "
            "rows whose labels are known: use fewer"
        )
    # 0.7 of 10 is 7, and not the 6 that 0.7 * 10 falls short of.
    return int(share * rows + 1e-9)


def validation_rows(config: DataOptions, dataset: ImageDataset) -> int:
    """Return how many rows to validate on: the option, or 10,000 but at most a quarter."""
    if config.validation is not None:
        return config.validation
    return min(10_000, int(_known(dataset).sum()) // 4)


def _known(dataset: ImageDataset) -> NDArray[np.bool_]:
    """Return which training rows can be labelled: those of which anything is known, `[N]`."""
    ys = dataset.train_ys.numpy()
    known: NDArray[np.bool_] = ys >= 0
    return np.asarray(known.any(1) if dataset.multi_label else known, dtype=np.bool_)


def examples_of(data: SSLData, number: int) -> Tensor:
    """Return so many images to draw, at most, no test images, on the device, float in [0, 1]."""
    candidates = (data.validation_xs, data.unlabelled_xs, data.labelled_xs)
    xs = next(xs for xs in candidates if len(xs))[:number].to(data.labelled_xs.device)
    return xs.float() / 255 if xs.dtype == torch.uint8 else xs

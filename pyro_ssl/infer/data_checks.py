"""Checks before training that data and its minibatches suit a model."""

from collections.abc import Sequence

import torch
from torch import nn

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.infer.batches import MiniBatches
from pyro_ssl.models.base import PyroModel, SSLModel
from pyro_ssl.models.calls import check_device
from pyro_ssl.nets.norm import SeparateBatchNorm


def check_batch_norm(
    model: PyroModel, data: SSLData, batches: MiniBatches, frozen: Sequence[nn.Module]
) -> None:
    """Check that batches have the rows that batch norm needs.

    Args:
        model: the model.
        data: the data.
        batches: its minibatches.
        frozen: parts of the model that are not trained.

    Raises:
        ConfigError: if batches are too small.
    """
    labelled, unlabelled = batches.labelled, batches.unlabelled
    still = {part for whole in frozen for part in whole.modules()}
    kinds = {type(part) for part in model.modules() if part not in still}
    if SeparateBatchNorm in kinds and 1 in (labelled, unlabelled):
        remedy = "construct the model with batch_norm=True"
        if unlabelled == 1 and data.num_unlabelled > 1:
            remedy += ", or raise batch_size"
        elif unlabelled == 1 and data.num_labelled:
            remedy += ", or leave the only unlabelled row out by data.labelled_only()"
        elif labelled == 1 and data.num_labelled > 1:
            remedy += ", or raise labelled_batch_size"
        raise ConfigError(
            f'batch_norm="separate" needs at least 2 rows of each kind in a batch, got '
            f"{labelled} labelled and {unlabelled} unlabelled: {remedy}"
        )
    if torch.nn.BatchNorm1d in kinds and labelled + unlabelled < 2:
        raise ConfigError("batch_norm needs batches of at least 2 rows, got 1: switch it off")


def _check_inputs(model: PyroModel, data: SSLData) -> None:
    """Check every input against the model's likelihood."""
    for part in ("labelled_xs", "validation_xs", "unlabelled_xs"):
        xs = getattr(data, part)
        # `SSLData` has already checked all shapes and the range of pixels.
        if xs.dtype == torch.uint8:
            xs, part = xs[:1000].float() / 255, f"{part} / 255"
        else:
            model.check(xs[:1000].to(data.labelled_xs.device), part)
        if model.takes_real_values:
            model.likelihood.check(xs, part)


def check_fits(model: PyroModel, data: SSLData, binarise: bool) -> None:
    """Check that a model can be trained on data.

    Args:
        model: the model.
        data: the data.
        binarise: whether pixels will be drawn from Bernoulli distributions.

    Raises:
        DataError: if the data does not suit the model.
        ConfigError: if `binarise` does not suit the data.
    """
    if model.input_shape != data.input_shape:
        raise DataError(
            f"the model's input_shape is {model.input_shape}, the data's {data.input_shape}"
        )
    if data.real_valued and not model.takes_real_values:
        raise DataError(
            f"the data is real-valued, but {type(model).__name__} takes inputs in [0, 1]: rescale "
            'them, or use likelihood="gaussian" where the model has it'
        )
    _check_labels_fit(model, data)
    if not model.learns_from_unlabelled and not data.num_labelled:
        raise DataError(f"{type(model).__name__} learns only from labelled rows: there are none")
    if data.missing and not model.takes_missing:
        raise DataError(
            f"the data has missing values, but the likelihood of {type(model).__name__}, "
            f"{model.likelihood}, takes none: fill them in, or give it a family for each column by "
            "likelihood=Mixed(...)"
        )
    check_device(data.labelled_xs, model, "the data")
    _check_inputs(model, data)
    if binarise and not model.takes_pixels:
        raise ConfigError(
            f"binarise is True, but the inputs of {type(model).__name__} are not pixels: use "
            "binarise=False"
        )


def _check_labels_fit(model: PyroModel, data: SSLData) -> None:
    if model.real_labels and data.num_labelled and not data.real_labels:
        raise DataError(
            f"{type(model).__name__} takes real labels, but the data has classes: make it with "
            "SSLData.from_arrays(..., real_labels=True)"
        )
    if isinstance(model, SSLModel) and data.real_labels:
        raise DataError(
            f"{type(model).__name__} classifies, but the labels are real numbers: use RegressionM2"
        )
    if isinstance(model, SSLModel) and model.num_classes != data.num_classes:
        raise DataError(
            f"the model's num_classes is {model.num_classes}, the data's {data.num_classes}"
        )
    if isinstance(model, SSLModel) and model.multi_label != data.multi_label:
        takes, has = (
            "rows of attributes" if multi else "one label per row"
            for multi in (model.multi_label, data.multi_label)
        )
        raise DataError(f"{type(model).__name__} takes {takes}, but the data has {has}")

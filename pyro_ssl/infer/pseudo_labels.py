"""Pseudo-labels: what trained classifiers say of unlabelled rows, for another to learn from."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor

from pyro_ssl.data.ssl_data import SSLData, as_floats
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.metrics.classification import predict_in_chunks
from pyro_ssl.models.base import SSLModel
from pyro_ssl.option_kinds import Range
from pyro_ssl.options import checked

# Rows that are classified at a time.
_ROWS = 10_000


@checked
def pseudo_labelled(
    data: SSLData,
    classifiers: SSLModel | Sequence[SSLModel],
    threshold: Annotated[float, Range(0, 1)] = 0.0,
) -> SSLData:
    """Return the data with the classifiers' most probable class as label of each unlabelled row.

    It is the most probable one under the mean of their q(y|x).

    A model that is trained on them for a few hundred steps begins where the classifiers end, and
    can then go on with the data as they were, by consistency for example, to end above them. This
    is worth most if it sees something else in an input than they do: with few labels, convolutions
    may take a 7 that is crossed by a bar for a 4, since no 7 with a label has one, and agree on it
    ever after; a network without convolutions, though worse in all, finds it like other sevens.

    Source: Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep
    neural networks", ICML workshop, 2013; with another network than that which gave the labels: Xie
    et al., "Self-training with noisy student improves ImageNet classification", CVPR 2020.

    Args:
        data: labelled rows, which keep their labels, and unlabelled ones; validation rows stay as
            they are.
        classifiers: trained classifiers q(y|x), of the same classes; one or more.
        threshold: rows stay unlabelled if the probability of their most probable class is below.

    Raises:
        ConfigError: if there is no classifier.
        DataError: if labels are attributes or real numbers, or a classifier has other classes or
            inputs than the data.
    """
    if data.multi_label or data.real_labels:
        kind = "attributes" if data.multi_label else "real numbers"
        raise DataError(f"labels are {kind}, but pseudo-labels are classes")
    several = _several(classifiers, data)
    if not data.num_unlabelled:
        return data
    like = data.labelled_xs
    # In main memory, and bytes, rows may be many more than fit a GPU as numbers.
    found = [_most_probable(several, as_floats(xs)) for xs in data.unlabelled_xs.split(_ROWS)]
    probability, ys = (torch.cat([f[i] for f in found]) for i in (0, 1))
    used = (probability >= threshold).to(data.unlabelled_xs.device)
    xs = as_floats(data.unlabelled_xs[used]).to(like.device)
    return replace(
        data,
        labelled_xs=torch.cat([like, xs]),
        labelled_ys=torch.cat([data.labelled_ys, ys.to(like.device)[used.to(like.device)]]),
        unlabelled_xs=data.unlabelled_xs[~used],
    )


def _several(classifiers: SSLModel | Sequence[SSLModel], data: SSLData) -> list[SSLModel]:
    """Return one or more classifiers as a list, checked."""
    found = [classifiers] if isinstance(classifiers, SSLModel) else [*classifiers]
    if not found:
        raise ConfigError("classifiers is empty, expected at least one trained classifier")
    for each in found:
        if each.num_classes != data.num_classes or each.multi_label:
            raise DataError(
                f"a classifier has num_classes {each.num_classes}, the data {data.num_classes}"
            )
    return found


def _most_probable(classifiers: Sequence[SSLModel], xs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest probability of each row, and its class, on the device of the inputs."""
    total = torch.zeros(())
    for classifier in classifiers:
        device = next(classifier.parameters()).device
        total = total + predict_in_chunks(classifier, xs.to(device)).to(xs.device)
    most, ys = (total / len(classifiers)).max(-1)
    return most, ys

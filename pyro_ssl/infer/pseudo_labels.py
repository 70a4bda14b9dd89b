"""Pseudo-labels: what a trained classifier says about unlabelled rows, for another to learn from."""

from dataclasses import replace
from typing import Annotated

import torch

from pyro_ssl.data.ssl_data import SSLData, as_floats
from pyro_ssl.errors import DataError
from pyro_ssl.metrics.classification import predict_in_chunks
from pyro_ssl.models.base import SSLModel
from pyro_ssl.option_kinds import Range
from pyro_ssl.options import checked

# Rows that are classified at a time.
_ROWS = 10_000


@checked
def pseudo_labelled(
    data: SSLData, classifier: SSLModel, threshold: Annotated[float, Range(0, 1)] = 0.0
) -> SSLData:
    """Return the data with the classifier's most probable class as label of each unlabelled row.

    A model that is trained on them for a few hundred steps begins where the classifier ends, and
    can then go on with the data as they were, by consistency for example, to end above it. This is
    worth most if both see different things in an input: with few labels, convolutions may take a 7
    that is crossed by a bar for a 4, since no 7 with a label has one, and agree on it ever after; a
    network without convolutions, though worse in all, finds it like other sevens.

    Source: Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep
    neural networks", ICML workshop, 2013; with another network than that which gave the labels: Xie
    et al., "Self-training with noisy student improves ImageNet classification", CVPR 2020.

    Args:
        data: labelled rows, which keep their labels, and unlabelled ones; validation rows stay as
            they are.
        classifier: a trained classifier q(y|x); evaluation mode is used, and restored.
        threshold: rows stay unlabelled if the probability of their most probable class is below.

    Raises:
        DataError: if labels are attributes or real numbers.
    """
    if data.multi_label or data.real_labels:
        kind = "attributes" if data.multi_label else "real numbers"
        raise DataError(f"labels are {kind}, but pseudo-labels are classes")
    if not data.num_unlabelled:
        return data
    device, like = next(classifier.parameters()).device, data.labelled_xs
    # In main memory, and bytes, rows may be many more than fit a GPU as numbers.
    found = [
        predict_in_chunks(classifier, as_floats(xs).to(device)).max(-1)
        for xs in data.unlabelled_xs.split(_ROWS)
    ]
    probability, ys = (torch.cat([f[i] for f in found]) for i in (0, 1))
    used = (probability >= threshold).to(data.unlabelled_xs.device)
    xs = as_floats(data.unlabelled_xs[used]).to(like.device)
    return replace(
        data,
        labelled_xs=torch.cat([like, xs]),
        labelled_ys=torch.cat([data.labelled_ys, ys.to(like.device)[used.to(like.device)]]),
        unlabelled_xs=data.unlabelled_xs[~used],
    )

"""Scores for how cleanly a model changes a single attribute of an image."""

import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.models.base import SSLModel
from pyro_ssl.models.multi_label_ccvae import MultiLabelCCVAE
from pyro_ssl.models.multi_label_m2 import MultiLabelM2
from pyro_ssl.option_kinds import shown


@torch.no_grad()
def intervention_score(
    model: MultiLabelCCVAE | MultiLabelM2, judge: SSLModel, xs: Tensor
) -> dict[str, Tensor]:
    """Return how well a model changes single attributes of images, as judged by a classifier.

    The reference is the judge's prediction for the model's unchanged reconstruction. Each attribute
    in turn is set to the opposite of its predicted value.

    Args:
        model: a model of L attributes.
        judge: a classifier of the same attributes, trained on true attributes.
        xs: inputs `[N, *input_shape]`.

    Raises:
        ConfigError: if the judge has other attributes.
        DataError: if model or judge do not take `xs`.

    Returns:
        For each attribute, `[L]`: `changed`, the share of images in which the judge sees the
        attribute changed; `alone`, the share in which it sees only this attribute changed;
        `others`, the mean share, over images, of the other attributes that did not change.
    """
    for name, given in (("model", model), ("judge", judge)):
        if not hasattr(given, "predict_proba" if name == "judge" else "intervene"):
            raise ConfigError(f"{name} is {shown(given)}, expected a model of attributes")
    if not isinstance(xs, Tensor) or not xs.dim() or not len(xs):
        raise DataError(f"xs is {shown(xs)}, expected a tensor with at least one row")
    before = judge.predict_proba(model.reconstruct(xs)) > 0.5
    scores: dict[str, list[Tensor]] = {"changed": [], "alone": [], "others": []}
    if before.dim() != 2 or before.shape[1] != model.num_classes:
        raise ConfigError(
            f"judge predicts {before.shape[1:].numel()} classes or attributes, expected the "
            f"model's {model.num_classes} attributes"
        )
    for attribute in range(model.num_classes):
        images = model.intervene(xs, attribute, ~before[:, attribute])
        moved = (judge.predict_proba(images) > 0.5) != before
        changed = moved[:, attribute]
        stayed = ~torch.cat([moved[:, :attribute], moved[:, attribute + 1 :]], 1)
        scores["changed"].append(changed.double().mean())
        scores["alone"].append((changed & stayed.all(1)).double().mean())
        # If there is a single attribute, no other one could have changed.
        scores["others"].append(
            stayed.double().mean() if stayed.numel() else changed.new_ones(()).double()
        )
    return {name: torch.stack(shares) for name, shares in scores.items()}

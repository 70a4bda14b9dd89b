"""What changing an attribute of an image through a model changes."""

import torch
from torch import Tensor

from pyro_ssl.models.base import SSLModel
from pyro_ssl.models.multi_label_ccvae import MultiLabelCCVAE
from pyro_ssl.models.multi_label_m2 import MultiLabelM2


@torch.no_grad()
def intervention_score(
    model: MultiLabelCCVAE | MultiLabelM2, judge: SSLModel, xs: Tensor
) -> dict[str, Tensor]:
    """Change each attribute of images through the model, and ask a classifier what has changed.

    The reference is what the judge says of the model's reconstruction, in which nothing is changed:
    each attribute is set to the other of its values there.

    Args:
        model: a model of L attributes.
        judge: a classifier of the same attributes, trained on the truth.
        xs: inputs `[N, *input_shape]`.

    Returns:
        Shares of the images for each attribute, `[L]`: `changed`, the judge sees the attribute
        changed; `alone`, it sees that and no other attribute changed; `others`, the share of the
        other attributes that stayed, over images.
    """
    before = judge.predict_proba(model.reconstruct(xs)) > 0.5
    scores: dict[str, list[Tensor]] = {"changed": [], "alone": [], "others": []}
    for attribute in range(model.num_classes):
        images = model.intervene(xs, attribute, ~before[:, attribute])
        moved = (judge.predict_proba(images) > 0.5) != before
        changed = moved[:, attribute]
        stayed = ~torch.cat([moved[:, :attribute], moved[:, attribute + 1 :]], 1)
        scores["changed"].append(changed.double().mean())
        scores["alone"].append((changed & stayed.all(1)).double().mean())
        # Of a single attribute there are no others that could have changed.
        scores["others"].append(
            stayed.double().mean() if stayed.numel() else changed.new_ones(()).double()
        )
    return {name: torch.stack(shares) for name, shares in scores.items()}

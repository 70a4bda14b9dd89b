"""Checkpoints of earlier versions, brought to what the present one writes."""

from collections.abc import Mapping
from typing import Any


def upgraded(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's state with the options that its model would have today.

    A state that lacks what every checkpoint has is returned as it is.
    """
    if not {"model_class", "model_options"} <= state.keys():
        return dict(state)
    options = dict(state["model_options"])
    labelled, unlabelled, _ = state.get("rows", (1, 0, 0))
    if "classification_weight" in options:
        # It was the weight of each labelled row, of a loss that was then divided by all rows.
        weight = options.pop("classification_weight")
        if state["model_class"] in ("CCVAE", "MultiLabelCCVAE"):
            weight = max(weight - 1, 0.0)
        options["alpha"] = weight * labelled / max(labelled + unlabelled, 1)
    return {**state, "model_options": options}

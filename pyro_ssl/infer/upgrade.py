"""Checkpoints of earlier versions, brought to what the present one writes."""

from collections.abc import Mapping
from typing import Any

from pyro_ssl.likelihoods import Gaussian, Laplace, as_likelihood


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
    options = _with_likelihood(options)
    if isinstance(options.get("m1"), Mapping):
        options["m1"] = _with_likelihood(dict(options["m1"]))
    return {**state, "model_options": options}


def _with_likelihood(options: dict[str, Any]) -> dict[str, Any]:
    """Return options whose likelihood holds what were options of its own beside it.

    Batch norm that is now "separate" was called "parted".
    """
    if options.get("batch_norm") == "parted":
        options["batch_norm"] = "separate"
    name = options.get("likelihood")
    numbers = {key: options.pop(key, None) for key in ("laplace_scale", "min_scale", "fixed_scale")}
    if not isinstance(name, str):
        return options
    likelihood = as_likelihood(name)
    if name == "laplace" and numbers["laplace_scale"] is not None:
        likelihood = Laplace(numbers["laplace_scale"])
    if name == "gaussian":
        least = {} if numbers["min_scale"] is None else {"min_scale": numbers["min_scale"]}
        likelihood = Gaussian(numbers["fixed_scale"], **least)
    return options | {"likelihood": likelihood.to_dict()}

"""Conversion of earlier versions' checkpoints to the present format."""

from collections.abc import Mapping
from typing import Any

from pyro_ssl.likelihoods import Gaussian, Laplace, as_likelihood


def upgraded(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's state with its model's options in the present form.

    A state without a model's class and options is returned unchanged.
    """
    if not {"model_class", "model_options"} <= state.keys():
        return dict(state)
    options = dict(state["model_options"])
    labelled, unlabelled, _ = state.get("rows", (1, 0, 0))
    if "classification_weight" in options:
        # It was the weight of each labelled row, in a loss divided by the number of all rows.
        weight = options.pop("classification_weight")
        if state["model_class"] in ("CCVAE", "MultiLabelCCVAE"):
            weight = max(weight - 1, 0.0)
        options["alpha"] = weight * labelled / max(labelled + unlabelled, 1)
    options = _with_likelihood(options)
    if isinstance(options.get("m1"), Mapping):
        options["m1"] = _with_likelihood(dict(options["m1"]))
    return {**state, "model_options": options}


def _with_likelihood(options: dict[str, Any]) -> dict[str, Any]:
    """Return options in which the likelihood holds its own options, once options of the model.

    Batch norm "parted" becomes "separate".
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

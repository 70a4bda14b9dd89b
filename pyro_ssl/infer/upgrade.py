"""Conversion of earlier versions' checkpoints to the present format."""

from collections.abc import Mapping
from typing import Any

from pyro_ssl.likelihoods import Gaussian, Laplace, as_likelihood

# The last format whose checkpoints lack the resolved numbers of rows and steps.
BEFORE_BATCHES = "pyro_ssl checkpoint 4"


def upgraded(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's state with the model's options and the run's batches in the present form.

    Without a model's class and options, the options stay as they are; likewise the batches without
    a configuration.
    """
    if {"config", "rows"} <= state.keys():
        state = {**state, "config": _with_batches(state["config"], *state["rows"][:2])}
    # The last of the former formats has the present form of models' options.
    if state.get("format") == BEFORE_BATCHES:
        return dict(state)
    if not {"model_class", "model_options"} <= state.keys():
        return dict(state)
    options = dict(state["model_options"])
    labelled, unlabelled, _ = state.get("rows", (1, 0, 0))
    if "classification_weight" in options:
        # Formerly the weight of each labelled row, in a loss divided by the number of all rows.
        weight = options.pop("classification_weight")
        if state["model_class"] in ("CCVAE", "MultiLabelCCVAE"):
            weight = max(weight - 1, 0.0)
        options["alpha"] = weight * labelled / max(labelled + unlabelled, 1)
    options = _with_likelihood(options)
    if isinstance(options.get("m1"), Mapping):
        options["m1"] = _with_likelihood(dict(options["m1"]))
    return {**state, "model_options": options}


def _with_batches(config: Mapping[str, Any], labelled: int, unlabelled: int) -> dict[str, Any]:
    """Return a configuration with the rows per batch and the steps per epoch that it implied.

    Formerly an epoch was one pass over the unlabelled rows, whatever the labelled ones needed.

    Args:
        config: the configuration.
        labelled: labelled rows in the data.
        unlabelled: unlabelled rows in the data.
    """
    batch = config["batch_size"]
    of_labelled = config.get("labelled_batch_size")
    if of_labelled is None:
        of_labelled = min(labelled, batch) if unlabelled else batch
    if not unlabelled:
        batch = of_labelled
    return {
        **config,
        "batch_size": batch,
        "labelled_batch_size": of_labelled if labelled else None,
        "steps_per_epoch": config.get("steps_per_epoch") or (unlabelled or labelled) // batch,
    }


def _with_likelihood(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with a likelihood that holds options which once belonged to the model.

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

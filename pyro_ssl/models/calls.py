"""Checks of the arguments of a model's methods: inputs, labels, latents and covariates."""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import torch
from torch import Tensor

from pyro_ssl.data.checks import check_tensor
from pyro_ssl.data.label_checks import check_attributes, check_labels, check_real_labels
from pyro_ssl.errors import DataError
from pyro_ssl.option_kinds import Range
from pyro_ssl.options import checked, converted

Method = TypeVar("Method", bound=Callable[..., Any])


def checks_data(method: Method) -> Method:
    """Decorate a model's method: check its arguments, and run it without gradients.

    An argument's name decides how it is checked: `xs` by the model's `check`, `ys` as labels
    (unknown ones are allowed in `sample` only), `zs` as latents, and `covariates` as those of the
    same rows. All other arguments are checked by their annotations.

    Raises:
        DataError: naming the argument that is invalid.
        ConfigError: if an argument that is not a tensor is invalid.
    """
    signature = inspect.signature(method)

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        model, lead = given["self"], None
        if "xs" in given:
            model.check(given["xs"])
            lead = given["xs"].shape[:1]
        if "zs" in given:
            _check_latents(given["zs"], model)
            lead = given["zs"].shape[:-1]
        if given.get("ys") is not None:
            draws = method.__name__ == "sample"
            lead = check_model_labels(model, given["ys"], lead, draws, not draws)
        if given.get("covariates") is not None:
            lead = (given["num"],) if "num" in given else lead
            _check_covariates(given["covariates"], model, tuple(lead or ()))
        return method(*args, **kwargs)

    return typing.cast(Method, checked(torch.no_grad()(call)))


def check_device(values: Tensor, model: Any, name: str) -> None:
    """Check that a tensor is on the device of a model's parameters.

    Raises:
        DataError: if it is not.
    """
    device = next(model.parameters()).device
    if values.device != device:
        raise DataError(f"{name} is on {values.device}, the model on {device}: move one by .to()")


def check_batch_labels(model: Any, ys: Tensor | None, rows: int) -> None:
    """Check the labels `ys` of a batch for a model's programs; any integer dtype is accepted.

    Raises:
        DataError: naming what is wrong.
    """
    if ys is None:
        return
    check_tensor(ys, "ys")
    check_device(ys, model, "ys")
    whole = ys if ys.is_floating_point() else ys.long()
    dtype = next(model.parameters()).dtype
    if model.real_labels:
        check_real_labels(ys, rows)
        if ys.is_floating_point() and ys.dtype != dtype:
            raise DataError(f"ys is {ys.dtype}, the model {dtype}: use ys.to({dtype})")
    elif not hasattr(model, "num_classes"):
        if ys.shape[:1] != (rows,):
            raise DataError(f"ys has shape {list(ys.shape)}, expected labels of {rows} rows")
    elif model.multi_label:
        check_attributes(whole.long(), rows, model.num_classes)
    else:
        check_labels(whole, rows, model.num_classes, unknown_ok=True)


def check_model_labels(
    model: Any, ys: Tensor, lead: torch.Size | None, unknown_ok: bool, points_ok: bool = False
) -> torch.Size:
    """Check that `ys` are labels of a model: integers, rows of attributes, or real numbers.

    Args:
        model: the model.
        ys: the labels.
        lead: shape of their batch; None for any number of rows.
        unknown_ok: accept unknown labels.
        points_ok: accept points of the simplex, and attributes from 0 to 1 of any dtype.

    Returns:
        The shape of the labels' batch.

    Raises:
        DataError: naming what is wrong.
    """
    name = "ys"
    check_device(ys, model, name)
    multi_label = getattr(model, "multi_label", False)
    if not model.real_labels and not points_ok and ys.dtype != torch.int64:
        raise DataError(f"{name} has dtype {ys.dtype}, expected torch.int64: use {name}.long()")
    points = not model.real_labels and (multi_label or ys.is_floating_point())
    shape = ys.shape[:-1] if points else ys.shape
    # Labels may have further dimensions before those of the rows.
    if len(shape) != 1 if lead is None else shape[max(len(shape) - len(lead), 0) :] != lead:
        raise DataError(f"{name} has shape {list(ys.shape)}, expected labels of {_rows(lead)}")
    if points and ys.shape[-1:] != (model.num_classes,):
        raise DataError(
            f"{name} has shape {list(ys.shape)}, expected [..., {model.num_classes}], a number for "
            "each attribute or class"
        )
    dtype = next(model.parameters()).dtype
    if ys.is_floating_point() and ys.dtype != dtype and not multi_label:
        raise DataError(f"{name} is {ys.dtype}, the model {dtype}: use {name}.to({dtype})")
    if model.real_labels:
        known = ys.is_floating_point()
        right, expected = (~ys.isinf() if unknown_ok else ys.isfinite()), "finite floats"
    elif points:
        known, low = not ys.is_complex(), -1 if unknown_ok else 0
        right, expected = (ys >= low) & (ys <= 1), f"numbers from {low} to 1"
    else:
        known, low = ys.dtype == torch.int64, -1 if unknown_ok else 0
        right = (ys >= low) & (ys < model.num_classes)
        expected = f"int64 from {low} to {model.num_classes - 1}"
    if not known or not bool(right.all()):
        found = ys[~right][:3].tolist() if known else ys.dtype
        raise DataError(f"{name} has {found}, expected {expected}")
    return shape


def check_intervention(model: Any, rows: int, attribute: int, values: Tensor) -> None:
    """Check which attribute an intervention changes, and its new values `[rows]`.

    Raises:
        ConfigError: if the model has no such attribute.
        DataError: if `values` are not 0 or 1 for each row.
    """
    converted("attribute", attribute, Annotated[int, Range(0, model.num_classes - 1)])
    check_device(values, model, "values")
    if values.shape != (rows,) or not bool(((values == 0) | (values == 1)).all()):
        raise DataError(
            f"values has shape {list(values.shape)}, expected 0 or 1 for each of {rows} rows"
        )


def _check_latents(zs: Tensor, model: Any) -> None:
    check_device(zs, model, "zs")
    dtype = next(model.parameters()).dtype
    number = model.num_latents if hasattr(model, "num_latents") else model.latent_dim
    if zs.dim() < 2 or zs.shape[-1] != number:
        raise DataError(
            f"zs has shape {list(zs.shape)}, expected [rows, {number}], the model's latents"
        )
    if zs.dtype != dtype or not bool(zs.isfinite().all()):
        raise DataError(f"zs is {zs.dtype}, expected finite latents of dtype {dtype}")


def _check_covariates(covariates: Tensor, model: Any, lead: tuple[int, ...]) -> None:
    check_device(covariates, model, "covariates")
    if tuple(covariates.shape[:-1]) != lead:
        raise DataError(
            f"covariates has shape {list(covariates.shape)}, expected those of {list(lead)} rows"
        )


def _rows(lead: torch.Size | None) -> str:
    return "rows" if lead is None else f"{list(lead)} rows"

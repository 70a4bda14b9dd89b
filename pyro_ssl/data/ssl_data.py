"""Labelled, unlabelled and validation rows, as tensors."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_ssl.data import checks, label_checks
from pyro_ssl.data.arrays import as_labels, as_tensor, mapped
from pyro_ssl.data.datasets import ImageDataset
from pyro_ssl.data.known import has_known, unknown_of, with_minus_one
from pyro_ssl.data.splits import LabelSplit
from pyro_ssl.errors import DataError
from pyro_ssl.option_kinds import Size
from pyro_ssl.options import check_fields, checked


@dataclass(frozen=True)
class SSLData:
    """The data of a run, checked on construction.

    NumPy arrays, pandas objects and lists become tensors, on the device of `labelled_xs`; integer
    labels become int64. None stands for no unlabelled or validation rows.

    Attributes:
        labelled_xs: inputs `[N_l, *input_shape]`, floating point in [0, 1].
        labelled_ys: their labels `[N_l]`, in 0..K-1; or binary attributes `[N_l, L]`, -1 where
            unknown, at least one of which is known in each row.
        unlabelled_xs: inputs `[N_u, *input_shape]` without labels; like `labelled_xs`, or bytes,
            which stand for their values / 255. They may be in main memory, or in a memory-mapped
            file (`with_unlabelled_file`), while all other rows are on a GPU.
        num_classes: number of classes K, or of attributes L.
        validation_xs: inputs `[N_v, *input_shape]` for choosing the epoch; may be empty.
        validation_ys: their labels `[N_v]`, or attributes `[N_v, L]` as for `labelled_ys`.
        real_valued: inputs are any real numbers, not only those in [0, 1].
        missing: NaN stands for a missing value, for a likelihood that accepts it, see `Mixed`.
        real_labels: labels are real numbers, which get the inputs' dtype; `num_classes` is 1.
        minus_one: meaning of -1 among attributes: `unknown` or, in tables of 1 and -1, `absent`;
            None for `unknown`, with an error if the meaning is ambiguous, see `with_minus_one`.

    Raises:
        DataError: if any part has the wrong shape, dtype or range, or is not finite.
    """

    labelled_xs: Tensor
    labelled_ys: Tensor
    unlabelled_xs: Tensor
    num_classes: int
    validation_xs: Tensor
    validation_ys: Tensor
    real_valued: bool = False
    missing: bool = False
    real_labels: bool = False
    minus_one: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, "real_valued", "missing", "real_labels")
        self._convert()
        shape = self.input_shape
        for part in ("labelled", "unlabelled", "validation"):
            xs = getattr(self, f"{part}_xs")
            may_be_bytes = part == "unlabelled" and not self.real_valued
            kinds = may_be_bytes, self.real_valued, self.missing
            checks.check_inputs(xs, shape, f"{part}_xs", None, *kinds)
        for part in ("labelled", "validation"):
            ys, rows = getattr(self, f"{part}_ys"), len(getattr(self, f"{part}_xs"))
            label_checks.check_known_labels(
                ys, rows, self.num_classes, self.real_labels, f"{part}_ys"
            )
        for part in ("unlabelled", "validation"):
            xs, may_differ = getattr(self, f"{part}_xs"), part == "unlabelled"
            checks.check_like(xs, self.labelled_xs, f"{part}_xs", may_differ)
        if len(self.labelled_xs) + len(self.unlabelled_xs) == 0:
            raise DataError("there are neither labelled nor unlabelled rows: nothing to train on")

    def _convert(self) -> None:
        """Convert every part that is not a tensor to one."""
        found = {"labelled_xs": as_tensor(self.labelled_xs, "labelled_xs")}
        real = found["labelled_xs"].dtype if self.real_labels else None
        for name in ("labelled_ys", "unlabelled_xs", "validation_xs", "validation_ys"):
            values = getattr(self, name)
            if values is None and name != "labelled_ys":
                values = found[f"labelled_{name[-2:]}"][:0]
            is_label = name.endswith("ys")
            found[name] = as_labels(values, name, real) if is_label else as_tensor(values, name)
            if not (isinstance(values, Tensor) or name == "unlabelled_xs"):
                found[name] = found[name].to(found["labelled_xs"].device)
        labels = {name: found[name] for name in ("labelled_ys", "validation_ys")}
        found |= with_minus_one(labels, self.minus_one)
        for name, tensor in found.items():
            object.__setattr__(self, name, tensor)
        object.__setattr__(self, "num_classes", checks.check_num_classes(self.num_classes))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.labelled_xs.shape[1:])

    @property
    def multi_label(self) -> bool:
        """Whether labels are rows of binary attributes."""
        return self.labelled_ys.dim() == 2

    @property
    def num_labelled(self) -> int:
        """Number of labelled rows N_l."""
        return len(self.labelled_xs)

    @property
    def num_unlabelled(self) -> int:
        """Number of unlabelled rows N_u."""
        return len(self.unlabelled_xs)

    @classmethod
    @checked
    def from_split(cls, dataset: ImageDataset, split: LabelSplit) -> "SSLData":
        """Select a data set's training rows by the three index sets of `split`."""
        xs, ys = dataset.train_xs, dataset.train_ys
        labelled, unlabelled, validation = (
            torch.from_numpy(part) for part in (split.labelled, split.unlabelled, split.validation)
        )
        known = as_floats(xs[labelled]), ys[labelled]
        held_out = as_floats(xs[validation]), ys[validation]
        return cls(*known, xs[unlabelled], dataset.num_classes, *held_out, minus_one="unknown")

    @classmethod
    @checked
    def unlabelled(
        cls,
        xs: Any,
        validation_xs: Any = None,
        real_valued: bool = False,
        missing: bool = False,
    ) -> "SSLData":
        """Return data with unlabelled rows only, for a model that needs no labels.

        Args:
            xs: inputs `[N_u, *input_shape]`, floating point, in [0, 1] unless `real_valued`; a
                tensor, an array or a list.
            validation_xs: inputs `[N_v, *input_shape]` for choosing the epoch; None for none.
            real_valued: inputs are any real numbers.
            missing: NaN stands for a missing value.

        Raises:
            DataError: if an array has a wrong shape, dtype or value.
        """
        xs = as_tensor(xs, "xs")
        validation = xs[:0] if validation_xs is None else as_tensor(validation_xs, "validation_xs")
        none = torch.zeros(0, dtype=torch.int64, device=xs.device)
        validation_ys = none.new_zeros(len(validation))
        return cls(xs[:0], none, xs, 1, validation, validation_ys, real_valued, missing)

    @classmethod
    @checked
    def from_arrays(
        cls,
        xs: Any,
        ys: Any,
        num_classes: Any = None,
        real_valued: bool = False,
        missing: bool = False,
        real_labels: bool = False,
        minus_one: str | None = None,
    ) -> "SSLData":
        """Return data of your own inputs `[N, *input_shape]` and labels `[N]`, -1 where unknown.

        Both may be tensors, NumPy arrays, pandas objects or lists.

        Args:
            xs: inputs, floating point, in [0, 1] unless `real_valued`.
            ys: labels in 0..K-1, or -1; or binary attributes `[N, L]`, 0, 1 or -1; of any integer
                dtype, or booleans. None if no label is known.
            num_classes: K; one more than the largest label if None, 1 if no label is known. For
                attributes, L.
            real_valued: inputs are any real numbers.
            missing: NaN stands for a missing value.
            real_labels: labels are real numbers, NaN where unknown.
            minus_one: meaning of -1 among attributes, see `SSLData`.

        Raises:
            DataError: if an array has a wrong shape, dtype or value.
        """
        xs = as_tensor(xs, "xs")
        checks.check_inputs(xs, tuple(xs.shape[1:]), "xs", real_ok=real_valued, missing_ok=missing)
        none = torch.zeros(len(xs), dtype=xs.dtype if real_labels else torch.int64)
        ys = torch.full_like(none, unknown_of(none)) if ys is None else ys
        ys = as_labels(ys, "ys", xs.dtype if real_labels else None).to(xs.device)
        ys = with_minus_one({"ys": ys}, minus_one)["ys"]
        if num_classes is not None:
            num_classes = checks.check_num_classes(num_classes)
        if real_labels:
            num_classes = 1
            label_checks.check_real_labels(ys, len(xs))
        elif ys.dim() == 2:
            label_checks.check_attributes(ys, len(xs), num_classes or ys.shape[1])
            num_classes = ys.shape[1]
        else:
            if num_classes is None:
                num_classes = max(int(ys.max()) + 1, 1) if ys.numel() else 1
            label_checks.check_labels(ys, len(xs), num_classes, unknown_ok=True)
        known = has_known(ys)
        parts = xs[known], ys[known], xs[~known], num_classes, xs[:0], ys[:0]
        return cls(*parts, real_valued, missing, real_labels, "unknown")

    def with_validation(self, xs: Any, ys: Any) -> "SSLData":
        """Return the same data with validation rows `xs` `[N_v, *input_shape]`, `ys` `[N_v]`."""
        return replace(self, validation_xs=xs, validation_ys=ys)

    @checked
    def with_unlabelled_file(self, path: str | Path) -> "SSLData":
        """Return the same data, with the rows of a NumPy file as unlabelled rows.

        The file is memory-mapped: each step reads only the rows of its batch, and a GPU gets only
        these, so that the data may be larger than the memory.

        Args:
            path: an `.npy` file of one array `[N_u, *input_shape]`, of bytes (0 to 255) or of the
                dtype of `labelled_xs` in [0, 1]; for real-valued data, of that dtype.

        Raises:
            DataError: if the file is missing, is not an `.npy` file, or its array is invalid.
        """
        return replace(self, unlabelled_xs=mapped(path))

    @checked
    def examples(self, number: Size) -> Tensor:
        """Return up to `number` inputs to look at, `[n, ...]`; images as floats in [0, 1].

        They are validation rows, or else unlabelled, or else labelled ones.
        """
        candidates = (self.validation_xs, self.unlabelled_xs, self.labelled_xs)
        xs = next((xs for xs in candidates if len(xs)), self.labelled_xs)[:number]
        xs = xs.to(self.labelled_xs.device)
        return xs.float() / 255 if xs.dtype == torch.uint8 else xs

    def labelled_only(self) -> "SSLData":
        """Return the same data without its unlabelled rows, for a supervised baseline."""
        return replace(self, unlabelled_xs=self.unlabelled_xs[:0])

    @checked
    def to(self, device: torch.device | str, stream: bool = False) -> "SSLData":
        """Return the same data with every tensor on `device`.

        Args:
            device: the device.
            stream: do not move the unlabelled rows; training then copies each batch.
        """
        device = checks.check_device(device)
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        stay = "unlabelled_xs" if stream else ""
        tensors = {k: v for k, v in moved.items() if isinstance(v, Tensor) and k != stay}
        moved |= {k: v.to(device) for k, v in tensors.items()}
        return SSLData(**moved)


def as_floats(xs: Tensor) -> Tensor:
    """Return inputs as numbers, if they are bytes."""
    return xs.float() / 255 if xs.dtype == torch.uint8 else xs

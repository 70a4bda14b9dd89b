"""Named image data sets as tensors, downloaded by torchvision or part of scikit-learn."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyro_ssl.data.arrays import as_labels, as_tensor
from pyro_ssl.data.checks import check_inputs, check_num_classes
from pyro_ssl.data.downloads import FAILURES, contents, one_line
from pyro_ssl.data.idx import FILES, download_files, files_in, find_files, places, read_idx
from pyro_ssl.data.known import with_minus_one
from pyro_ssl.data.label_checks import check_attributes, check_labels
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.options import check_fields, checked

DATA_VARIABLE = "PYRO_SSL_DATA"


@dataclass(frozen=True)
class ImageDataset:
    """A data set in memory. NumPy arrays and lists become tensors; integer labels become int64.

    Attributes:
        name: its name on the command line.
        train_xs: images `[N, *input_shape]`, float32 in [0, 1], or bytes, which stand for their
            values / 255.
        train_ys: labels `[N]`, or binary attributes `[N, L]`, int64.
        test_xs: test images `[M, *input_shape]`.
        test_ys: test labels `[M]`, or attributes `[M, L]`.
        num_classes: number of classes, or of attributes L.
        minus_one: meaning of -1 among attributes: `unknown` or, in tables of 1 and -1, `absent`;
            None for `unknown`, with an error if the meaning is ambiguous.

    Raises:
        DataError: if images or labels have a wrong shape, dtype or value.
    """

    name: str
    train_xs: Tensor
    train_ys: Tensor
    test_xs: Tensor
    test_ys: Tensor
    num_classes: int
    minus_one: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, "name")
        object.__setattr__(self, "num_classes", check_num_classes(self.num_classes))
        for part in ("train", "test"):
            for kind, convert in (("xs", as_tensor), ("ys", as_labels)):
                field = f"{part}_{kind}"
                value = convert(getattr(self, field), f"{field} of {self.name}")
                object.__setattr__(self, field, value)
        labels = {"train_ys": self.train_ys, "test_ys": self.test_ys}
        for field, value in with_minus_one(labels, self.minus_one).items():
            object.__setattr__(self, field, value)
        for part in ("train", "test"):
            xs, ys = getattr(self, f"{part}_xs"), getattr(self, f"{part}_ys")
            bytes_ok = part == "train"
            check_inputs(xs, self.input_shape, f"{part}_xs of {self.name}", None, bytes_ok)
            check = check_attributes if self.multi_label else check_labels
            check(ys, len(xs), self.num_classes, name=f"{part}_ys of {self.name}")

    @property
    def multi_label(self) -> bool:
        """Whether labels are rows of binary attributes."""
        return self.train_ys.dim() == 2

    @property
    def known_rows(self) -> Tensor:
        """Which training rows can be labelled, bool `[N]`: those with any known label."""
        known = self.train_ys >= 0
        return known.any(1) if self.multi_label else known

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return tuple(self.train_xs.shape[1:])

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that differ between data sets of the same name."""
        text = hashlib.sha256()
        for tensor in (self.train_xs, self.train_ys, self.test_xs, self.test_ys):
            text.update(str(tuple(tensor.shape)).encode())
            text.update(tensor.contiguous().numpy().data)
        return text.hexdigest()[:16]


@checked
def data_root(option: str | Path | None = None) -> Path:
    """Return the folder of the data sets: `option`, or else `$PYRO_SSL_DATA`, or else `./data`."""
    return Path(option or os.environ.get(DATA_VARIABLE) or "data").expanduser()


@checked
def load_dataset(name: str, root: str | Path | None = None) -> ImageDataset:
    """Load a data set by name; it is downloaded if it is missing.

    Files that were put there by hand may have Kaggle's names or be compressed, see `find_files`.

    Args:
        name: `mnist`, `fashion-mnist`, or `digits` (scikit-learn's 8x8 digits, no download).
        root: folder of the data sets, see `data_root`.

    Raises:
        ConfigError: if the name is unknown.
        DataError: if the files are missing and cannot be downloaded, or are corrupt.
    """
    if name not in DATASETS:
        raise ConfigError(f"dataset is {name!r}, expected one of {', '.join(DATASETS)}")
    return DATASETS[name](name, data_root(root))


def _load_digits(name: str, root: Path) -> ImageDataset:
    from sklearn.datasets import load_digits

    images, ys = load_digits(return_X_y=True)
    xs = torch.from_numpy(images).float().view(-1, 1, 8, 8) / 16
    labels = torch.from_numpy(ys).long()
    # There is no official test part. This one does not depend on an experiment's seed.
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(xs)))
    test, train = order[:397], order[397:]
    return ImageDataset(name, xs[train], labels[train], xs[test], labels[test], 10)


def _load_mnist_like(name: str, root: Path) -> ImageDataset:
    files = find_files(name, root)
    if files is None:
        try:
            download_files(name, root)
            files = find_files(name, root)
        except FAILURES as error:
            raise _not_found(name, root, one_line(error)) from error
        if files is None:
            raise _not_found(name, root, "what was downloaded is not complete")
    parts = []
    for images, labels in (files[:2], files[2:]):
        xs, ys = read_idx(images, 3), read_idx(labels, 1)
        if len(xs) != len(ys):
            raise DataError(
                f"{images.parent} holds {len(xs)} images but {len(ys)} labels ({images.name}, "
                f"{labels.name}): delete them, and get them again"
            )
        parts.append((xs.float().unsqueeze(1) / 255, ys.long()))
    (train_xs, train_ys), (test_xs, test_ys) = parts
    return ImageDataset(name, train_xs, train_ys, test_xs, test_ys, 10)


def _not_found(name: str, root: Path, reason: str) -> DataError:
    """Return an error that says which files were searched, where, and what is there."""
    looked = [place for place in places(name, root) if place != root]
    partly = ""
    for place in places(name, root):
        found = files_in(place)
        if 0 < len(found) < len(FILES):
            lacking = ", ".join(file for file in FILES if file not in found)
            partly = f" {place} lacks {lacking}. It is a folder {contents(place)}."
        elif found:
            partly = f" What {place} holds is another data set's."
        elif place != root and place.is_dir() and not partly:
            partly = f" None of its files is in {place}, {contents(place)}."
    return DataError(
        f"{name} was looked for in {root}, {contents(root)}, and could not be downloaded "
        f"({reason}).{partly} Its files are {', '.join(FILES)}, also as .gz or with a dot before "
        f"idx; they may be in {', '.join(str(place.relative_to(root)) for place in looked)} or in "
        f"the folder itself. Put them there, set --data-root or {DATA_VARIABLE} to the folder "
        "that holds them, or use --dataset digits, which needs no download"
    )


DATASETS: dict[str, Callable[[str, Path], ImageDataset]] = {
    "mnist": _load_mnist_like,
    "fashion-mnist": _load_mnist_like,
    "digits": _load_digits,
}

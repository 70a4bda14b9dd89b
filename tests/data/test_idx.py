"""Files of MNIST's layout under other names and in other folders."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pyro_ssl.data import DATA_VARIABLE, load_dataset
from pyro_ssl.data.idx import FILES
from pyro_ssl.errors import DataError
from tests.data.test_datasets import no_network, write_idx  # noqa: F401

TITLES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
RNG = np.random.default_rng(0)
ARRAYS = dict(
    zip(
        FILES,
        (
            RNG.integers(0, 256, (30, 28, 28)),
            RNG.integers(0, 10, 30),
            RNG.integers(0, 256, (20, 28, 28)),
            RNG.integers(0, 10, 20),
        ),
        strict=True,
    )
)


def dotted(file):
    return file.replace("-idx", ".idx")


def write(folder, spelling=str, compress=False, packed=False, files=FILES):
    """Write the files under their names in another spelling."""
    for file in files:
        path = folder / spelling(file)
        path = path / path.name if packed else path
        write_idx(path, ARRAYS[file])
        if compress:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), 1))
            path.unlink()


def check(dataset, name):
    images, labels, test_images, test_labels = ARRAYS.values()
    assert dataset.name == name
    assert torch.equal(dataset.train_xs[:, 0] * 255, torch.from_numpy(images).float())
    assert torch.equal(dataset.test_xs[:, 0] * 255, torch.from_numpy(test_images).float())
    assert torch.equal(dataset.train_ys, torch.from_numpy(labels))
    assert torch.equal(dataset.test_ys, torch.from_numpy(test_labels))


def tree(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize(
    "options",
    [
        {"compress": True},
        {"spelling": dotted},
        {"spelling": dotted, "compress": True},
        {"spelling": dotted, "packed": True},
        {"packed": True},
        {"spelling": str.upper},
        {"spelling": "{}.gz".format},
    ],
    ids=lambda how: "-".join(getattr(v, "__name__", k) for k, v in how.items()) or "plain",
)
def test_names_of_files_put_there_by_hand(tmp_path, name, options):
    write(tmp_path / TITLES[name] / "raw", **options)
    before = tree(tmp_path)
    check(load_dataset(name, tmp_path), name)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "folder", "root"),
    [
        ("mnist", "MNIST/raw", "MNIST"),
        ("mnist", "MNIST/raw", "MNIST/raw"),
        ("mnist", "MNIST", "."),
        ("mnist", "mnist/raw", "."),
        ("mnist", "mnist", "."),
        ("mnist", "raw", "."),
        ("mnist", ".", "."),
        ("fashion-mnist", "FashionMNIST/raw", "FashionMNIST/raw"),
        ("fashion-mnist", "fashion-mnist", "."),
        ("fashion-mnist", "fashion/raw", "."),
        ("fashion-mnist", "raw", "."),
    ],
)
def test_folders_of_files_put_there_by_hand(tmp_path, name, folder, root):
    write(tmp_path / folder)
    check(load_dataset(name, tmp_path / root), name)


def test_the_usual_file_is_taken_before_others(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    write(raw)
    for file in FILES:
        (raw / f"{file}.gz").write_text("cut short")
        (raw / dotted(file)).write_text("another")
    check(load_dataset("mnist", tmp_path), "mnist")


FIRST = {"mnist": [7, 2, 1, 0, 4, 1, 4, 9, 5, 9], "fashion-mnist": [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]}


@pytest.mark.parametrize(
    ("name", "other"), [("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")]
)
def test_files_of_another_data_set_have_the_same_names(tmp_path, name, other):
    # By the folder's name.
    write(tmp_path / TITLES[other] / "raw")
    for root in (TITLES[other], f"{TITLES[other]}/raw"):
        with pytest.raises(DataError, match=r"What .* holds is another data set's"):
            load_dataset(name, tmp_path / root)
    # By their first labels, in a folder whose name says nothing.
    write(tmp_path / "files")
    write_idx(tmp_path / "files" / FILES[3], np.array(FIRST[other] * 2))
    with pytest.raises(DataError, match="holds is another data set's"):
        load_dataset(name, tmp_path / "files")
    assert load_dataset(other, tmp_path / "files").test_ys.tolist() == FIRST[other] * 2


def test_first_labels_are_those_of_the_real_mnist(mnist_root):
    assert load_dataset("mnist", mnist_root).test_ys[:10].tolist() == FIRST["mnist"]


def test_the_error_names_what_was_looked_for_and_what_is_there(tmp_path):
    write(tmp_path / "MNIST" / "raw", files=FILES[:3])
    (tmp_path / "archive.zip").touch()
    with pytest.raises(DataError) as caught:
        load_dataset("mnist", tmp_path)
    for needed in (
        f"{tmp_path}, which holds MNIST, archive.zip, and could not be downloaded",
        f"{tmp_path / 'MNIST' / 'raw'} lacks t10k-labels-idx1-ubyte.",
        "also as .gz or with a dot before idx",
        "MNIST/raw, MNIST, mnist/raw, mnist, raw or in the folder itself",
        DATA_VARIABLE,
    ):
        assert needed in str(caught.value)
    with pytest.raises(DataError, match=r"none, which does not exist, and could"):
        load_dataset("mnist", tmp_path / "none")


@pytest.mark.parametrize("content", ["text", "cut", "cut gzip", "long", "labels"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    write(tmp_path)
    file = tmp_path / FILES[0]
    data = file.read_bytes()
    file.write_bytes(
        {
            "text": b"<html>sorry",
            "cut": data[:10],
            "cut gzip": gzip.compress(data)[:-20],
            "long": data + b"x",
            "labels": (tmp_path / FILES[1]).read_bytes(),
        }[content]
    )
    with pytest.raises(DataError, match=rf"{file} cannot be read \(.*delete it, and get it again"):
        load_dataset("mnist", tmp_path)


def test_files_are_read_from_a_root_that_cannot_be_written(tmp_path, monkeypatch):
    write(tmp_path / "MNIST" / "raw", compress=True)

    def fail(*args, **options):
        raise OSError("read-only")

    monkeypatch.setattr(Path, "mkdir", fail)
    monkeypatch.setattr(os, "makedirs", fail)
    check(load_dataset("mnist", tmp_path), "mnist")

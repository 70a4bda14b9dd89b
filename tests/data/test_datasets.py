import struct
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision.datasets.utils as downloads

from pyro_ssl.data import DATA_VARIABLE, data_root, load_dataset
from pyro_ssl.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def unreachable(*args, **kwargs):
        raise URLError("no network in this test")

    monkeypatch.setattr(downloads.urllib.request, "urlopen", unreachable)


def write_idx(path, array):
    """Write an array of bytes in the format of the original MNIST files."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture(params=["MNIST", "FashionMNIST"])
def files(request, tmp_path):
    """A root with a small data set of the real layout, and the name to load it by."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, rows in (("train", 30), ("t10k", 20)):
        arrays[part] = rng.integers(0, 256, (rows, 28, 28)), rng.integers(0, 10, rows)
        raw = tmp_path / request.param / "raw"
        write_idx(raw / f"{part}-images-idx3-ubyte", arrays[part][0])
        write_idx(raw / f"{part}-labels-idx1-ubyte", arrays[part][1])
    name = {"MNIST": "mnist", "FashionMNIST": "fashion-mnist"}[request.param]
    return tmp_path, name, raw, arrays


def test_files_of_the_public_layout_are_read(files):
    root, name, _, arrays = files
    dataset = load_dataset(name, root)
    assert dataset.input_shape == (1, 28, 28)
    images, labels = arrays["train"]
    assert torch.equal(dataset.train_xs[:, 0] * 255, torch.from_numpy(images).float())
    assert torch.equal(dataset.train_ys, torch.from_numpy(labels))
    assert torch.equal(dataset.test_ys, torch.from_numpy(arrays["t10k"][1]))


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_corrupt_file_is_an_error_that_names_the_folder(files, file, damage):
    root, name, raw, _ = files
    content = (raw / file).read_bytes()
    (raw / file).write_bytes(
        {"truncated": content[: len(content) // 2], "empty": b"", "text": b"<html>sorry"}[damage]
    )
    with pytest.raises(DataError, match="cannot be read") as caught:
        load_dataset(name, root)
    assert str(raw) in str(caught.value)


def test_images_and_labels_must_agree_in_number(files):
    root, name, raw, _ = files
    write_idx(raw / "train-labels-idx1-ubyte", np.zeros(29))
    with pytest.raises(DataError, match="30 images but 29 labels"):
        load_dataset(name, root)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_missing_files_without_network_name_folder_variable_and_way_out(tmp_path, name):
    with pytest.raises(DataError) as caught:
        load_dataset(name, tmp_path)
    for needed in (str(tmp_path), DATA_VARIABLE, "--data-root", "--dataset digits"):
        assert needed in str(caught.value)


def test_labels_outside_the_classes_are_refused(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    for part in ("train", "t10k"):
        write_idx(raw / f"{part}-images-idx3-ubyte", np.zeros((5, 28, 28)))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(7, 12))
    with pytest.raises(DataError, match=r"train_ys of mnist\[3\] is 10"):
        load_dataset("mnist", tmp_path)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match="expected one of mnist, fashion-mnist, digits"):
        load_dataset("mnits")


def test_root_is_option_then_variable_then_data(monkeypatch, tmp_path):
    monkeypatch.setenv(DATA_VARIABLE, "/from/variable")
    assert str(data_root(tmp_path)) == str(tmp_path)
    assert str(data_root()) == "/from/variable"
    monkeypatch.delenv(DATA_VARIABLE)
    assert str(data_root()) == "data"


def test_digits_need_no_file_and_split_the_same_way_always():
    first, second = load_dataset("digits"), load_dataset("digits")
    assert first.train_xs.shape == (1400, 1, 8, 8)
    assert first.test_xs.shape == (397, 1, 8, 8)
    assert torch.equal(first.test_xs, second.test_xs)
    assert first.train_xs.min() == 0
    assert first.train_xs.max() == 1


def test_real_mnist_is_the_original(mnist_root):
    dataset = load_dataset("mnist", mnist_root)
    assert dataset.train_xs.shape == (60_000, 1, 28, 28)
    assert dataset.test_xs.shape == (10_000, 1, 28, 28)
    assert dataset.train_ys[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert dataset.test_ys.bincount().tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip

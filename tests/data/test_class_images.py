import pickle

import numpy as np
import pytest
import torch
from torchvision import datasets

from pyro_ssl.data import load_cifar10, load_class_folders
from pyro_ssl.errors import DataError
from tests.data.test_attribute_images import picture


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """Files of CIFAR-10's layout, of two images each."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for i, name in enumerate(names):
        images = np.zeros((2, 3, 32, 32), dtype=np.uint8)
        # Red is the number of the file; one pixel of the second row, third column is blue.
        images[:, 0], images[:, 2, 1, 2] = 10 * i, 255
        content = {"data": images.reshape(2, -1), "labels": [i, 9]}
        (folder / name).write_bytes(pickle.dumps(content))
    meta = {"label_names": list("abcdefghij")}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))
    # The published files have published checksums, which these cannot have.
    for module in (datasets.cifar, datasets.utils):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: True)
    return tmp_path


def test_cifar10_is_read_as_its_files_have_it(cifar10):
    dataset = load_cifar10(cifar10)
    assert dataset.train_xs.shape == (10, 3, 32, 32)
    assert dataset.train_xs.dtype == torch.uint8
    assert dataset.train_xs[::2, 0, 5, 5].tolist() == [0, 10, 20, 30, 40]
    assert dataset.train_xs[0, 2].nonzero().tolist() == [[1, 2]]
    assert dataset.train_ys.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    assert dataset.test_ys.tolist() == [5, 9]
    torch.testing.assert_close(dataset.test_xs[:, 0, 0, 0], torch.full((2,), 50 / 255))


def test_missing_cifar10_says_where_to_get_it_and_where_to_put_it(tmp_path):
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz from") as error:
        load_cifar10(tmp_path)
    assert f"unpack it in {tmp_path}" in str(error.value)


def test_folders_of_classes(tmp_path):
    for part, numbers in (("train", (1, 2, 3)), ("test", (4,))):
        for which, name in enumerate(("dog", "cat")):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in numbers:
                picture((20 * i, 200 * which, 0), 40, 30).save(folder / f"{i}.png")
            (folder / "notes.txt").write_text("no image")
    dataset, names = load_class_folders(tmp_path, 16, "pets")
    assert names == ("cat", "dog")
    assert (dataset.name, dataset.num_classes) == ("pets", 2)
    assert dataset.train_ys.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.train_xs[:, 0, 8, 8].tolist() == [20, 40, 60, 20, 40, 60]
    assert dataset.train_xs[:, 1, 8, 8].tolist() == [200, 200, 200, 0, 0, 0]
    assert dataset.test_xs.shape == (2, 3, 16, 16)


def test_what_folders_lack_is_named(tmp_path):
    with pytest.raises(DataError, match="train is no folder: put images there"):
        load_class_folders(tmp_path, 16)
    (tmp_path / "train" / "cat").mkdir(parents=True)
    (tmp_path / "test" / "dog").mkdir(parents=True)
    with pytest.raises(DataError, match="classes cat in train, but dog in test"):
        load_class_folders(tmp_path, 16)
    (tmp_path / "train" / "dog").mkdir()
    (tmp_path / "test" / "cat").mkdir()
    with pytest.raises(DataError, match="train has no images"):
        load_class_folders(tmp_path, 16)

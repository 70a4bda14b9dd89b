import pickle
from pathlib import Path

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


@pytest.mark.parametrize("root", ["cifar-10-batches-py", "above"])
def test_cifar10_is_found_from_its_folder_and_from_above(cifar10, tmp_path, root):
    if root == "above":
        (tmp_path / "above").mkdir()
        (tmp_path / "above" / "cifar10").symlink_to(cifar10)
    assert load_cifar10(tmp_path / root).test_ys.tolist() == [5, 9]


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


def put(folder, *files):
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            picture((9, 9, 9), 8, 8).save(path)
        else:
            path.touch()


def test_hidden_and_empty_folders_are_no_classes(tmp_path):
    for part in ("train", "test"):
        put(tmp_path / part, "cat/0.png", "dog/0.png", "dog/._0.png", "dog/.DS_Store", "0.png")
        (tmp_path / part / "dog" / "._0.png").write_text("no image")
    put(tmp_path / "train", ".ipynb_checkpoints/0.png", "__MACOSX/._0.jpg", "@eaDir/0.png")
    put(tmp_path / "train", "bird/.DS_Store", "bird/Thumbs.db", ".DS_Store", "dog/1.png")
    (tmp_path / "test" / "ant").mkdir()
    dataset, names = load_class_folders(tmp_path, 8)
    assert (names, dataset.num_classes) == (("cat", "dog"), 2)
    assert (dataset.train_ys.tolist(), dataset.test_ys.tolist()) == ([0, 1, 1], [0, 1])


def test_what_folders_lack_is_named(tmp_path):
    with pytest.raises(DataError, match="train is not a folder: put images there"):
        load_class_folders(tmp_path, 16)
    put(tmp_path, "train/cat/0.png")
    (tmp_path / "test" / "dog").mkdir(parents=True)
    with pytest.raises(DataError, match="test has no images in folders named after"):
        load_class_folders(tmp_path, 16)
    put(tmp_path, "test/dog/0.png")
    with pytest.raises(DataError, match="classes cat in train, but of dog in test: give both"):
        load_class_folders(tmp_path, 16)
    # An empty folder of a class does not say what its images are.
    (tmp_path / "test" / "cat").mkdir()
    put(tmp_path, "train/dog/0.png")
    with pytest.raises(DataError, match="classes cat, dog in train, but of dog in test"):
        load_class_folders(tmp_path, 16)


@pytest.mark.parametrize("others", [("a.heic", "b.txt"), ("more/0.png",)])
def test_a_class_is_not_left_out_silently(tmp_path, others):
    put(tmp_path, "train/cat/0.png", "test/cat/0.png", *(f"train/dog/{name}" for name in others))
    shown = others[0].split("/")[0]
    with pytest.raises(DataError, match=rf"dog has no images \(.bmp.*but {shown}.*if it is not"):
        load_class_folders(tmp_path, 16)


def test_files_that_are_left_out_are_named(tmp_path):
    for part in ("train", "test"):
        put(tmp_path / part, "cat/0.png", "cat/a.heic", "cat/b.txt", "cat/more/1.png", "dog/0.png")
    with pytest.warns(UserWarning, match="^a.heic, b.txt, more in") as caught:
        load_class_folders(tmp_path, 8)
    assert [Path(str(w.message).split()[4]).parts[-2:] for w in caught] == [
        ("train", "cat"),
        ("test", "cat"),
    ]
    put(tmp_path / "train", "9.png", "0.png", "labels.csv")
    with pytest.warns(UserWarning, match=r"^0.png, 9.png in .*train left out"):
        load_class_folders(tmp_path, 8)


def test_links_that_lead_nowhere_are_named(tmp_path):
    for part in ("train", "test"):
        put(tmp_path / part, "cat/0.png", "dog/0.png")
    link = tmp_path / "train" / "cat" / "1.png"
    for target in ("nowhere.png", link):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        with pytest.raises(DataError, match=r"1\.png cannot be read as an image"):
            load_class_folders(tmp_path, 8)
    link.unlink()
    (tmp_path / "train" / "ant").symlink_to(tmp_path / "train" / "ant")
    with pytest.raises(DataError, match=r"ant is a broken link: repair or remove it"):
        load_class_folders(tmp_path, 8)

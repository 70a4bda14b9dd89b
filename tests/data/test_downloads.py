"""What a download leaves behind, whether it fails or not."""

from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets.utils as downloads

from pyro_ssl.data import DATA_VARIABLE, data_root, load_cifar10, load_dataset, load_newsgroups
from pyro_ssl.data.downloads import contents, download
from pyro_ssl.data.idx import FILES
from pyro_ssl.errors import DataError
from tests.data.test_datasets import no_network, write_idx  # noqa: F401
from tests.data.test_idx import tree, write


def fail(*args, **options):
    raise OSError("no network")


@pytest.mark.parametrize("load", ["mnist", "fashion-mnist", "cifar10", "newsgroups"])
@pytest.mark.parametrize("root", [".", "mistaken/root"])
def test_a_mistaken_root_gets_no_folders(tmp_path, monkeypatch, load, root):
    def partly(*args, data_home, **options):
        (Path(data_home) / "20news_home").mkdir(parents=True)
        fail()

    monkeypatch.setattr("sklearn.datasets.fetch_20newsgroups", partly)
    (tmp_path / "photo.jpg").touch()
    loaders = {"cifar10": load_cifar10, "newsgroups": load_newsgroups}
    with pytest.raises(DataError, match=r"which (holds photo.jpg|does not exist), and could"):
        loaders.get(load, lambda root: load_dataset(load, root))(tmp_path / root)
    assert tree(tmp_path) == ["photo.jpg"]


def test_a_download_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    def one_file_only(url, path, **options):
        if "labels" in str(url):
            fail()
        Path(path).write_bytes(b"some")

    monkeypatch.setattr(downloads, "_get_redirect_url", lambda url, **options: url)
    monkeypatch.setattr(downloads, "_urlretrieve", one_file_only)
    with pytest.raises(DataError, match="could not be downloaded"):
        load_dataset("mnist", tmp_path / "data")
    assert tree(tmp_path) == []


def test_what_was_downloaded_comes_where_torchvision_keeps_it(tmp_path, monkeypatch):
    def fetch(self):
        write(Path(self.raw_folder))

    monkeypatch.setattr("torchvision.datasets.MNIST.download", fetch)
    raw = tmp_path / "data" / "MNIST" / "raw"
    write_idx(raw / FILES[1], np.arange(30) % 7)  # the user's own: it stays
    dataset = load_dataset("mnist", tmp_path / "data")
    assert dataset.train_ys.tolist() == [i % 7 for i in range(30)]
    assert tree(raw) == sorted(FILES)


def test_a_root_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/MNIST/raw cannot be written: Not a directory"):
        load_dataset("mnist", tmp_path / "file")

    def read_only(*args, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    for load in (lambda: load_dataset("mnist", tmp_path), lambda: load_cifar10(tmp_path / "none")):
        with pytest.raises(DataError, match="cannot be written: Read-only file system"):
            load()


def test_files_of_a_download_move_but_replace_none(tmp_path):
    def fetch(folder):
        for file in ("a/b", "a/c", "d"):
            (folder / "inner" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "inner" / file).write_text("new")
        return folder / "inner"

    (tmp_path / "d").write_text("old")
    download(tmp_path, fetch)
    assert tree(tmp_path) == ["a", "a/b", "a/c", "d"]
    assert (tmp_path / "d").read_text() == "old"


def test_contents_in_words(tmp_path):
    assert contents(tmp_path) == "which is empty"
    for name in "dcab":
        (tmp_path / name).touch()
    assert contents(tmp_path, 3) == "which holds a, b, c and 1 more"
    assert contents(tmp_path / "a") == "which cannot be read (Not a directory)"


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(DATA_VARIABLE, "~/sets")
    assert data_root() == tmp_path / "sets"
    assert data_root("~") == tmp_path


def test_files_under_an_unknown_name_are_named_where_they_lie(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.MNIST.download", fail)
    raw = tmp_path / "MNIST" / "raw"
    write(raw)
    with pytest.MonkeyPatch.context() as renamed:
        renamed.chdir(raw)
        Path(FILES[3]).rename(f"{FILES[3]} (1).gz")
        says = rf"raw lacks {FILES[3]}\. It is a folder which holds .*{FILES[3]} \(1\)\.gz, "
        with pytest.raises(DataError, match=says):
            load_dataset("mnist", tmp_path)
        for file in FILES[:3]:
            Path(file).rename(f"{file}.bin")
        with pytest.raises(DataError, match=r"None of its files is in .*raw, which holds .*\.bin"):
            load_dataset("mnist", tmp_path)

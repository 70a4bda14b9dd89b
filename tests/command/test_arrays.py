import numpy as np
import pytest

from pyro_ssl.command import arrays
from pyro_ssl.command.arrays import ArraySource, NumpyFiles, NumpyZip
from pyro_ssl.command.parts import joined
from pyro_ssl.command.recipe import Recipe
from pyro_ssl.errors import DataError

RECIPE = Recipe("array")
XS = np.arange(30.0).reshape(10, 3)
YS = np.array([0, 1, -1, 0, 1, -1, -1, -1, 1, 0])


def save(path, array):
    path.parent.mkdir(exist_ok=True)
    np.save(path, array)
    return path


def test_parts_of_a_zip_are_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "_ROWS", 4)
    np.savez(tmp_path / "data.npz", X=XS, y=YS)
    source = ArraySource(RECIPE, NumpyZip(tmp_path / "data.npz"))
    assert [len(part) for part in source.parts()] == [4, 4, 2]
    rows, labels = joined(source.parts())
    np.testing.assert_array_equal(rows, XS)
    np.testing.assert_array_equal(labels, YS)


def test_labels_of_text_are_unknown_where_empty(tmp_path):
    np.savez(tmp_path / "data.npz", X=XS[:3], y=np.array(["a", "", "b"]))
    (part,) = ArraySource(RECIPE, NumpyZip(tmp_path / "data.npz")).parts()
    assert part.labels.tolist() == ["a", None, "b"]


def test_rows_without_labels(tmp_path):
    np.savez(tmp_path / "data.npz", X=XS)
    (part,) = ArraySource(RECIPE, NumpyZip(tmp_path / "data.npz")).parts()
    assert part.labels.tolist() == [None] * 10


@pytest.mark.parametrize("one_file", [True, False])
def test_a_folder_is_read_in_the_order_of_names_with_its_labels(tmp_path, one_file):
    cuts = [3, 8]
    for n, (rows, labels) in enumerate(zip(np.split(XS, cuts), np.split(YS, cuts), strict=True)):
        save(tmp_path / "xs" / f"{n}.npy", rows)
        save(tmp_path / "ys" / f"{n}.npy", labels)
    given = save(tmp_path / "all.npy", YS) if one_file else tmp_path / "ys"
    source = ArraySource(RECIPE, NumpyFiles(tmp_path / "xs", given))
    rows, labels = joined(source.parts())
    np.testing.assert_array_equal(rows, XS)
    np.testing.assert_array_equal(labels, YS)
    assert len(source.files) == (4 if one_file else 6)


def test_files_are_mapped_and_not_read_at_once(tmp_path):
    source = ArraySource(RECIPE, NumpyFiles(save(tmp_path / "x.npy", XS), None))
    (rows, _), *_ = source._reader.arrays()
    assert isinstance(rows, np.memmap)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (XS, YS[:9], "y has shape .9,., expected .10,.|9 labels, expected 10"),
        (XS, np.concatenate([YS, YS]), "y has shape|20 labels, expected 10"),
        (XS, YS[:, None], "expected .N,."),
        (XS[0], None, "X has shape .3,., expected rows"),
        (XS[:0], None, "X has shape .0, 3."),
        (np.array([[None]]), None, "cannot be read .*pickle"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, rows, labels, message):
    np.save(tmp_path / "x.npy", rows)
    if labels is not None:
        np.save(tmp_path / "y.npy", labels)
    reader = NumpyFiles(tmp_path / "x.npy", None if labels is None else tmp_path / "y.npy")
    with pytest.raises(DataError, match=message):
        [*ArraySource(RECIPE, reader).parts()]


def test_folders_that_do_not_fit(tmp_path):
    save(tmp_path / "xs" / "0.npy", XS)
    save(tmp_path / "ys" / "1.npy", YS)
    with pytest.raises(DataError, match=r"differ in the files \['0.npy', '1.npy'\]"):
        NumpyFiles(tmp_path / "xs", tmp_path / "ys")
    save(tmp_path / "xs" / "1.npy", XS[:, :2])
    with pytest.raises(DataError, match="after some of shape"):
        [*ArraySource(RECIPE, NumpyFiles(tmp_path / "xs", None)).parts()]
    save(tmp_path / "xs" / "1.npy", XS)
    save(tmp_path / "all.npy", YS)
    with pytest.raises(DataError, match=r"10 labels, expected 20|y has shape"):
        [*ArraySource(RECIPE, NumpyFiles(tmp_path / "xs", tmp_path / "all.npy")).parts()]


def test_other_names_and_broken_files(tmp_path):
    np.savez(tmp_path / "data.npz", data=XS)
    with pytest.raises(DataError, match=r"holds the arrays \['data'\], expected X"):
        [*NumpyZip(tmp_path / "data.npz").arrays()]
    (tmp_path / "data.npz").write_bytes(b"PK and more")
    with pytest.raises(DataError, match="cannot be read"):
        [*NumpyZip(tmp_path / "data.npz").arrays()]

"""What users have in place of tensors: NumPy arrays, pandas objects, lists, None."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from pyro_ssl.data import ImageDataset, SSLData, check_inputs, check_labels, split_labels
from pyro_ssl.data.arrays import as_labels, as_tensor
from pyro_ssl.data.shapes import draw_shapes
from pyro_ssl.errors import DataError

XS = np.random.default_rng(0).random((6, 4), dtype=np.float32)
YS = np.array([0, -1, 2, 1, -1, 0])


@pytest.mark.parametrize(
    "xs",
    [
        torch.from_numpy(XS),
        XS,
        XS[::-1][::-1],
        XS.astype(">f4"),
        XS.tolist(),
        list(XS),
        list(torch.from_numpy(XS)),
        pd.DataFrame(XS, columns=list("abcd")),
        XS.astype(object),
    ],
)
@pytest.mark.parametrize(
    "ys",
    [
        torch.from_numpy(YS),
        torch.from_numpy(YS).to(torch.int8),
        YS,
        YS.astype(np.int32),
        YS.astype(">i2"),
        YS.tolist(),
        list(YS),
        tuple(YS),
        pd.Series(YS, index=list("fedcba")),
        pd.Series(YS, dtype="Int64"),
        pd.Series(YS, dtype="category"),
        YS.astype(object),
    ],
)
def test_whatever_holds_the_same_numbers_gives_the_same_data(xs, ys):
    data = SSLData.from_arrays(xs, ys)
    expected = torch.from_numpy(XS)
    assert (data.num_classes, data.labelled_ys.dtype) == (3, torch.int64)
    assert data.labelled_ys.tolist() == [0, 2, 1, 0]
    torch.testing.assert_close(data.labelled_xs.float(), expected[[0, 2, 3, 5]], rtol=0, atol=0)
    torch.testing.assert_close(data.unlabelled_xs.float(), expected[[1, 4]], rtol=0, atol=0)


def test_dtypes_are_kept_as_by_torch():
    double = XS.astype(np.float64)
    assert as_tensor(double, "xs").dtype == torch.float64
    assert as_tensor(list(double), "xs").dtype == torch.float64
    assert as_tensor(XS.tolist(), "xs").dtype == torch.float32
    assert as_tensor([[1, 0], [0, 1]], "xs").dtype == torch.int64
    assert as_tensor(XS, "xs").data_ptr() == XS.ctypes.data


def test_arrays_that_cannot_be_written_are_taken_without_a_warning(tmp_path, recwarn):
    np.save(tmp_path / "xs.npy", XS)
    mapped = np.load(tmp_path / "xs.npy", mmap_mode="r")
    fixed = XS.copy()
    fixed.flags.writeable = False
    for xs in (mapped, fixed):
        assert torch.equal(SSLData.unlabelled(xs).unlabelled_xs, torch.from_numpy(XS))
    # A mapped file stays one: it may be larger than the memory.
    assert as_tensor(mapped, "xs").data_ptr() == mapped.ctypes.data
    assert not list(recwarn)


def test_no_labels_at_all():
    for ys in (None, [-1] * 6):
        data = SSLData.from_arrays(XS, ys, 10)
        assert (data.num_labelled, data.num_unlabelled, data.num_classes) == (0, 6, 10)
        assert SSLData.from_arrays(XS, ys).num_classes == 1


def test_booleans_are_zero_and_one():
    data = SSLData.from_arrays(XS, [True, False, True, True, False, True])
    assert (data.num_classes, data.labelled_ys.tolist()) == (2, [1, 0, 1, 1, 0, 1])
    rows = SSLData.from_arrays(XS, np.eye(6, 3) > 0)
    assert rows.multi_label
    assert rows.labelled_ys.sum(0).tolist() == [1, 1, 1]


def test_every_part_of_the_constructor_may_be_an_array_a_list_or_nothing():
    data = SSLData(XS[:2], [0, 1], XS[2:].tolist(), np.int32(2), None, None)
    assert (data.num_classes, type(data.num_classes)) == (2, int)
    assert data.unlabelled_xs.shape == (4, 4)
    assert (data.validation_xs.shape, data.validation_ys.shape) == ((0, 4), (0,))
    more = data.with_validation(pd.DataFrame(XS), pd.Series([0, 1] * 3, dtype="int8"))
    assert more.validation_ys.tolist() == [0, 1] * 3
    assert SSLData(XS, YS.clip(0), None, 3, None, None).num_unlabelled == 0
    assert SSLData.unlabelled(XS, XS[:2].tolist()).validation_xs.shape == (2, 4)
    with pytest.raises(DataError, match=r"validation_xs is torch.float64 .*astype\(\) in NumPy"):
        data.with_validation(XS.astype(float), [0] * 6)
    with pytest.raises(DataError, match="labelled_ys is None"):
        SSLData(XS, None, None, 3, None, None)
    with pytest.raises(DataError, match=r"validation_ys has shape \[0\], expected \[6\]"):
        data.with_validation(XS, None)


@pytest.mark.parametrize(
    ("ys", "says"),
    [
        ([0, 1.5, 2, 0, -1, 0], r"ys is continuous \(ys\[1\] is 1.5\).*RegressionM2.*digitize"),
        (YS + 0.5, "ys is continuous"),
        (torch.tensor(YS) + 0.5, "ys is continuous"),
        (np.r_[np.inf, YS[1:]], r"ys is continuous \(ys\[0\] is inf"),
        (np.r_[np.nan, YS[1:] + 0.5], r"ys is continuous \(ys\[1\] is -0.5"),
        (np.r_[0, np.nan, YS[2:]], r"ys\[1\] is missing .* unknown label is -1.*nan_to_num"),
        ([0, None, 2, 1, 0, 0], r"ys\[1\] is missing .* unknown label is -1"),
        (pd.Series([0, None, 2, 1, 0, 0], dtype="Int64"), r"ys\[1\] is missing .*fillna\(-1\)"),
        (YS.astype(float), r"float64, expected torch.int64 .*use ys.long\(\), ys.astype\(int\)"),
        (list("abcabc"), r"ys has dtype <U1 \(a, ...\), expected whole .*return_inverse=True"),
        (pd.Series(list("abcabc"), dtype=object), r"ys\[0\] is 'a', expected whole numbers"),
        (["a", None, "b", "b", "a", "a"], r"ys\[0\] is 'a', expected whole numbers"),
        (YS * 1j, "complex128, expected whole numbers"),
        ([[0], [1, 2], 0, 0, 0, 0], "ys is a list that is not an array .*same shape"),
        (np.array([2**64 - 1] * 6, dtype=np.uint64), "more than 63 bits"),
        ([2**70] * 6, "ys has numbers that are too large"),
        (np.ma.masked_equal(YS, -1), r"ys has masked entries: fill them by ys.filled"),
        (5, "ys is of type int, expected a tensor, an array or a list"),
        ("abcabc", "ys is of type str"),
        ({0, 1}, "ys is of type set"),
        (YS[:, None, None], r"ys has shape \[6, 1, 1\], expected \[6\]"),
        (pd.DataFrame(YS), r"ys\[2, 0\] is 2, .*labels of classes, give ys\[:, 0\]"),
    ],
)
def test_labels_that_cannot_be_used_are_named(ys, says):
    with pytest.raises(DataError, match=says):
        SSLData.from_arrays(XS, ys)


@pytest.mark.parametrize(
    ("xs", "says"),
    [
        (None, "xs is None, expected a tensor, an array or a list with its rows"),
        (0.5, "xs is of type float"),
        (torch.tensor(0.5), "xs is of type Tensor"),
        ([[0.5], [0.5, 0.5]], "xs is a list that is not an array"),
        ([torch.rand(2), torch.rand(3)], "xs is a list of tensors that differ"),
        (
            pd.DataFrame({"a": [0.5] * 6, "b": list("uvuvuv")}),
            r"xs\[0, 1\] is 'u', expected numbers",
        ),
        (np.array(["0.5"] * 6), r"xs has dtype <U3 \(0.5, ...\), expected numbers"),
        (sparse.csr_matrix(XS), r"xs is a sparse matrix: use xs.toarray\(\)"),
        ((XS * 255).astype(np.uint8), r"xs has dtype torch.uint8.*astype\('float32'\) in NumPy"),
        (XS.astype(np.float16) * 300, "xs ranges from"),
        (np.zeros((6, 4), "datetime64[s]"), "xs has dtype datetime64"),
    ],
)
def test_inputs_that_cannot_be_used_are_named(xs, says):
    with pytest.raises(DataError, match=says):
        SSLData.from_arrays(xs, YS)


def test_a_bad_row_is_counted_as_the_user_counts():
    xs = XS.copy()
    xs[4, 1] = np.nan
    with pytest.raises(DataError, match=r"^xs has NaN or infinite values, first in row 4"):
        SSLData.from_arrays(xs, YS)
    missing = pd.DataFrame(XS).astype("Float32")
    missing.iloc[1, 2] = pd.NA
    assert SSLData.from_arrays(missing, YS, missing=True).unlabelled_xs.isnan().sum() == 1


@pytest.mark.parametrize("num_classes", [0, -1, 2.5, "10", True, [3]])
def test_a_number_of_classes_is_a_whole_number(num_classes):
    with pytest.raises(DataError, match=r"num_classes is .*expected a whole number of at least 1"):
        SSLData.from_arrays(XS, YS, num_classes)
    with pytest.raises(DataError, match="num_classes is"):
        SSLData(XS, YS.clip(0), XS, num_classes, XS[:0], YS[:0])


def test_checks_of_tensors_say_how_to_make_one():
    for check in (lambda: check_inputs(XS, (4,)), lambda: check_labels(YS, 6, 3)):
        with pytest.raises(DataError, match=r"must be a torch.Tensor, got ndarray: use torch.as_t"):
            check()


def test_other_functions_of_the_data_take_arrays_too():
    known = YS.clip(0)
    dataset = ImageDataset("own", XS, known.tolist(), XS.tolist(), known.astype("u1"), 3)
    assert dataset.test_ys.dtype == torch.int64
    assert torch.equal(dataset.train_xs, dataset.test_xs)
    with pytest.raises(DataError, match="train_ys of own is continuous"):
        ImageDataset("own", XS, known + 0.5, XS, known, 3)
    splits = [split_labels(ys, 3, 3, 0, 0) for ys in (known, known.tolist(), torch.tensor(known))]
    assert len({split.digest for split in splits}) == 1
    with pytest.raises(DataError, match=r"ys has shape \[6, 1\]"):
        split_labels(known[:, None], 3, 3, 0, 0)
    with pytest.raises(DataError, match=r"ranges from -1 to 2.*leave rows of unknown labels out"):
        split_labels(YS, 3, 3, 0, 0)
    ones = np.ones((2, 6), dtype=int)
    images, attributes = draw_shapes(2, size=16, attributes=ones.tolist())
    assert torch.equal(images, draw_shapes(2, size=16, attributes=torch.ones(2, 6))[0])
    assert attributes.tolist() == ones.tolist()


def test_labels_of_no_rows_have_no_type_to_complain_of():
    assert as_labels([], "ys").dtype == torch.int64

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyro_ssl.data import ImageDataset, LabelSplit, SSLData, load_dataset, split_labels
from pyro_ssl.errors import DataError
from pyro_ssl.infer.batches import MiniBatches

XS, YS = torch.rand(6, 1, 2, 2), torch.tensor([0, -1, 2, 1, -1, 0])


def test_from_arrays_keeps_known_and_unknown_rows_apart():
    data = SSLData.from_arrays(XS, YS)
    assert data.num_classes == 3
    assert torch.equal(data.labelled_xs, XS[[0, 2, 3, 5]])
    assert data.labelled_ys.tolist() == [0, 2, 1, 0]
    assert torch.equal(data.unlabelled_xs, XS[[1, 4]])


def test_from_split_selects_the_rows_of_the_split():
    dataset = load_dataset("digits")
    split = split_labels(dataset.train_ys.numpy(), 10, 20, 100, seed=0)
    data = SSLData.from_split(dataset, split)
    row = split.labelled[7]
    assert torch.equal(data.labelled_xs[7], dataset.train_xs[row])
    assert data.labelled_ys[7] == dataset.train_ys[row]
    assert data.num_unlabelled == 1400 - 120
    assert torch.equal(data.validation_ys, dataset.train_ys[split.validation])


def test_labelled_only_drops_unlabelled_rows():
    data = SSLData.from_arrays(XS, YS).labelled_only()
    assert (data.num_labelled, data.num_unlabelled) == (4, 0)


@pytest.mark.parametrize(
    ("xs", "says"),
    [
        (XS.reshape(6, 4)[:, :3], None),
        (XS * 255, r"ranges from .* expected \[0, 1\]"),
        (XS - 1, "ranges from -"),
        ((XS * 255).byte(), "dtype torch.uint8"),
        (XS.long(), "dtype torch.int64"),
        (XS.clone().index_fill_(0, torch.tensor(2), math.nan), "NaN or infinite values, first in"),
        (XS.clone().index_fill_(0, torch.tensor(2), -math.inf), "NaN or infinite"),
    ],
)
def test_inputs_that_cannot_be_used_are_named(xs, says):
    if says is None:
        SSLData.from_arrays(xs, YS)
        return
    with pytest.raises(DataError, match=says):
        SSLData.from_arrays(xs, YS)


@pytest.mark.parametrize(
    ("ys", "says"),
    [
        (YS + 1, r"ys\[2\] is 3, expected a label in 0..2, or -1"),
        (YS - 1, r"ys\[1\] is -2"),
        (YS.float(), "dtype torch.float32, expected torch.int64"),
        (YS[:5], r"shape \[5\], expected \[6\]"),
    ],
)
def test_labels_that_cannot_be_used_are_named(ys, says):
    with pytest.raises(DataError, match=says):
        SSLData.from_arrays(XS, ys, num_classes=3)


ATTRIBUTES = torch.tensor([[0, 1], [-1, -1], [1, -1], [-1, 0], [-1, -1], [1, 1]])


def test_rows_that_know_any_attribute_are_labelled():
    data = SSLData.from_arrays(XS, ATTRIBUTES)
    assert data.multi_label
    assert (data.num_classes, data.num_labelled, data.num_unlabelled) == (2, 4, 2)
    assert torch.equal(data.labelled_ys, ATTRIBUTES[[0, 2, 3, 5]])
    assert torch.equal(data.unlabelled_xs, XS[[1, 4]])
    some = ATTRIBUTES[[0, 2, 3]]
    assert data.with_validation(XS[:3], some).validation_ys.shape == (3, 2)
    with pytest.raises(DataError, match=r"validation_ys\[1\] knows no attribute: leave that row"):
        data.with_validation(XS, ATTRIBUTES)
    assert not SSLData.from_arrays(XS, YS).multi_label
    batch = MiniBatches(data, batch_size=2, labelled_batch_size=3, binarise=False).draw()
    xs, ys, labelled = batch.xs, batch.ys, batch.num_labelled
    assert (xs.shape, ys.shape, labelled) == ((5, 1, 2, 2), (5, 2), 3)
    assert (ys[3:] == -1).all()


@pytest.mark.parametrize(
    ("ys", "says"),
    [
        (ATTRIBUTES + 1, r"ys\[0, 1\] is 2, expected a label in 0..1, or -1"),
        (ATTRIBUTES - 1, r"ys\[1, 0\] is -2"),
        (ATTRIBUTES.float(), "dtype torch.float32"),
        (ATTRIBUTES[:5], r"shape \[5, 2\], expected \[6, 2\]"),
    ],
)
def test_attributes_that_cannot_be_used_are_named(ys, says):
    with pytest.raises(DataError, match=says):
        SSLData.from_arrays(XS, ys)


def test_a_labelled_row_knows_an_attribute():
    data = SSLData.from_arrays(XS, ATTRIBUTES)
    with pytest.raises(DataError, match=r"labelled_ys\[1\] knows no attribute"):
        replace(data, labelled_ys=torch.tensor([[0, 1], [-1, -1], [1, 0], [0, 0]]))


def test_parts_must_agree_in_shape():
    data = SSLData.from_arrays(XS, YS)
    with pytest.raises(DataError, match="unlabelled_xs has shape"):
        replace(data, unlabelled_xs=torch.rand(3, 1, 2, 3))


def test_no_rows_at_all_is_an_error():
    with pytest.raises(DataError, match="nothing to train on"):
        SSLData.from_arrays(XS[:0], YS[:0])


def test_unlabelled_rows_need_no_labels():
    data = SSLData.unlabelled(XS, XS[:2])
    assert (data.num_labelled, data.num_unlabelled, data.num_classes) == (0, 6, 1)
    assert torch.equal(data.unlabelled_xs, XS)
    assert torch.equal(data.validation_xs, XS[:2])
    assert data.input_shape == (1, 2, 2)
    assert not data.real_valued
    assert len(SSLData.unlabelled(XS).validation_xs) == 0


@pytest.mark.parametrize("part", ["labelled", "unlabelled", "validation"])
def test_any_real_numbers_are_accepted_where_the_data_is_said_to_be_real(part):
    data = SSLData.from_arrays(XS, YS).with_validation(XS, YS.clamp(min=0))
    xs = getattr(data, f"{part}_xs")
    real = replace(data, **{f"{part}_xs": 300 * (xs - 0.5)}, real_valued=True)
    assert real.real_valued
    for same in (real.to("cpu"), real.with_validation(XS, YS.clamp(min=0))):
        assert same.real_valued
    with pytest.raises(DataError, match=rf"{part}_xs ranges from -.* expected \[0, 1\]"):
        replace(real, real_valued=False)
    with pytest.raises(DataError, match=f"{part}_xs has NaN or infinite values"):
        replace(real, **{f"{part}_xs": xs / 0})


def test_bytes_do_not_stand_for_real_numbers():
    rows = (XS * 255).byte()
    data = SSLData.from_arrays(XS, YS)
    assert replace(data, unlabelled_xs=rows).unlabelled_xs.dtype == torch.uint8
    with pytest.raises(DataError, match=r"unlabelled_xs has dtype torch\.uint8"):
        replace(data, unlabelled_xs=rows, real_valued=True)
    for real_valued in (True, False):
        with pytest.raises(DataError, match=r"labelled_xs has dtype torch\.uint8"):
            SSLData.unlabelled(rows, real_valued=real_valued)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 1.1])
@pytest.mark.parametrize("part", ["unlabelled", "validation"])
def test_unlabelled_rows_are_checked(part, bad):
    xs = {"unlabelled": XS.clone(), "validation": XS.clone()}
    xs[part][3, 0, 1, 1] = bad
    with pytest.raises(DataError, match=f"{part}_xs (has NaN|ranges from)"):
        SSLData.unlabelled(*xs.values())
    if math.isfinite(bad):
        SSLData.unlabelled(*xs.values(), real_valued=True)


def test_a_file_is_mapped_as_unlabelled_rows(tmp_path):
    data = SSLData.from_arrays(XS, YS)
    rows = (torch.rand(50, 1, 2, 2) * 255).byte()
    np.save(tmp_path / "rows.npy", rows.numpy())
    streamed = data.with_unlabelled_file(tmp_path / "rows.npy")
    assert torch.equal(streamed.unlabelled_xs, rows)
    assert (streamed.num_labelled, streamed.num_unlabelled) == (4, 50)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (None, "cannot be mapped"),
        (b"", "cannot be mapped .No data left"),
        # A header that is no Python, which NumPy reads by a tokenizer.
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'(\n" + bytes(99), "cannot be mapped"),
        (np.array(["a", "b"]), "cannot be mapped"),
        (np.zeros((5, 1, 2, 2), ">f4"), "cannot be mapped"),
        (np.zeros((5, 4), np.uint8), "unlabelled_xs has shape"),
        (np.zeros((5, 1, 2, 2), np.int32), "unlabelled_xs has dtype"),
        (np.full((9000, 1, 2, 2), 2.0, np.float32), "unlabelled_xs ranges from 2 to 2"),
        (np.zeros((5, 1, 2, 2), np.float64), "unlabelled_xs is torch.float64"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, array, says):
    if isinstance(array, bytes):
        (tmp_path / "rows.npy").write_bytes(array)
    elif array is not None:
        np.save(tmp_path / "rows.npy", array)
    with pytest.raises(DataError, match=says):
        SSLData.from_arrays(XS, YS).with_unlabelled_file(tmp_path / "rows.npy")


def test_a_bad_row_is_found_in_any_block(tmp_path):
    array = np.zeros((9000, 1, 2, 2), np.float32)
    array[8500] = np.nan
    np.save(tmp_path / "rows.npy", array)
    with pytest.raises(DataError, match="first in row 8500"):
        SSLData.from_arrays(XS, YS).with_unlabelled_file(tmp_path / "rows.npy")


def test_missing_values_are_taken_where_the_data_says_so():
    xs, ys = torch.rand(6, 4), torch.tensor([0, -1, 1, -1, 2, 0])
    xs[1, 2], xs[4] = math.nan, math.nan
    with pytest.raises(DataError, match=r"xs .* row 1: remove such rows, or, .* missing=True"):
        SSLData.from_arrays(xs[:2], ys[:2])
    data = SSLData.from_arrays(xs, ys, missing=True)
    assert data.missing
    assert data.to("cpu").with_validation(xs, ys.clamp(min=0)).labelled_only().missing
    assert SSLData.unlabelled(xs, xs, missing=True).missing
    for bad, says in ((math.inf, "has infinite values, first in row"), (3.0, "ranges from")):
        wrong = xs.clone()
        wrong[1, 1] = bad
        with pytest.raises(DataError, match=says):
            SSLData.from_arrays(wrong, ys, missing=True)
    with pytest.raises(DataError, match="has infinite"):
        SSLData.unlabelled(torch.full((2, 3), math.inf), real_valued=True, missing=True)


def test_real_labels_are_unknown_where_nan_and_have_the_dtype_of_the_inputs():
    xs = torch.randn(4, 3)
    data = SSLData.from_arrays(
        xs, np.array([0.5, np.nan, -1.0, np.nan]), real_valued=True, real_labels=True
    )
    assert data.labelled_ys.tolist() == [0.5, -1.0]
    assert data.labelled_ys.dtype == torch.float32
    assert torch.equal(data.unlabelled_xs, xs[[1, 3]])
    assert data.num_classes == 1
    assert not data.multi_label
    data = data.with_validation(xs[:2], np.array([1.5, 2.0]))
    assert data.validation_ys.dtype == torch.float32
    with pytest.raises(DataError, match=r"torch\.bool, expected real numbers"):
        SSLData.from_arrays(xs, [True, False] * 2, real_valued=True, real_labels=True)
    none = SSLData.from_arrays(xs, None, real_valued=True, real_labels=True)
    assert (none.num_labelled, none.labelled_ys.dtype) == (0, torch.float32)
    with pytest.raises(DataError, match=r"labelled_ys\[0\] is nan"):
        SSLData(xs[:1], torch.tensor([torch.nan]), xs, 1, xs[:0], xs[:0, 0], True, False, True)


PLUS_MINUS = torch.tensor([[1, 1], [-1, 1], [1, -1], [-1, -1]])
OF_FOUR = torch.rand(4, 3)


def tables(minus_one, ys=PLUS_MINUS):
    """The attributes that each way in makes of a table of 1 and -1."""
    yield lambda: SSLData.from_arrays(OF_FOUR, ys, minus_one=minus_one)
    yield lambda: SSLData.from_arrays(OF_FOUR.numpy(), ys.tolist(), 2, minus_one=minus_one)
    none = OF_FOUR[:0]
    yield lambda: SSLData(OF_FOUR[:3], ys[:3], none, 2, OF_FOUR[3:], ys[:1], minus_one=minus_one)
    yield lambda: SSLData(OF_FOUR[:1], ys[:1], none, 2, OF_FOUR[:3], ys[:3], minus_one=minus_one)
    yield lambda: ImageDataset("own", OF_FOUR, ys, OF_FOUR, ys, 2, minus_one)
    # The doubt is in the test part alone.
    yield lambda: ImageDataset("own", OF_FOUR, ys.abs(), OF_FOUR, ys, 2, minus_one)


def test_attributes_of_one_and_minus_one_are_refused_until_it_is_said_what_they_mean():
    for make in tables(None):
        with pytest.raises(DataError, match=r"column 0 of \w+ has only the values 1 .*='absent'"):
            make()
    absent = [make() for make in tables("absent")]
    assert absent[0].labelled_ys.tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]
    assert absent[0].num_unlabelled == 0
    assert absent[2].labelled_ys.tolist() == [[1, 1], [0, 1], [1, 0]]
    assert (
        absent[4].train_ys.tolist() == absent[4].test_ys.tolist() == absent[0].labelled_ys.tolist()
    )
    # Its parts and copies stay what they are.
    assert torch.equal(absent[0].to("cpu").labelled_ys, absent[0].labelled_ys)
    made = list(tables("unknown"))
    assert made[0]().labelled_ys.tolist() == [[1, 1], [-1, 1], [1, -1]]
    assert made[0]().num_unlabelled == 1
    assert made[4]().test_ys.tolist() == PLUS_MINUS.tolist()


def test_attributes_of_which_any_absence_is_known_are_not_in_doubt():
    ys = torch.tensor([[1, 0], [-1, 1], [0, -1], [-1, -1]])
    data = SSLData.from_arrays(OF_FOUR, ys)
    assert data.labelled_ys.tolist() == ys[:3].tolist()
    # Few labelled rows of such a table may know only presence.
    dataset = ImageDataset("own", OF_FOUR, ys, OF_FOUR, ys, 2)
    split = LabelSplit(np.array([0, 1]), np.array([2]), np.array([3]))
    with pytest.raises(DataError, match="knows no attribute"):
        SSLData.from_split(dataset, split)
    split = LabelSplit(np.array([1]), np.array([2, 3]), np.array([0]))
    assert SSLData.from_split(dataset, split).labelled_ys.tolist() == [[-1, 1]]
    assert SSLData.from_arrays(OF_FOUR, torch.tensor([[1], [1], [0], [1]])).num_labelled == 4


def test_examples_are_numbers_whatever_the_rows_are():
    images = (torch.rand(5, 1, 2, 2) * 255).to(torch.uint8)
    known, ys = images[:2] / 255, torch.tensor([0, 1])
    rows = SSLData(known, ys, images, 3, known[:0], ys[:0])
    found = rows.examples(4)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, images[:4] / 255)
    # Validation rows come first, and labelled ones are better than none.
    assert torch.equal(replace(rows, validation_xs=XS, validation_ys=YS.abs()).examples(9), XS)
    assert len(replace(rows, unlabelled_xs=images[:0]).examples(4)) == 2

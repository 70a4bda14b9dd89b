import pytest
import torch
from PIL import Image
from torchvision import datasets

from pyro_ssl.data import (
    CELEBA_18,
    SSLData,
    load_attribute_folder,
    load_celeba,
    split_labels,
)
from pyro_ssl.errors import DataError

ALL_40 = [*CELEBA_18, *(f"Other_{i}" for i in range(22))]


def picture(colour, width, height, border=(9, 9, 9)):
    """A square of a colour in the middle, as large as fits, between borders that are cut off."""
    image = Image.new("RGB", (width, height), border)
    side = min(width, height)
    image.paste(
        colour,
        ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2),
    )
    return image


@pytest.fixture
def celeba(tmp_path, monkeypatch):
    """Files of CelebA's layout: four training images, one for validation, two for testing."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{i:06d}.png" for i in range(1, 8)]
    for i, name in enumerate(names):
        picture((30 * i, 200, 10), 178, 218).save(folder / "img_align_celeba" / name)
    parts = [0, 0, 1, 0, 2, 0, 2]
    attributes = [[1 if (i + a) % 3 == 0 else -1 for a in range(40)] for i in range(7)]

    def write(file, rows, *head):
        lines = [
            *head,
            *(f"{n} {' '.join(map(str, row))}" for n, row in zip(names, rows, strict=True)),
        ]
        (folder / file).write_text("\n".join(lines) + "\n")

    write("list_eval_partition.txt", [[p] for p in parts])
    write("identity_CelebA.txt", [[1]] * 7)
    write("list_bbox_celeba.txt", [[1] * 4] * 7, "7", "image_id x_1 y_1 width height")
    write("list_landmarks_align_celeba.txt", [[1] * 10] * 7, "7", " ".join("abcdefghij"))
    write("list_attr_celeba.txt", attributes, "7", " ".join(ALL_40))
    # The published files have published checksums, which these cannot have.
    monkeypatch.setattr(datasets.celeba, "check_integrity", lambda path, md5: True)
    return tmp_path, torch.tensor(attributes)


def test_celeba_is_read_by_its_official_parts(celeba):
    root, attributes = celeba
    dataset, names = load_celeba(root, size=16)
    assert names == CELEBA_18
    assert len(names) == 18
    assert dataset.train_xs.dtype == torch.uint8
    assert dataset.train_xs.shape == (4, 3, 16, 16)
    assert dataset.test_xs.shape == (2, 3, 16, 16)
    # The red of an image is its number; borders are gone.
    assert dataset.train_xs[:, 0, 8, 8].tolist() == [0, 30, 90, 150]
    assert (dataset.train_xs[:, 1] == 200).all()
    torch.testing.assert_close(dataset.test_xs[:, 0, 0, 0] * 255, torch.tensor([120.0, 180.0]))
    present = (attributes == 1).long()
    assert torch.equal(dataset.train_ys, present[[0, 1, 3, 5], :18])
    assert torch.equal(dataset.test_ys, present[[4, 6], :18])


def test_celeba_is_found_from_its_own_folder(celeba):
    assert load_celeba(celeba[0] / "celeba", size=16)[0].train_xs.shape == (4, 3, 16, 16)


def test_celeba_by_names_and_in_part(celeba):
    root, attributes = celeba
    dataset, names = load_celeba(root, 16, ["Young", "Male"], rows=2)
    assert names == ("Young", "Male")
    assert (len(dataset.train_xs), len(dataset.test_xs)) == (2, 1)
    columns = [ALL_40.index("Young"), ALL_40.index("Male")]
    assert torch.equal(dataset.train_ys, (attributes[:2, columns] == 1).long())
    assert load_celeba(root, 16, None)[0].num_classes == 40
    with pytest.raises(DataError, match="'Tall' is not an attribute"):
        load_celeba(root, 16, ["Tall"])


def test_bytes_become_numbers_where_they_are_looked_at(celeba):
    dataset, _ = load_celeba(celeba[0], size=16)
    split = split_labels(torch.zeros(4).long().numpy(), 1, 1, 1, seed=0)
    data = SSLData.from_split(dataset, split)
    assert data.labelled_xs.dtype == data.validation_xs.dtype == torch.float32
    assert data.labelled_xs.max() <= 1
    assert data.unlabelled_xs.dtype == torch.uint8


def test_missing_celeba_says_where_to_get_it_and_where_to_put_it(tmp_path):
    with pytest.raises(DataError, match=r"mmlab.ie.cuhk.edu.hk.*into that folder") as error:
        load_celeba(tmp_path)
    assert f"{tmp_path / 'celeba'}, which does not exist" in str(error.value)
    (tmp_path / "celeba" / "img_align_celeba").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"which holds img_align_celeba, .*\(list_attr_celeba.txt, "
    ):
        load_celeba(tmp_path)


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        picture((20 * i, 0, 0), 20 + 10 * (i % 2), 20 + 10 * (i % 3)).save(tmp_path / f"{i}.png")
    return tmp_path


def write_table(folder, text):
    (folder / "attributes.csv").write_text(text)


def test_a_folder_of_ones_own(folder):
    lines = ["file,tall,old,split", "0.png,1,0,train", "1.png,-1,1,train", "2.png,,0,train"]
    write_table(folder, "\n".join([*lines, "3.png,1,1,test", "4.png,0,,train", "5.png,0,0,test"]))
    dataset, names = load_attribute_folder(folder, size=16)
    assert names == ("tall", "old")
    assert dataset.name == folder.name
    assert dataset.train_xs[:, 0, 8, 8].tolist() == [0, 20, 40, 80]
    assert dataset.train_ys.tolist() == [[1, 0], [-1, 1], [-1, 0], [0, -1]]
    assert dataset.test_ys.tolist() == [[1, 1], [0, 0]]


def test_without_a_split_every_fifth_row_is_for_testing(folder):
    write_table(folder, "file,tall\n" + "\n".join(f"{i}.png,{i % 2}" for i in range(6)))
    dataset, _ = load_attribute_folder(folder, size=16)
    assert dataset.train_xs[:, 0, 8, 8].tolist() == [0, 20, 40, 60, 100]
    assert len(dataset.test_xs) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "attributes.csv cannot be read"),
        ("file\n0.png", "no column of an attribute"),
        ("file,tall\n0.png,2", "tall of row 0 is '2', expected 0, 1"),
        ("file,tall\n0.png,1\n1.png,yes", "tall of row 1 is 'yes', expected 0, 1"),
        ("file,tall,split\n0.png,1,train\n1.png,0,val", "split of row 1 is 'val', expected train"),
        ("file,tall\n9.png,1", "9.png cannot be read as an image"),
        ("file,tall\nattributes.csv,1", "cannot be read as an image"),
    ],
)
def test_what_cannot_be_used_is_named(folder, text, says):
    if text is not None:
        write_table(folder, text)
    with pytest.raises(DataError, match=says):
        load_attribute_folder(folder, size=16)


def test_attributes_of_one_and_minus_one_have_to_be_told_apart(folder):
    """As in CelebA's own file: -1 is absent there, and unknown in ours."""
    rows = ["0.png,1,0", "1.png,-1,1", "2.png,-1,", "3.png,1,-1", "4.png,,0", "5.png,-1,1"]
    write_table(folder, "\n".join(["file,tall,old", *rows]))
    says = r"attribute 'tall' of .*attributes.csv has only the values 1 and -1.*minus_one='absent'"
    with pytest.raises(DataError, match=says):
        load_attribute_folder(folder, size=16)
    for minus_one, zero in (("absent", 0), ("unknown", -1)):
        dataset, _ = load_attribute_folder(folder, size=16, minus_one=minus_one)
        expected = [[1, 0], [zero, 1], [zero, -1], [1, zero], [-1, 0], [zero, 1]]
        assert dataset.train_ys.tolist() == expected[:4] + expected[5:]
        assert dataset.test_ys.tolist() == [expected[4]]
    # Columns of a run that are all present where they are known, by empty entries, are plain.
    write_table(folder, "file,tall\n0.png,1\n1.png,\n2.png,1\n3.png,\n4.png,1")
    dataset, _ = load_attribute_folder(folder, size=16)
    assert dataset.train_ys.tolist() == [[1], [-1], [1], [-1]]
    with pytest.raises(DataError, match="minus_one is 'no', expected 'unknown' or 'absent'"):
        load_attribute_folder(folder, size=16, minus_one="no")
